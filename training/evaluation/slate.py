"""How good whole slates are: what of them was engaged with, and how unlike their items are.

A slate is measured against the set E of items that the user engaged with in the slate that was
really shown (docs/mechanics.md, Metrics), k being the places looked at:

    hit@k    = 1{ some of the first k is in E }
    recall@k = |first k ∩ E| / |E|
    ndcg@k   = sum_{m <= k, item m in E} 1 / log2(m + 1) / sum_{m <= min(k, |E|)} 1 / log2(m + 1)
    gndcg@k  = sum_{m <= k, item m in E} g(m) / log2(m + 1) / the same of E in its best order

The first three take E as a set. For the graded one (Järvelin and Kekäläinen 2002) an item is worth
twice as much as one of the strength below, g = 2^strength, so that all of E is worth something.

S slates, M places, V items, D width, U users.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from training import inference
from training.data.queries import PAD
from training.data.slate_batches import slate_queries
from training.data.slates import Slates

if TYPE_CHECKING:
    from training.models.interface import Model


def recommended_slates(
    model: "Model", slates: Slates, k: int, *, max_history: int, exclude_seen: bool
) -> np.ndarray:
    """What a model says in the place of each slate, int32, [S, k]; `PAD` where it has no more.

    Args:
        model: of any family: its list of k is its slate.
        slates: whose queries are asked about.
        k: places.
        max_history: events of context.
        exclude_seen: whether items of the history are left out.
    """
    questions = slate_queries(slates, max_history=max_history, exclude_seen=exclude_seen)
    answers = [inference.recommend(model, queries, k).items_Bk for queries in questions]
    return np.concatenate([np.empty((0, k), dtype=np.int32), *answers])


def slate_metrics(
    slates_SM: np.ndarray, engaged: Slates, cutoffs: Sequence[int]
) -> dict[str, np.ndarray]:
    """Of every slate the metrics of `WORTH` at every k, float64, each of shape [S].

    Args:
        slates_SM: item indices, `PAD` for an empty place; no item twice.
        engaged: the same S slates with only the items that were engaged with; at least one each.
        cutoffs: numbers of places, each at most M.
    Raises:
        ValueError: numbers of slates differ, a slate was not engaged with, or a cutoff is beyond
            what was said.
    Example:
        A slate of items 3, 8, 1 where 1, 8 and 9 were engaged with: two of three, places 2 and 3:
        (1/log2(3) + 1/log2(4)) / (1 + 1/log2(3) + 1/log2(4)) = 0.5307. With strengths 1, 3 and 1
        the best order is 8 first: (8/log2(3) + 2/log2(4)) / (8 + 2/log2(3) + 2/log2(4)) = 0.5893.
    """
    _require_comparable(slates_SM, engaged, cutoffs)
    judged = _judged(slates_SM, engaged)
    return {f"{name}@{k}": worth(judged.first(k)) for k in cutoffs for name, worth in WORTH.items()}


@dataclass(frozen=True)
class JudgedSlates:
    """The first k places of S slates, beside what was engaged with.

    Attributes:
        hit_Sk: which places hold an item that was engaged with.
        gain_Sk: what the feedback on the item of each place is worth; 0 where it is not right.
        best_Sk: the gains of what was engaged with, falling; 0 where it has fewer items.
        wanted_S: how many items were engaged with.
    """

    hit_Sk: np.ndarray
    gain_Sk: np.ndarray
    best_Sk: np.ndarray
    wanted_S: np.ndarray

    def first(self, k: int) -> "JudgedSlates":
        """Of fewer places."""
        return JudgedSlates(
            self.hit_Sk[:, :k], self.gain_Sk[:, :k], self.best_Sk[:, :k], self.wanted_S
        )


def _judged(slates_SM: np.ndarray, engaged: Slates) -> JudgedSlates:
    S, M = slates_SM.shape
    num_items = 1 + max(slates_SM.max(initial=0), engaged.items.max(initial=0))
    strongest = np.argsort(-engaged.strengths.astype(np.int64), kind="stable")
    cell_N = (engaged.slates * num_items + engaged.items)[strongest]
    # An item that was shown twice is wanted once, with its strongest feedback.
    cell_E, first_E = np.unique(cell_N, return_index=True)
    gain_E = np.exp2(engaged.strengths[strongest][first_E].astype(np.float64))
    wanted_S = np.bincount(cell_E // num_items, minlength=S)

    cell_SM = np.arange(S)[:, None] * num_items + slates_SM
    at_SM = np.searchsorted(cell_E, cell_SM).clip(max=max(0, len(cell_E) - 1))
    hit_SM = np.isin(cell_SM, cell_E) & (slates_SM != PAD)
    gain_SM = np.where(hit_SM, gain_E[at_SM], 0.0) if len(cell_E) else np.zeros((S, M))

    best_SM = np.zeros((S, M))
    falling = np.lexsort((-gain_E, cell_E // num_items))
    place_E = np.arange(len(cell_E)) - np.repeat(np.cumsum(wanted_S) - wanted_S, wanted_S)
    is_early_E = place_E < M
    rows_E = (cell_E // num_items)[falling]
    best_SM[rows_E[is_early_E], place_E[is_early_E]] = gain_E[falling][is_early_E]
    return JudgedSlates(hit_SM, gain_SM, best_SM, wanted_S)


def _hit(judged: JudgedSlates) -> np.ndarray:
    return np.asarray(judged.hit_Sk.any(axis=1), dtype=np.float64)


def _recall(judged: JudgedSlates) -> np.ndarray:
    return np.asarray(judged.hit_Sk.sum(axis=1) / judged.wanted_S)


def _ndcg(judged: JudgedSlates) -> np.ndarray:
    discount_k = _discount(judged)
    best_k = np.concatenate([[0.0], np.cumsum(discount_k)])
    return np.asarray(
        (judged.hit_Sk @ discount_k) / best_k[np.minimum(len(discount_k), judged.wanted_S)]
    )


def _gndcg(judged: JudgedSlates) -> np.ndarray:
    discount_k = _discount(judged)
    return np.asarray((judged.gain_Sk @ discount_k) / (judged.best_Sk @ discount_k))


def _discount(judged: JudgedSlates) -> np.ndarray:
    return np.asarray(1 / np.log2(np.arange(2, judged.hit_Sk.shape[1] + 2)))


WORTH: dict[str, Callable[[JudgedSlates], np.ndarray]] = {
    "hit": _hit,
    "recall": _recall,
    "ndcg": _ndcg,
    "gndcg": _gndcg,
}
"""Metric of slates → the first k places of all slates → what each slate is worth, [S]."""


def intra_list_similarity(slates_SM: np.ndarray, vectors_VD: np.ndarray) -> np.ndarray:
    """Mean cosine of the pairs of items of each slate, float64, [S]; NaN below two known items.

    Args:
        slates_SM: item indices, `PAD` for an empty place.
        vectors_VD: a vector per item; one of zeros (or beyond the table) is of no known item.
    Example:
        >>> intra_list_similarity(np.array([[0, 1, 2]]), np.array([[1.0, 0], [1, 0], [0, 1]]))
        array([0.33333333])
    """
    norm_V1 = np.linalg.norm(vectors_VD, axis=1, keepdims=True)
    unit_VD = vectors_VD / np.where(norm_V1 > 0, norm_V1, 1)
    in_table_SM = (slates_SM != PAD) & (slates_SM < len(vectors_VD))
    index_SM = np.where(in_table_SM, slates_SM, 0)
    is_known_SM = in_table_SM & (norm_V1[index_SM, 0] > 0)
    x_SMD = unit_VD[index_SM] * is_known_SM[:, :, None]
    count_S = is_known_SM.sum(axis=1)
    # |sum of unit vectors|² is the sum over all ordered pairs, the items with themselves included.
    pairs_S = np.square(x_SMD.sum(axis=1)).sum(axis=1) - count_S
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count_S > 1, pairs_S / (count_S * (count_S - 1)), np.nan)


def coverage(slates_SM: np.ndarray, num_items: int) -> float:
    """Share of the catalogue that some slate holds.

    Example:
        >>> coverage(np.array([[0, 1], [1, PAD]]), 8)
        0.25
    """
    return len(np.unique(slates_SM[slates_SM != PAD])) / num_items


def repeats(slates_SM: np.ndarray) -> float:
    """Share of the places whose item stands in an earlier place of the same slate, too.

    Example:
        >>> repeats(np.array([[4, 4, 5, 4], [1, 2, PAD, PAD]]))
        0.3333333333333333
    """
    ordered_SM = np.sort(slates_SM, axis=1)
    same = (ordered_SM[:, 1:] == ordered_SM[:, :-1]) & (ordered_SM[:, 1:] != PAD)
    return float(same.sum() / max(1, (slates_SM != PAD).sum()))


def per_user(values: Mapping[str, np.ndarray], user_S: np.ndarray) -> tuple[np.ndarray, Any]:
    """Means over each user's slates, what `training.evaluation.bootstrap` draws from.

    Args:
        values: columns of shape [S].
        user_S: whose each slate is.
    Returns:
        The users, ascending, [U], and the same columns of shape [U]; a NaN is left out of the mean,
        and is what a user with nothing else has.
    """
    users, place_S = np.unique(user_S, return_inverse=True)
    means = {}
    for name, value_S in values.items():
        is_known_S = ~np.isnan(value_S)
        total_U = np.bincount(place_S[is_known_S], value_S[is_known_S], minlength=len(users))
        count_U = np.bincount(place_S[is_known_S], minlength=len(users))
        with np.errstate(invalid="ignore"):
            means[name] = np.where(count_U > 0, total_U / count_U, np.nan)
    return users, means


def _require_comparable(slates_SM: np.ndarray, engaged: Slates, cutoffs: Sequence[int]) -> None:
    if len(slates_SM) != len(engaged):
        raise ValueError(f"{len(slates_SM)} slates were said, {len(engaged)} were shown")
    if len(engaged) and engaged.lengths.min() < 1:
        raise ValueError(
            f"{(engaged.lengths < 1).sum()} slates were not engaged with: there is no right item;"
            " measure `slates.targets(minimum_strength=…)`"
        )
    if max(cutoffs) > slates_SM.shape[1]:
        raise ValueError(f"cutoffs {list(cutoffs)} look beyond {slates_SM.shape[1]} places")
