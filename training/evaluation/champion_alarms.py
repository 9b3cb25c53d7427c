"""What is wrong with a champion that goes on serving, by the day's questions."""

from collections.abc import Iterator

from training.evaluation.record import CHAMPION, PRETRAINED, REFERENCE, Comparison, Evaluation
from training.evaluation.shares import in_words, is_loss_above

ADVICE = (
    "Serve the champion of before, or an older one (sidereal models promote), or let the gate "
    "promote what is better (gate.on_baseline_win, gate.guard_metrics)."
)
"""What to do about either alarm."""


def rollback_of(preset: str) -> str:
    """The command that serves the champion of before."""
    return f'sidereal models rollback --preset {preset} --reason "…"'


def champion_alarms(evaluation: Evaluation, *, floor: str, budget: float | None) -> list[str]:
    """Who is better than the champion beyond chance: a baseline, or the reference by its budget.

    Args:
        evaluation: of the day.
        floor: label of the family that no champion may be worse than.
        budget: share of the reference's value that may be lost; None where nothing is bounded.
    """
    if evaluation.champion is None:
        return []
    who = f"{evaluation.champion.family} of {evaluation.champion.day}"
    alarms = []
    if winners := sorted(_winners(evaluation, floor), key=lambda row: -row.gain.point):
        others = "".join(f"; {row.ours} is better, too" for row in winners[1:])
        alarms.append(
            f"the champion ({who}) is worse than {winners[0].ours} beyond chance: "
            f"{in_words(evaluation, winners[0])}{others}"
        )
    row = evaluation.find(CHAMPION, REFERENCE, evaluation.primary_metric)
    if budget is not None and row and row.gain.high < 0 and is_loss_above(evaluation, row, budget):
        best = evaluation.entrants[REFERENCE]
        alarms.append(
            f"the champion ({who}) has lost more than {budget:.1%} to the reference "
            f"({best.family} of {best.day}) beyond chance: {in_words(evaluation, row)}"
        )
    return alarms


def _winners(evaluation: Evaluation, floor: str) -> Iterator[Comparison]:
    """The comparisons of floor and baselines with the champion that they win."""
    for label in dict.fromkeys((*evaluation.baselines, floor)):
        row = evaluation.find(label, CHAMPION, evaluation.primary_metric)
        # The challenger from before its alignment is a challenger, and no baseline of another one.
        if row is not None and label != PRETRAINED and row.gain.low > 0:
            yield row
