"""The tasks of a day as they go: a table that is redrawn in a terminal, lines anywhere else."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

from rich.console import Console, JustifyMethod
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from sidereal.airflow_api import Task
from sidereal.chain import Progress

MARKS = {
    "success": Text("✓", "green"),
    "failed": Text("✗", "bold red"),
    "upstream_failed": Text("–", "red"),
    "up_for_retry": Text("↻", "yellow"),
}


class View(Protocol):
    """Shows a day's progress, each time it is told."""

    def show(self, progress: Progress) -> None:
        """Bring the view up to date."""


class LineView:
    """One line when a task starts and one when it ends; for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: dict[tuple[str, str], tuple[str | None, int]] = {}

    def show(self, progress: Progress) -> None:
        """Print what changed since the last call."""
        for task in progress.tasks:
            key, now = (task.run_id, task.task_id), (task.state, task.try_number)
            if task.state not in ("running", *MARKS) or self._seen.get(key) == now:
                continue
            self._seen[key] = now
            seconds = f" {task.seconds:.1f} s" if task.seconds and task.state != "running" else ""
            self._console.print(
                f"{progress.day} {task.dag_id}.{task.task_id} {task.state}{seconds}",
                highlight=False,
            )


class TableView:
    """All tasks of the day in one table, redrawn in place."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._spinner = Spinner("dots", style="cyan")

    def show(self, progress: Progress) -> None:
        """Redraw."""
        self._live.update(self._table(progress))

    def _table(self, progress: Progress) -> Table:
        table = Table(title=f"day {progress.day}", title_justify="left", box=None, padding=(0, 2))
        columns: tuple[tuple[str, JustifyMethod], ...] = (
            ("", "left"),
            ("DAG", "left"),
            ("task", "left"),
            ("seconds", "right"),
        )
        for name, justify in columns:
            table.add_column(name, justify=justify)
        previous = ""
        for task in progress.tasks:
            table.add_row(
                self._mark(task),
                Text(task.dag_id if task.dag_id != previous else "", "bold"),
                Text(task.task_id, "" if task.state else "dim"),
                f"{_elapsed_seconds(task):.0f}" if task.started else "",
            )
            previous = task.dag_id
        return table

    def _mark(self, task: Task) -> Text | Spinner:
        if task.state == "running":
            return self._spinner
        return MARKS.get(task.state or "", Text("·", "dim"))


@contextmanager
def day_view(console: Console) -> Iterator[View]:
    """The view that suits the console."""
    if not console.is_terminal:
        yield LineView(console)
        return
    with Live(console=console, refresh_per_second=4) as live:
        yield TableView(live)


def _elapsed_seconds(task: Task) -> float:
    if task.seconds is not None and task.state != "running":
        return task.seconds
    assert task.started is not None
    return (datetime.now(UTC) - task.started).total_seconds()
