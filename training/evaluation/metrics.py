"""Every metric once: who is asked for it, which direction is better, what it means.

A metric's name may carry a reading of lists in front and a cut-off behind: `sid_ndcg@10` is the
metric `ndcg` of the first 10 distinct semantic IDs. Imports nothing: presets are checked by this
file, and summaries are printed with it.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from math import log
from typing import Literal

LISTS = "lists"
"""Board: the item that came next, among the whole catalogue."""
FEEDBACK = "feedback"
"""Board: whether the feedback on an event was positive."""
SLATES = "slates"
"""Board: what was engaged with of items that were shown together."""
EVENT_LISTS = "event_lists"
"""Board: the same as of lists, asked for before each event where the preset asks at the day's
end."""
DAY_END_LISTS = "day_end_lists"
"""Board: the same as of lists, asked for at the day's end where the preset asks before each
event."""
FIT = "fit"
"""No board: what a fit measures of itself, while it runs."""
CANNOT = {
    **dict.fromkeys((LISTS, EVENT_LISTS, DAY_END_LISTS), "can't list"),
    FEEDBACK: "can't rank",
    SLATES: "can't show slates",
}
"""What is said of a model that a board can't ask."""
HEADLINE_CUTOFF = 10
"""The cut-off that stands for all of them where there is room for one."""
ValidationMetric = Literal["ndcg@10", "auc", "gauc", "logloss", "loss"]
"""What can stop a fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A kind of number that a board gives an entrant.

    Attributes:
        name: without reading and cut-off.
        board: who asks for it.
        explanation: what it says, for a reader who knows the board.
        has_cutoff: whether it is taken of the first K places, and named `name@K`.
        higher_is_better: whether more of it is wanted.
        chance: what an answer that knows nothing gets; None where that depends on the data.
        chance_at: the same, of the share of positives; None where it does not depend on it.
        headline: whether a short table shows it.
        may_be_undefined: whether a board that is there may lack it: an order of feedback needs
            both kinds of it.
    """

    name: str
    board: str
    explanation: str
    has_cutoff: bool = False
    higher_is_better: bool = True
    chance: float | None = None
    chance_at: Callable[[float], float] | None = None
    headline: bool = False
    may_be_undefined: bool = False

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.higher_is_better else -1


def _of_lists(prefix: str = "", board: str = LISTS) -> tuple[Metric, ...]:
    """What is measured of lists, whenever they are asked for; headlines where they decide."""
    is_headline = board == LISTS
    return (
        Metric(
            name=f"{prefix}ndcg", board=board, has_cutoff=True, headline=is_headline,
            explanation="1 / log2(rank + 1) of targets in the first K places",
        ),
        Metric(
            name=f"{prefix}hr", board=board, has_cutoff=True, headline=is_headline,
            explanation="share of targets in the first K places",
        ),
        Metric(
            name=f"{prefix}mrr", board=board, headline=is_headline,
            explanation="1 / rank of targets in the whole list",
        ),
    )  # fmt: skip


def _entropy(rate: float) -> float:
    """LogLoss of who says the share of positives, and nothing else."""
    return -sum(share * log(share) for share in (rate, 1 - rate) if share)


def _off_by_all(rate: float) -> float:
    """Calibration error of who says 0."""
    return rate


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *_of_lists(),
        Metric(
            name="auc", board=FEEDBACK, chance=0.5, headline=True, may_be_undefined=True,
            explanation="share of pairs of a positive and a negative event in the right order",
        ),
        Metric(
            name="gauc", board=FEEDBACK, chance=0.5, may_be_undefined=True,
            explanation="AUC within each user, weighted by the user's events",
        ),
        Metric(
            name="logloss", board=FEEDBACK, higher_is_better=False, chance_at=_entropy,
            explanation="negative log-likelihood of the feedback, nats",
        ),
        Metric(
            name="ece", board=FEEDBACK, higher_is_better=False, chance_at=_off_by_all,
            explanation="mean distance of what was said from what happened, over twenty bins of "
            "like probability",
        ),
        Metric(
            name="slate_ndcg", board=SLATES, has_cutoff=True,
            explanation="discounted gain of the first K places over the best possible one",
        ),
        Metric(
            name="slate_hit", board=SLATES, has_cutoff=True,
            explanation="share of slates whose first K places hold an item that was engaged with",
        ),
        Metric(
            name="slate_recall", board=SLATES, has_cutoff=True,
            explanation="share of what was engaged with that the first K places hold",
        ),
        *_of_lists("event_", EVENT_LISTS),
        *_of_lists("day_end_", DAY_END_LISTS),
        Metric(
            name="slate_gndcg", board=SLATES, has_cutoff=True,
            explanation="as slate_ndcg, an item's gain being 2^strength: the strongest first",
        ),
        Metric(
            name="loss", board=FIT, higher_is_better=False,
            explanation="the training loss on validation targets, nats",
        ),
    )
}  # fmt: skip
"""Name → metric, in the order in which a board's metrics are shown."""

