"""Rows of metrics that no list could have scored: a check of the evaluation, not of the model.

With one target per list, a hit between two cut-offs a < b adds to NDCG at least 1/log2(b + 1) and
at most 1/log2(a + 2), and to MRR between 1/b and 1/(a + 1); a target that no list holds adds 0,
and one beyond the last cut-off at most 1/(last + 1). Means over targets and users keep
that, so for every row of every table of results

    NDCG@b - NDCG@a  lies in  [1/log2(b + 1), 1/log2(a + 2)] * (HR@b - HR@a)

which several published rows do not.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log2

_TOLERANCE = 1e-9


def impossible_values(
    metrics: Mapping[str, float], *, cutoffs: Sequence[int], list_length: int, reading: str = ""
) -> list[str]:
    """The contradictions in one row of metrics.

    Args:
        metrics: means, at least HR and NDCG at every cut-off; MRR is checked where it is there.
        cutoffs: K of the HR and NDCG to check.
        list_length: k of the lists.
        reading: prefix of the names.
    Returns:
        One sentence per contradiction; empty for a possible row.
    Example:
        >>> impossible_values({"hr@10": 0.3, "ndcg@10": 0.4}, cutoffs=(10,), list_length=10)
        ['ndcg@10 - ndcg@0 is 0.4000, but hr@10 - hr@0 = 0.3000 allows 0.0867 to 0.3000']
    """
    at = {f"{reading}{name}@0": 0.0 for name in ("hr", "ndcg")} | dict(metrics)
    problems = []
    low_mrr = high_mrr = 0.0
    for a, b in pairwise((0, *sorted(cutoffs))):
        hits = at[f"{reading}hr@{b}"] - at[f"{reading}hr@{a}"]
        gain = at[f"{reading}ndcg@{b}"] - at[f"{reading}ndcg@{a}"]
        low, high = hits / log2(b + 1), hits / log2(a + 2)
        if hits < -_TOLERANCE:
            problems.append(f"{reading}hr@{b} is below {reading}hr@{a}")
        elif not low - _TOLERANCE <= gain <= high + _TOLERANCE:
            problems.append(
                f"{reading}ndcg@{b} - {reading}ndcg@{a} is {gain:.4f}, but {reading}hr@{b} - "
                f"{reading}hr@{a} = {hits:.4f} allows {low:.4f} to {high:.4f}"
            )
        low_mrr, high_mrr = low_mrr + hits / b, high_mrr + hits / (a + 1)
    last = max(cutoffs)
    if list_length > last:
        high_mrr += (1.0 - at[f"{reading}hr@{last}"]) / (last + 1)
    mrr = at.get(f"{reading}mrr")
    if mrr is not None and not low_mrr - _TOLERANCE <= mrr <= high_mrr + _TOLERANCE:
        problems.append(
            f"{reading}mrr is {mrr:.4f}, but the hits allow {low_mrr:.4f} to {high_mrr:.4f}"
        )
    return problems
