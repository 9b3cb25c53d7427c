"""Who watches a fit: the registry's run, and the person at the terminal."""

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from training.fitting import Observer
from training.registry import TrackedRun


class RunObserver(Observer):
    """Logs each epoch's point of each curve to a run; a resumed fit's earlier ones as well."""

    def __init__(self, run: TrackedRun) -> None:
        self._run = run

    def on_start(self, family: str, max_epochs: int, curves: Sequence[Mapping[str, float]]) -> None:
        """Log the epochs that the fit has behind it."""
        for curve in curves:
            self.on_epoch(curve)

    def on_epoch(self, epoch: Mapping[str, float]) -> None:
        """Log one epoch, at once: it is looked at while the fit goes on."""
        values = {name: value for name, value in epoch.items() if name != "epoch"}
        self._run.log(values, step=int(epoch["epoch"]))
        self._run.flush()


class TerminalObserver(Observer):
    """A progress bar of the epoch's steps where standard error is a terminal; else nothing."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[told]}"),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._family, self._max_epochs, self._told = "", 0, ""

    def __enter__(self) -> Self:
        self._bar.start()
        self._task = self._bar.add_task("", total=None, told="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def on_start(self, family: str, max_epochs: int, curves: Sequence[Mapping[str, float]]) -> None:
        """Remember whose fit it is."""
        self._family, self._max_epochs = family, max_epochs

    def on_step(self, epoch: int, step: int, num_steps: int, loss: float) -> None:
        """Move the bar."""
        self._bar.update(
            self._task,
            description=f"{self._family} epoch {epoch + 1}/{self._max_epochs}",
            completed=step,
            total=num_steps,
            told=f"loss {loss:.3f} {self._told}",
        )

    def on_epoch(self, epoch: Mapping[str, float]) -> None:
        """Keep the last validation beside the bar."""
        if "validation" in epoch:
            self._told = f"· validation {epoch['validation']:.4f}"