READINGS = {
    "": "items",
    "sid_": "distinct semantic IDs, in order",
    "expanded_": "all items of each semantic ID, in order",
}
"""Prefix → what a list is read as; metrics of lists have one of each."""


@dataclass(frozen=True, slots=True)
class MetricName:
    """A metric as it is measured: read in some way, up to some place.

    Attributes:
        metric: what is measured.
        cutoff: K; None for a metric of whole lists, or of no list.
        reading: a key of `READINGS`.
    """

    metric: Metric
    cutoff: int | None = None
    reading: str = ""

    def __str__(self) -> str:
        place = "" if self.cutoff is None else f"@{self.cutoff}"
        return f"{self.reading}{self.metric.name}{place}"


def parse(name: str) -> MetricName:
    """A metric's name, taken apart.

    Raises:
        ValueError: there is no such metric, or it has a cut-off too many or too few.
    Example:
        >>> found = parse("sid_ndcg@10")
        >>> found.metric.board, found.cutoff, found.reading, str(found)
        ('lists', 10, 'sid_', 'sid_ndcg@10')
    """
    stem, at, places = name.partition("@")
    reading = next((r for r in READINGS if r and stem.startswith(r)), "")
    metric = METRICS.get(stem.removeprefix(reading))
    if metric is None or (reading and metric.board != LISTS):
        raise ValueError(f"no metric {name!r}; there are {', '.join(METRICS)}")
    is_number = places.isdecimal() and int(places) > 0
    if metric.has_cutoff != bool(at) or (at and not is_number):
        expected = f"{stem}@K, K from 1" if metric.has_cutoff else stem
        raise ValueError(f"{name!r} is no metric; expected {expected}")
    return MetricName(metric, int(places) if at else None, reading)


def metric_of(name: str) -> Metric:
    """The metric of a name with reading and cut-off; raises what `parse` raises."""
    return parse(name).metric


def names_of(
    board: str, cutoffs: Sequence[int] = (), readings: Collection[str] = ("",)
) -> list[str]:
    """The names under which a board's metrics are measured.

    Args:
        board: whose.
        cutoffs: K of those that have one.
        readings: of lists.
    Example:
        >>> names_of(LISTS, [5])
        ['ndcg@5', 'hr@5', 'mrr']
    """
    metrics = [metric for metric in METRICS.values() if metric.board == board]
    stems = [metric for metric in metrics if metric.has_cutoff]
    whole = [metric.name for metric in metrics if not metric.has_cutoff]
    cut = [f"{metric.name}@{k}" for k in cutoffs for metric in stems]
    return [reading + name for reading in readings for name in (*cut, *whole)]


def order_of(board: str) -> Metric | None:
    """The board's first metric that chance has a value of: what a model must be better than."""
    of_board = (metric for metric in METRICS.values() if metric.board == board)
    return next((metric for metric in of_board if metric.chance is not None), None)


def headline_names(names: Iterable[str], first: str) -> list[str]:
    """Of the metrics measured those of a short table, `first` the first where it is there.

    Example:
        >>> headline_names(["auc", "hr@5", "hr@10", "sid_hr@10", "slate_hit@5"], "slate_hit@5")
        ['slate_hit@5', 'hr@10', 'auc']
    """
    there = set(names)
    short = [
        name
        for metric in METRICS.values()
        if metric.headline
        for name in names_of(metric.board, (HEADLINE_CUTOFF,))
        if metric_of(name) is metric
    ]
    return [name for name in dict.fromkeys((first, *short)) if name in there]
