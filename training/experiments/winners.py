"""The first table of RESULTS.md: who wins where, by how much, and what it costs."""

from collections.abc import Iterable, Iterator, Sequence

from training.evaluation.record import Interval
from training.experiments.markdown import difference_text, head, line
from training.experiments.result import Result, RowResult

_COLUMNS = (
    "data, table",
    "wins",
    "metric",
    "next",
    "ahead by",
    "surely ahead of",
    "seeds",
    "fit, s",
)
SEEDS, FEWER, LONG = 8, 3, 300.0
"""Of 8 fits a difference is claimed, of 3 where one takes more than 300 seconds."""
_OF_A_BLEND = "fit.weight"
"""A fact that only rows of two models have."""


def winners(results: Iterable[Result]) -> str:
    """A line for the best row of each result about people, and one for the best single model.

    Beside it stand the next row and the best row that it is ahead of with an interval above 0,
    among those that it is compared with. A row that is compared with none has no line.
    """
    lines = [each for result in results for each in _lines(result)]
    return "\n".join([*head(_COLUMNS), *lines]) + "\n" if lines else ""


def _lines(result: Result) -> Iterator[str]:
    if result.unit != "people":
        return
    metric = result.metrics[0]
    there = [row for row in result.rows if metric in row.metrics]
    rows = sorted(there, key=lambda row: -row.metrics[metric].mean)
    single = [row for row in rows if _OF_A_BLEND not in row.facts]
    for place, among in enumerate((rows, single)):
        if len(among) > 1 and not (place and among[0] is rows[0]):
            yield from _line_of(result, *among)


def _line_of(result: Result, best: RowResult, *others: RowResult) -> Iterator[str]:
    ahead = [(row, bounds) for row in others if (bounds := _ahead(result, best, row)) is not None]
    if not ahead:
        return
    (following, by), surely = ahead[0], [one for one in ahead if one[1].low > 0]
    metric = result.metrics[0]
    yield line(
        [
            ", ".join((result.preset, result.experiment, *result.changes)),
            best.name,
            f"{metric} {best.metrics[metric].mean:.4f}",
            following.name,
            difference_text(by),
            _told(surely) if _is_claimed(result, best) else "too few seeds",
            str(len(best.seeds)),
            f"{sum(seconds):.0f}" if (seconds := _seconds(result, best)) else "–",
        ]
    )


def _is_claimed(result: Result, best: RowResult) -> bool:
    enough = FEWER if max(_seconds(result, best), default=0.0) > LONG else SEEDS
    return len(best.seeds) >= enough


def _seconds(result: Result, best: RowResult) -> list[float]:
    """Of a fit; of a blend those of its parts, too, whose names its own is made of.

    Empty where one of them is not known.
    """
    named = {best.name, *best.name.split(" + ")}
    facts = [row.facts for row in result.rows if row.name in named]
    if not all("fit.seconds" in each for each in facts):
        return []
    return [each["fit.seconds"].mean for each in facts]


def _told(surely: Sequence[tuple[RowResult, Interval]]) -> str:
    return f"{surely[0][0].name}, {difference_text(surely[0][1])}" if surely else "none"


def _ahead(result: Result, best: RowResult, other: RowResult) -> Interval | None:
    """The winner less another in the first metric; None where the two are not compared."""
    for each in result.comparisons:
        if each.metric != result.metrics[0]:
            continue
        if (each.ours, each.theirs) == (best.name, other.name):
            return each.difference
        if (each.ours, each.theirs) == (other.name, best.name):
            return -each.difference
    return None
