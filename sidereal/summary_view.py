"""A day's summary for a person's eyes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from training.evaluation.champion_alarms import ADVICE, rollback_of
from training.evaluation.metrics import headline_names
from training.evaluation.record import Comparison, Evaluation, Interval

Facts = Mapping[str, Any]

_FATES = ("added", "corrected", "unchanged", "withdrawn")
LOG_WIDTH = 1000
_LABEL = len("run records")
_GOOD, _BAD = "green", "bold red"


def print_summary(console: Console, facts: Facts, path: Path) -> None:
    """Print what the summary holds; parts that are empty are left out."""
    parts = [part for part in _parts(facts, console) if part is not None]
    title = f"{facts['preset']}, day {facts['day']}: {facts['status']} in {facts['seconds']:.0f} s"
    if console.is_terminal:
        console.rule(f"[bold]{title}")
    else:
        console.print(f"[bold]{title}")
    console.print(Group(*parts))
    for label, place in (*_paths(facts["paths"]), ("summary", str(path))):
        # Not in a table, which would cut what is to be copied.
        console.print(Text(f"{label:<{_LABEL}} {place}"), soft_wrap=True)


def console_of_run(*, stderr: bool) -> Console:
    """Where a run is told; a log has no width at which its lines must be cut."""
    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = LOG_WIDTH
    return console


def _parts(facts: Facts, console: Console) -> Iterator[RenderableType | None]:
    yield _champion(facts["gate"], facts["preset_given"])
    yield _tasks(facts["tasks"], facts["steps"])
    yield _tables(facts["tables"], facts["delivery"])
    yield _other_days(facts)
    yield _validation(facts["validation"])
    yield _tokenizer(facts["tokenizer"])
    yield _evaluation(facts["evaluation"], console)
    yield _gate(facts["gate"], facts["evaluation"])


def _champion(gate: Facts, preset: str) -> Group | None:
    """A champion that serves and should not, and what to do: before anything else."""
    alarms = gate.get("alarms") or ()
    if not alarms:
        return None
    return Group(*_alarms(alarms), Text(f"  {ADVICE} {rollback_of(preset)}"), "")


def _tasks(tasks: list[Facts], steps: list[Facts]) -> Table:
    """A row per task, with its step; where a task has several, each has a row below it."""
    table = _table("Tasks", "task", "seconds", "of work", "", text=("task", ""))
    for task in tasks:
        own = [step for step in steps if (step["dag"], step["task"]) == (task["dag"], task["task"])]
        worked = [step["seconds"] for step in own if step["seconds"] is not None]
        tries = f"{task['tries']} tries. " if task["tries"] > 1 else ""
        table.add_row(
            f"{task['dag']}.{task['task']}",
            _number(task["seconds"], ".1f"),
            _number(sum(worked) if worked else None, ".1f"),
            _said(own[0] if len(own) == 1 else {}, tries),
        )
        for step in own if len(own) > 1 else []:
            table.add_row(f"  {step['step']}", "", _number(step["seconds"], ".1f"), _said(step))
    return table


def _said(step: Facts, before: str = "") -> Text:
    said = step.get("message") or step.get("status") or ""
    return Text(before + said, "dim", overflow="fold")


def _tables(tables: Facts, delivery: Facts) -> RenderableType | None:
    if not tables:
        return None
    columns = ("this run's rows", "+ others", "= rows in all")
    table = _table("Tables", "table", *columns, "", text=("table", ""))
    for name, found in tables.items():
        own, total = found.get("rows"), found["total_rows"]
        others = None if own is None or total is None else total - own
        table.add_row(
            name,
            *(_number(rows, ",") for rows in (own, others, total)),
            Text("new snapshot" if found.get("changed") else "unchanged", "dim"),
        )
    if not delivery:
        return table
    changes = ", ".join(f"{delivery[fate]:,} {fate}" for fate in _FATES if delivery.get(fate))
    said = f"  {_account(delivery)}\n" + (f"  events: {changes}\n" if changes else "")
    return Group(table, Text(said, "dim"))


def _account(delivery: Facts) -> str:
    """Where the rows of a delivery are; withheld ones are those of a day that was refused."""
    told = (
        "{rows_in:,} rows in = {published:,} published + {duplicates:,} duplicates + "
        "{quarantined:,} quarantined"
    ).format_map(delivery)
    held = delivery.get("withheld")
    return f"{told} + {held:,} withheld with their day" if held else told


def _other_days(facts: Facts) -> RenderableType | None:
    """Days that were brought in before this one, and those that are still missing."""
    lines = [
        Text(f"  {each['day']}: {_account(each)}", "dim")
        for each in facts["filled"]
        if "rows_in" in each
    ]
    if missing := facts["delivery"].get("missing_days"):
        days = missing[0] if len(missing) == 1 else f"{missing[0]} to {missing[-1]}"
        lines.append(
            Text(
                f"  {len(missing)} day(s) before this one were never brought in: {days}. Fill them "
                f"in: sidereal run --preset {facts['preset_given']} --from {missing[0]} "
                f"--to {facts['day']}",
                _BAD,
            )
        )
    return Group(*lines, "") if lines else None


def _validation(checks: list[Facts]) -> Table | None:
    if not checks:
        return None
    table = _table("Validation", "step", "rules", "share of time", "", text=("step", ""))
    for check in checks:
        failed = ", ".join(check["rules_failed"])
        table.add_row(
            check["step"],
            str(check["rules"]),
            _number(check.get("share"), ".0%"),
            Text("all hold", _GOOD) if check["success"] else Text(failed, _BAD),
        )
    return table


def _tokenizer(found: Facts) -> RenderableType | None:
    if not found:
        return None
    columns = ("level", "codes used", "entropy", "perplexity", "unexplained")
    table = _table(f"Tokenizer {found.get('generation', '')}", *columns)
    for number, level in enumerate(found["levels"], start=1):
        table.add_row(
            str(number),
            f"{level['used_codes']} ({level['used_share']:.0%})",
            f"{level['entropy_share']:.0%}",
            f"{level['perplexity']:.1f}",
            f"{level['residual_share']:.0%}",
        )
    collision = found["collision"]
    told = (
        f"  {found['items']:,} items, {collision['share']:.1%} not told apart before collisions "
        f"are resolved, largest bucket {collision['largest_bucket']}\n"
    )
    return Group(table, *_alarms(found.get("alarms") or ()), Text(told, "dim"))


def _alarms(alarms: Sequence[str]) -> Iterator[Text]:
    for alarm in alarms:
        yield Text(f"  alarm: {alarm}", _BAD)


def _evaluation(found: Facts, console: Console) -> Table | None:
    """A row per entrant, or, where the console is too narrow for that, per entrant and metric."""
    if not found:
        return None
    record = Evaluation.from_json(found)
    sizes, primary = record.sizes, record.primary_metric
    title = (
        f"Metrics on {sizes.num_users:,} users, {sizes.num_targets:,} targets "
        f"({record.confidence:.0%} intervals)"
    )
    values = {label: entrant.values() for label, entrant in record.entrants.items()}
    metrics = headline_names((name for own in values.values() for name in own), primary)
    against = f"{record.challenger} − this, {primary}"
    wide = _table(title, "", *metrics, against, text=("",))
    narrow = _table(f"{title}; difference: {against}", "", "metric", "value", text=("", "metric"))
    order = [record.challenger, *record.baselines]
    for label in sorted(record.entrants, key=lambda label: _place(label, order)):
        family = record.entrants[label].family
        named = Text(
            label if label == family else f"{label} ({family})",
            "bold" if label == record.challenger else "",
        )
        cells = [_interval(values[label].get(metric)) for metric in metrics]
        row = record.find(record.challenger, label, primary)
        difference = _difference(row) if row else Text("")
        wide.add_row(named, *cells, difference)
        for metric, cell in zip(metrics, cells, strict=True):
            narrow.add_row(named if metric == metrics[0] else "", metric, cell)
        if row:
            narrow.add_row("", "difference", difference)
    unbounded = console.options.update(width=1000)
    fits = Measurement.get(console, unbounded, wide).maximum <= console.width
    return wide if fits else narrow


def _place(label: str, order: list[str]) -> int:
    """Challenger, baselines, then the champion."""
    return order.index(label) if label in order else len(order)


def _gate(found: Facts, evaluation: Facts) -> Panel | None:
    if not found:
        return None
    against = _against_best_baseline(evaluation)
    champion = (
        f"champion: version {found['champion_version']} ({found['champion_family']})"
        if found.get("champion_version")
        else "no champion yet"
    )
    lines = [*against, Text(f"{found['summary']}"), Text(champion, "bold")]
    return Panel(Group(*lines), title="Gate", title_align="left", expand=False)


def _against_best_baseline(found: Facts) -> Iterator[Text]:
    """What the challenger is worth beside the best baseline in the metric that decides: a line."""
    if not found:
        return
    record = Evaluation.from_json(found)
    primary = record.primary_metric
    pairs = (record.find(record.challenger, label, primary) for label in record.baselines)
    rows = [row for row in pairs if row is not None]
    if rows:
        best = min(rows, key=lambda row: row.gain.point)
        yield Text(
            f"{best.ours} {best.our_value:.4f}, the best baseline {best.theirs}"
            f" {best.their_value:.4f} in {primary}; difference "
        ) + _difference(best)


def _paths(paths: Facts) -> Iterator[tuple[str, str]]:
    yield "report", paths["report"] or "–"
    if paths["data_docs_index"]:
        yield "Data Docs", paths["data_docs_index"]
    for path in paths["data_docs"]:
        yield "", path
    yield "run records", paths["run_records"]
    yield "UIs", "sidereal ui (Airflow and MLflow)"


def _table(title: str, *names: str, text: tuple[str, ...] = ()) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for name in names:
        table.add_column(
            name, justify="left" if name in text else "right", no_wrap=name in names[:1]
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _interval(bounds: Interval | None) -> str:
    if bounds is None:
        return "–"
    return f"{bounds.point:.4f} [{bounds.low:.4f}, {bounds.high:.4f}]"


def _difference(row: Comparison) -> Text:
    """The difference, green for a sure gain and red for a sure loss."""
    bounds = row.difference
    style = _GOOD if row.gain.low > 0 else _BAD if row.gain.high < 0 else ""
    text = f"{bounds.point:+.4f} [{bounds.low:+.4f}, {bounds.high:+.4f}]"
    return Text(text, style)
