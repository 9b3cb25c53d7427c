"""How well ranked lists of the whole catalogue name the item that came next.

Every target is one item, predicted by one list; with rank r of the target in its list, from 1:

    HR@K = 1{r <= K}      NDCG@K = 1{r <= K} / log2(r + 1)      MRR = 1{r <= k} / r

where k is the length of the lists, the longest cut-off. A target that the list does not hold counts
0 everywhere. Values are averaged over a user's targets first, then over users, so
that the user is the unit of the mean and of the bootstrap.

Three readings of a list: `hr@K` of its items; `sid_hr@K` of its distinct semantic IDs in order;
`expanded_hr@K` of all items of each of these semantic IDs (HitRate of FORGE), which differs from
the first only where semantic IDs hold several items.

B targets of a chunk, T targets in all, k places of a list, V items, U users, M metrics.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from training.data.histories import Histories
from training.data.queries import PAD, TopK
from training.data.splits import Targets
from training.evaluation.metrics import LISTS, names_of, parse
from training.evaluation.record import ALL
from training.evaluation.samples import UserMeans, UserMetrics

WORTH: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "hr": np.ones_like,
    "ndcg": lambda rank_T: 1.0 / np.log2(rank_T + 1),
    "mrr": lambda rank_T: 1.0 / rank_T,
}
"""Metric of lists → what a target at each rank (float64, from 1) is worth."""


@dataclass(frozen=True)
class SidIndex:
    """Which items share a semantic ID.

    Attributes:
        number_V: the semantic ID's number, int64; -1 for an item without one.
        size_V: items that share it; 0 without one.
        place_V: the item's place among those, by item_index, from 0.
    """

    number_V: np.ndarray
    size_V: np.ndarray
    place_V: np.ndarray

    @classmethod
    def of(cls, codes_VQ: np.ndarray) -> "SidIndex":
        """Group items by their codes; a row with a negative code has no semantic ID."""
        has_codes = (codes_VQ >= 0).all(axis=1)
        number_V = np.full(len(codes_VQ), -1, dtype=np.int64)
        size_V = np.zeros(len(codes_VQ), dtype=np.int64)
        place_V = np.zeros(len(codes_VQ), dtype=np.int64)
        _, number, counts = np.unique(
            codes_VQ[has_codes], axis=0, return_inverse=True, return_counts=True
        )
        number = number.reshape(-1)
        number_V[has_codes], size_V[has_codes] = number, counts[number]
        order = np.argsort(number, kind="stable")
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        places = np.empty_like(number)
        places[order] = np.arange(len(number)) - starts
        place_V[has_codes] = places
        return cls(number_V, size_V, place_V)


@dataclass
class Meter:
    """Collects ranks chunk by chunk; holds a few numbers per target and one bit per item.

    Args:
        num_items: V of the model that answers.
        list_length: k of its lists.
        sids: semantic IDs to read lists by; None: lists are read as items only.
        needs_sids: whether a listed item without a semantic ID is illegal, as it is for a family
            that generates semantic IDs.
    """

    num_items: int
    list_length: int
    sids: SidIndex | None = None
    needs_sids: bool = False
    _ranks: dict[str, list[np.ndarray]] = field(default_factory=dict, init=False)
    _shown: dict[int, np.ndarray] = field(default_factory=dict, init=False)
    _places: int = field(default=0, init=False)
    _illegal: int = field(default=0, init=False)
    _repeated: int = field(default=0, init=False)

    def add(self, top: TopK, target_B: np.ndarray, cutoffs: Sequence[int]) -> None:
        """Read one chunk of lists against its targets (item_index, int, shape [B])."""
        items_Bk = top.items_Bk
        filled_Bk = items_Bk != PAD
        legal_Bk = (items_Bk >= 0) & (items_Bk < self.num_items)
        if self.sids is not None and self.needs_sids:
            legal_Bk &= self.sids.number_V[np.where(legal_Bk, items_Bk, 0)] >= 0
        self._places += int(filled_Bk.sum())
        self._illegal += int((filled_Bk & ~legal_Bk).sum())
        self._repeated += int((filled_Bk & ~_first_in_row(items_Bk)).sum())
        self._keep("", _rank(items_Bk == target_B[:, None]))
        for cutoff in cutoffs:
            shown = self._shown.setdefault(cutoff, np.zeros(self.num_items, dtype=bool))
            shown[items_Bk[:, :cutoff][legal_Bk[:, :cutoff]]] = True
        if self.sids is not None:
            for reading, ranks in _sid_ranks(items_Bk, legal_Bk, target_B, self.sids).items():
                self._keep(reading, ranks)

    def _keep(self, reading: str, ranks: np.ndarray) -> None:
        self._ranks.setdefault(reading, []).append(ranks)

    def ranks(self) -> dict[str, np.ndarray]:
        """Rank per target and reading (``""``, `sid_`, `expanded_`), 0 where missed, shape [T]."""
        return {reading: np.concatenate(parts) for reading, parts in self._ranks.items()}

    def coverage(self) -> dict[str, float]:
        """Share of the catalogue that any list names within each cut-off."""
        return {f"coverage@{cutoff}": float(shown.mean()) for cutoff, shown in self._shown.items()}

    @property
    def readings(self) -> tuple[str, ...]:
        """Prefixes of the metrics that lists were read for."""
        return tuple(self._ranks)

    @property
    def illegal_share(self) -> float:
        """Share of filled places whose item, or semantic ID, does not exist."""
        return self._illegal / max(1, self._places)

    @property
    def repeated_share(self) -> float:
        """Share of filled places whose item stands earlier in the same list."""
        return self._repeated / max(1, self._places)


def target_metrics(
    ranks_T: np.ndarray, *, cutoffs: Sequence[int], list_length: int, reading: str = ""
) -> Iterator[tuple[str, np.ndarray]]:
    """HR@K, NDCG@K and MRR of each target, one metric at a time.

    MRR is the reciprocal rank in the whole list, 0 where the list does not hold the target
    (MRR@k of lists of length k; Voorhees 1999, TREC-8).

    Args:
        ranks_T: rank from 1, 0 where the list does not hold the target.
        cutoffs: K of each HR and NDCG, none above `list_length`.
        list_length: k of the lists.
        reading: prefix of the names.
    Yields:
        Name and value per target, float64, shape [T].
    Raises:
        ValueError: a cut-off is longer than the lists.
    Example:
        >>> dict(target_metrics(np.array([1, 3, 0]), cutoffs=(2, 4), list_length=4))["ndcg@4"]
        array([1. , 0.5, 0. ])
        >>> dict(target_metrics(np.array([1, 4, 0]), cutoffs=(2, 4), list_length=4))["mrr"]
        array([1.  , 0.25, 0.  ])
    """
    if max(cutoffs) > list_length:
        raise ValueError(f"cut-off {max(cutoffs)} is beyond lists of {list_length}; ask for more")
    worth = {
        name: worth_of(np.maximum(ranks_T, 1).astype(np.float64))
        for name, worth_of in WORTH.items()
    }
    for name in names_of(LISTS, cutoffs, [reading]):
        measured = parse(name)
        last = measured.cutoff or list_length
        is_hit_T = (ranks_T > 0) & (ranks_T <= last)
        yield name, np.where(is_hit_T, worth[measured.metric.name], 0.0)


def by_slice(
    meter: Meter, targets: Targets, *, cutoffs: Sequence[int], train: Histories
) -> dict[str, UserMetrics]:
    """Per-user metrics of all targets and of each slice, with `new_users` (no training event).

    Args:
        meter: has seen all targets, in their order.
        targets: what was predicted.
        cutoffs: K of each HR and NDCG.
        train: what weights may have seen; its users are those of `targets.histories`.
    """
    slices = {ALL: UserMeans(targets.user)}
    for name, mask_T in slice_masks(targets, train).items():
        slices[name] = UserMeans(targets.user, mask_T)
    for reading, ranks_T in meter.ranks().items():
        for name, values_T in target_metrics(
            ranks_T, cutoffs=cutoffs, list_length=meter.list_length, reading=reading
        ):
            for means in slices.values():
                means.add(name, values_T)
    return {name: means.result() for name, means in slices.items()}


def slice_masks(targets: Targets, train: Histories) -> dict[str, np.ndarray]:
    """The targets' named subsets, and those of users with no training event; bool, shape [T]."""
    return {**targets.slices, "new_users": train.lengths[targets.user] == 0}


