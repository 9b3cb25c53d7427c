"""A result as Markdown."""

from collections.abc import Sequence

from training.evaluation.record import Interval
from training.experiments.result import Figure, Result, RowResult

_ABSENT = "–"


def markdown(result: Result) -> str:
    """Title, command, the rows, what others published, and the differences."""
    seeds = max(len(row.seeds) for row in result.rows)
    over = f"{result.unit} and seeds" if seeds > 1 else result.unit
    plural = "s" if seeds > 1 else ""
    machines = ", ".join(result.machines)
    timed = f" Seconds by the clock of a machine with other work, too: {machines}." * bool(machines)
    lines = [
        f"## {', '.join((result.experiment, result.preset, *result.changes))}",
        "",
        f"{result.says[0].upper()}{result.says[1:]}. Data up to {result.day};"
        f" {result.num_units:,} {result.unit}; {seeds} seed{plural}. Means ± deviation over seeds;"
        f" {result.confidence:.0%} intervals over {over}.{_budget(result)}{timed}",
        "",
        "```",
        result.command,
        "```",
        "",
        *_rows(result),
    ]
    if result.published:
        lines += ["", "Published:", "", *_published(result)]
    if result.comparisons:
        lines += ["", *_differences(result)]
    if any(row.searched for row in result.rows):
        lines += ["", *_searched(result)]
    return "\n".join(lines) + "\n"


def _searched(result: Result) -> list[str]:
    """How settings were chosen, a line a fit."""
    found = [
        (f"{row.name}: {one.family}" if len(row.searched) > 1 else row.name, one)
        for row in result.rows
        for one in row.searched
    ]
    trials, seconds = found[0][1].most_trials, found[0][1].most_seconds
    within = "" if seconds is None else f", none begun after {seconds:,.0f} s"
    columns = ["row", "trials", "s", "validation", "targets", "preset's", "chosen"]
    lines = [
        f"Settings were chosen on validation targets: {trials} trials a fit{within}, beside the"
        " preset's own. No test target was asked about before.",
        "",
        *head(columns),
    ]
    for name, one in found:
        measured = f"{one.metric} {one.value:.4f}"
        chosen = ", ".join(f"{_key(path)} {value}" for path, value in one.settings.items())
        cells = [str(one.trials), f"{one.seconds:.0f}", measured, f"{one.num_targets:,}"]
        cells += [f"{one.value_before:.4f}", chosen or "the preset's"]
        lines.append(line([name, *cells]))
    return lines


def _key(path: str) -> str:
    return path.rpartition(".")[2]


def _budget(result: Result) -> str:
    if (budget := result.budget) is None:
        return ""
    return (
        f" Each neural fit: at most {budget.max_epochs} epochs, stopped after"
        f" {budget.patience_epochs} without better validation on up to"
        f" {budget.max_validation_targets:,} targets."
    )


def rows_of(result: Result) -> str:
    """The rows alone, with what the one row that all are compared with has more or less."""
    return "\n".join(_rows(result, less=_compared_with_all(result))) + "\n"


def _rows(result: Result, *, less: str = "") -> list[str]:
    first, there = result.metrics[0], {fact for row in result.rows for fact in row.facts}
    facts = {name: title for name, title in result.titles.items() if title and name in there}
    columns = ["row", "seeds", *result.metrics, *facts.values()]
    seconds = "fit.seconds" in there
    columns += ["fit, s"] * seconds + [f"{less} − this, {first}"] * bool(less)
    lines = head(columns)
    minus = {
        row.theirs: difference_text(row.difference)
        for row in result.comparisons
        if row.metric == first
    }
    for row in result.rows:
        cells = [_shown(row.metrics.get(name), bounds=name == first) for name in result.metrics]
        cells += [_shown(row.facts.get(name)) for name in facts]
        cells += [_seconds(row)] * seconds + [minus.get(row.name, "")] * bool(less)
        lines.append(line([row.name, str(len(row.seeds)), *cells]))
    return lines


def _compared_with_all(result: Result) -> str:
    """The one row that every other is compared with; empty where there is none."""
    ours = {row.ours for row in result.comparisons}
    return ours.pop() if len(ours) == 1 else ""


def _published(result: Result) -> list[str]:
    lines = head(["row", "source", *result.metrics])
    names = dict.fromkeys(row for of in result.published.values() for row in of)
    for name in names:
        for source, rows in result.published.items():
            if name in rows:
                values = (rows[name].get(metric) for metric in result.metrics)
                cells = [_ABSENT if value is None else f"{value:.4f}" for value in values]
                lines.append(line([name, source, *cells]))
    return lines


def _differences(result: Result) -> list[str]:
    metrics = list(dict.fromkeys(row.metric for row in result.comparisons))
    pairs = dict.fromkeys((row.ours, row.theirs) for row in result.comparisons)
    by_pair = {(row.ours, row.theirs, row.metric): row for row in result.comparisons}
    lines = head(["difference", *metrics])
    for ours, theirs in pairs:
        differences = (by_pair.get((ours, theirs, metric)) for metric in metrics)
        cells = [_ABSENT if one is None else difference_text(one.difference) for one in differences]
        lines.append(line([f"{ours} − {theirs}", *cells]))
    return lines


def head(cells: Sequence[str]) -> list[str]:
    """The first two lines of a table."""
    return [line(cells), "|" + "---|" * len(cells)]


def line(cells: Sequence[str]) -> str:
    """A line of a table."""
    return "| " + " | ".join(cells) + " |"


def _shown(figure: Figure | None, *, bounds: bool = False) -> str:
    if figure is None:
        return _ABSENT
    digits = 4 if abs(figure.mean) < 10 else 1 if abs(figure.mean) < 1000 else 0
    text = f"{figure.mean:,.{digits}f}"
    if figure.seed_deviation is not None:
        text += f" ± {figure.seed_deviation:,.{digits}f}"
    if bounds and figure.interval is not None:
        text += f" [{figure.interval.low:.4f}, {figure.interval.high:.4f}]"
    return text


def difference_text(bounds: Interval) -> str:
    """A difference with its interval."""
    return f"{bounds.point:+.4f} [{bounds.low:+.4f}, {bounds.high:+.4f}]"


def _seconds(row: RowResult) -> str:
    figure = row.facts.get("fit.seconds")
    return _ABSENT if figure is None else f"{figure.mean:.0f}"
