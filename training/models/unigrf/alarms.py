"""What in the curves of a fit says that the two tasks hinder each other.

docs/mechanics.md, Alarms of two tasks, has the bounds.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

AUC_FALL = 0.005
"""Ranking that falls so far below its best while training goes on was left behind."""
SMALL_SHARE = 0.05
"""A task with less of the weights is no longer trained."""
SWING = 0.2
"""Change of a task's share from epoch to epoch that counts as a swing."""
SWINGS = 3
"""Swings back and forth in a row that are an oscillation."""
REPEATED = 0.5
"""Share of hard negatives that come back: so few are not worth looking for anew."""
LATER = 2.0
"""So many times as often as random items do hard negatives turn out to be wanted later."""
MANY_LATER = 0.05
"""Share of hard negatives wanted later below which nothing is said, however rare random ones are:
what ranks high and is no target yet is hard, and wanted more often than what was drawn blindly."""

Curves = Sequence[Mapping[str, float]]


def alarms(curves: Curves) -> list[str]:
    """Sentences about what should be looked at; none where all is well."""
    found = [
        _ranking_fell(curves),
        *_collapsed(curves),
        _oscillates(curves),
        _repeats(curves),
        _wanted_later(curves),
    ]
    return [sentence for sentence in found if sentence]


def _ranking_fell(curves: Curves) -> str:
    """Asynchronous optimisation: ranking peaks early, and falls while retrieval still rises."""
    points = [(int(c["epoch"]), c["validation_auc"]) for c in curves if "validation_auc" in c]
    if not points:
        return ""
    best_epoch, best = max(points, key=lambda point: point[1])
    last_epoch, last = points[-1]
    if best - last <= AUC_FALL:
        return ""
    return (
        f"AUC fell from {best:.4f} in epoch {best_epoch} to {last:.4f} in epoch {last_epoch}:"
        " the tasks are not learnt at one pace; raise ranking_scale or lower weighter_temperature"
    )


def _collapsed(curves: Curves) -> list[str]:
    return [
        f"{name.removeprefix('share_')} has {share:.1%} of the weights in epoch"
        f" {curve['epoch']:.0f}: raise weighter_temperature"
        for curve in curves[-1:]
        for name, share in curve.items()
        if name.startswith("share_") and share < SMALL_SHARE
    ]


def _oscillates(curves: Curves) -> str:
    shares = [curve["share_ranking"] for curve in curves if "share_ranking" in curve]
    steps = [now - before for before, now in pairwise(shares)]
    swings = 0
    for before, now in pairwise(steps):
        is_swing = before * now < 0 and min(abs(before), abs(now)) > SWING
        swings = swings + 1 if is_swing else 0
        if swings >= SWINGS:
            return (
                "the weights swing from epoch to epoch: their ratios are noise; raise"
                " weighter_temperature"
            )
    return ""


def _repeats(curves: Curves) -> str:
    share = curves[-1].get("hard_repeated_share", 0.0) if curves else 0.0
    if share <= REPEATED:
        return ""
    return (
        f"{share:.0%} of hard negatives were hard in the epoch before, too: the model sees the same"
        " few items again and again; lower hard_negatives or draw from a larger pool"
    )


def _wanted_later(curves: Curves) -> str:
    last = curves[-1] if curves else {}
    hard, random = last.get("hard_later_share", 0.0), last.get("random_later_share", 0.0)
    if hard <= MANY_LATER or not random or hard <= LATER * random:
        return ""
    return (
        f"{hard:.1%} of hard negatives are items of the same history later on, {random:.1%} of"
        " random ones are: what is wanted is pushed away; lower hard_negatives"
    )
