"""What a champion is worth beside those before it: by this the reference of later days is chosen.

Values of two days can't be compared, their questions differ; what two bundles have on the same
questions can. A standing is therefore a product of ratios along the chain of references, each from
one day's evaluation. A gain that may be luck counts as none: otherwise the luckiest of many
declining champions would be the next reference, and the decline would go on.
"""

from dataclasses import dataclass

from training.evaluation.record import CHAMPION, REFERENCE, Evaluation
from training.evaluation.shares import share_of

FIRST = 1.0
"""Of a champion that was compared with nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An entrant's worth by one metric.

    Attributes:
        digest: of its bundle.
        metric: that decided.
        level: times the worth of the chain's first champion.
    """

    digest: str
    metric: str
    level: float


def judge_of(evaluation: Evaluation) -> str | None:
    """Label of whom a standing is measured against; None before the first champion."""
    return next((label for label in (REFERENCE, CHAMPION) if label in evaluation.entrants), None)


def standing_after(evaluation: Evaluation, label: str, judge_level: float) -> Standing:
    """An entrant's standing after a day's evaluation.

    Args:
        evaluation: of the day.
        label: the entrant's.
        judge_level: standing of `judge_of` the day.
    """
    metric, judge = evaluation.primary_metric, judge_of(evaluation)
    row = evaluation.find(label, judge, metric) if judge else None
    share = share_of(evaluation, row) if row else None
    factor = 1.0
    if share is not None and (share.low > 0 or share.point < 0):
        factor += share.point
    return Standing(
        digest=evaluation.entrants[label].digest, metric=metric, level=judge_level * factor
    )
