"""What the evaluation can measure, by name; imports nothing: presets are checked by it."""

from collections.abc import Sequence

READINGS = ("", "sid_", "expanded_")
"""Prefixes of list metrics: of items, of distinct semantic IDs, of all items of these."""
RANKING_METRICS = ("auc", "gauc", "logloss")
"""Of feedback, of models that rank."""
SLATE_PREFIX = "slate_"
"""Of the metrics of slates, so that the gate can tell them from those of single targets."""


def list_metric_names(cutoffs: Sequence[int], readings: Sequence[str] = READINGS) -> list[str]:
    """The metrics of ranked lists.

    Example:
        >>> list_metric_names([5], [""])
        ['hr@5', 'ndcg@5', 'mrr']
    """
    cuts = [f"{name}@{k}" for k in cutoffs for name in ("hr", "ndcg")]
    return [reading + name for reading in readings for name in (*cuts, "mrr")]


def slate_metric_names(cutoffs: Sequence[int]) -> list[str]:
    """The metrics of slates.

    Example:
        >>> slate_metric_names((5,))
        ['slate_hit@5', 'slate_recall@5', 'slate_ndcg@5']
    """
    return [f"{SLATE_PREFIX}{name}@{k}" for k in cutoffs for name in ("hit", "recall", "ndcg")]