def consume(
    meter: Meter, answers: Iterable[TopK], targets: Targets, cutoffs: Sequence[int]
) -> Meter:
    """Feed a meter with the answers to all targets, in their order, chunk by chunk.

    Raises:
        ValueError: there are more or fewer answers than targets.
    """
    wanted = targets.items
    done = 0
    for top in answers:
        stop = done + len(top.items_Bk)
        if stop <= len(wanted):
            meter.add(top, wanted[done:stop], cutoffs)
        done = stop
    if done != len(wanted):
        raise ValueError(f"{done:,} answers to {len(wanted):,} targets")
    return meter


def _rank(hit_Bk: np.ndarray) -> np.ndarray:
    """Place of the first hit of each row, from 1; 0 where there is none."""
    return np.where(hit_Bk.any(axis=1), hit_Bk.argmax(axis=1) + 1, 0)


def _first_in_row(numbers_Bk: np.ndarray) -> np.ndarray:
    """Whether each number stands for the first time in its row."""
    order = np.argsort(numbers_Bk, axis=1, kind="stable")
    ordered = np.take_along_axis(numbers_Bk, order, axis=1)
    first = np.ones(ordered.shape, dtype=bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    result = np.empty_like(first)
    np.put_along_axis(result, order, first, axis=1)
    return result


def _sid_ranks(
    items_Bk: np.ndarray, legal_Bk: np.ndarray, target_B: np.ndarray, sids: SidIndex
) -> dict[str, np.ndarray]:
    """Ranks among distinct semantic IDs, and among all items of these, without writing them out."""
    known_Bk = legal_Bk & (items_Bk < len(sids.number_V))
    places_Bk = np.where(known_Bk, items_Bk, 0)
    numbers_Bk = np.where(known_Bk, sids.number_V[places_Bk], -1)
    known_B = (target_B >= 0) & (target_B < len(sids.number_V))
    wanted_B = np.where(known_B, sids.number_V[np.where(known_B, target_B, 0)], -1)
    counts_Bk = _first_in_row(numbers_Bk) & (numbers_Bk >= 0)
    at_B = _rank(counts_Bk & (numbers_Bk == wanted_B[:, None]) & (wanted_B >= 0)[:, None])
    found_B, column_B = at_B > 0, np.maximum(at_B - 1, 0)
    rows = np.arange(len(target_B))
    sid_rank_B = np.cumsum(counts_Bk, axis=1)[rows, column_B]
    items_before_Bk = np.cumsum(np.where(counts_Bk, sids.size_V[places_Bk], 0), axis=1)
    safe_B = np.where(known_B, target_B, 0)
    expanded_B = items_before_Bk[rows, column_B] - sids.size_V[safe_B] + sids.place_V[safe_B] + 1
    k = items_Bk.shape[1]
    return {
        "sid_": np.where(found_B, sid_rank_B, 0),
        "expanded_": np.where(found_B & (expanded_B <= k), expanded_B, 0),
    }
