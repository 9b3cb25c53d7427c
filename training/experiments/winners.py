"""The first table of RESULTS.md: who wins where, by how much, and what it costs."""

from collections.abc import Iterable

from training.evaluation.record import Interval
from training.experiments.markdown import difference_text, head, line
from training.experiments.result import Result, RowResult

CLAIMED_FROM = 8
"""Seeds of a row from which a difference is claimed."""
_COLUMNS = ("data, table", "wins", "metric", "next", "ahead by", "told apart", "fit, s", "next, s")


def winners(results: Iterable[Result]) -> str:
    """A line for each result about people whose best row is compared with another.

    The next row is the best of those that the winner is compared with.
    """
    lines = [line for result in results if (line := _line_of(result))]
    return "\n".join([*head(_COLUMNS), *lines]) + "\n" if lines else ""


def _line_of(result: Result) -> str:
    metric = result.metrics[0]
    rows = [row for row in result.rows if metric in row.metrics]
    if result.unit != "people" or len(rows) < 2:
        return ""
    best, *others = sorted(rows, key=lambda row: -row.metrics[metric].mean)
    for row in others:
        if (ahead := _ahead(result, best, row)) is not None:
            break
    else:
        return ""
    what = (result.preset, result.experiment, *result.changes)
    cells = [", ".join(what), best.name, f"{metric} {best.metrics[metric].mean:.4f}", row.name]
    cells += [difference_text(ahead), _verdict(ahead, best, row), _seconds(best), _seconds(row)]
    return line(cells)


def _ahead(result: Result, best: RowResult, other: RowResult) -> Interval | None:
    """The winner less another in the first metric; None where the two are not compared."""
    for each in result.comparisons:
        if each.metric != result.metrics[0]:
            continue
        bounds = each.difference
        if (each.ours, each.theirs) == (best.name, other.name):
            return bounds
        if (each.ours, each.theirs) == (other.name, best.name):
            return -bounds
    return None


def _verdict(ahead: Interval, *rows: RowResult) -> str:
    if ahead.low <= 0:
        return "no"
    seeds = max(len(row.seeds) for row in rows)
    return "yes" if seeds >= CLAIMED_FROM else f"of {seeds} seed{'s' * (seeds > 1)}"


def _seconds(row: RowResult) -> str:
    figure = row.facts.get("fit.seconds")
    return "–" if figure is None else f"{figure.mean:.0f}"
