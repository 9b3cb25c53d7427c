"""An evaluation's entrants as a report names and orders them."""

from collections.abc import Iterable

from training.evaluation.metrics import metric_of
from training.evaluation.record import CHAMPION, PRETRAINED, REFERENCE, Comparison, Evaluation


def in_order(evaluation: Evaluation, labels: Iterable[str]) -> list[str]:
    """The labels: challenger, champion, reference, and the baselines behind."""
    first = [evaluation.challenger, CHAMPION, REFERENCE, *evaluation.baselines]
    there = list(labels)
    return [label for label in dict.fromkeys((*first, *there)) if label in there]


def named(evaluation: Evaluation, label: str) -> str:
    """An entrant for a person."""
    if label == CHAMPION:
        return f"champion, {evaluation.entrants[label].family}"
    if label == REFERENCE:
        found = evaluation.entrants[label]
        return f"reference, {found.family} of {found.day}"
    if label == PRETRAINED:
        return f"{evaluation.challenger} before alignment"
    return label


def best_baseline(evaluation: Evaluation, metric: str) -> str | None:
    """Label of the baseline that is best by a metric; None where none has it."""
    sign = metric_of(metric).sign
    points = {
        label: sign * bounds.point
        for label in evaluation.baselines
        if (bounds := evaluation.entrants[label].value(metric)) is not None
    }
    return max(points, key=lambda label: points[label]) if points else None


def is_better(row: Comparison | None) -> bool | None:
    """Whether ours is better than chance explains; None where the interval holds zero."""
    if row is None or row.gain.low <= 0 <= row.gain.high:
        return None
    return row.gain.low > 0
