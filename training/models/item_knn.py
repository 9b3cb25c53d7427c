"""item_knn: items that the same people met, the classical neighbourhood model.

    sim(i, j) = c_ij / (sqrt(n_i n_j) + shrinkage)          n_i: users with i, c_ij: with i and j
    score(j | history) = sum over the history's items i, newest first a = 0, 1, …, of
                         recency_decay^a · sim(i, j)         over the `neighbours` nearest j of i

after Sarwar et al. 2001 (cosine) with shrinkage as in Deshpande and Karypis 2004. Items that no
neighbour speaks for follow by popularity. V items, n neighbours, B queries, L events.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.data.histories import Histories
from training.data.splits import NO_DATA, Data, Split
from training.data.vocabulary import Vocabulary
from training.fit.fitting import FitReport, Fitting
from training.models.interface import PAD, Queries, Family, TopK
from training.models.popularity.model import popularity_scores
from training.models.ranking import best_items, rows_within
from training.settings import FAMILIES
from training.settings.families import ItemKnnConfig
from training.settings.spec import LISTS

CHUNK_CELLS = 8_000_000
"""Cells of the widest temporary array, at fitting and at answering."""
POPULARITY_WEIGHT = 1e-6
"""Far below any similarity: orders only what similarity leaves tied."""


class ItemKnn:
    """The nearest items of every item, and what they say together about a history."""

    family = "item_knn"
    answers = LISTS

    def __init__(
        self,
        neighbours_Vn: np.ndarray,
        similarities_Vn: np.ndarray,
        popularity_V: np.ndarray,
        config: ItemKnnConfig,
    ) -> None:
        self.neighbours_Vn = neighbours_Vn
        self.similarities_Vn = similarities_Vn
        self.popularity_V = popularity_V
        self.config = config

    @property
    def sizes(self) -> dict[str, Any]:
        """None that the config doesn't say."""
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """The neighbourhood."""
        return {
            "neighbours": torch.from_numpy(self.neighbours_Vn),
            "similarities": torch.from_numpy(self.similarities_Vn),
            "popularity": torch.from_numpy(self.popularity_V),
        }

    @classmethod
    def from_weights(
        cls, config: ItemKnnConfig, sizes: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> "ItemKnn":
        """The model that had this neighbourhood."""
        names = ("neighbours", "similarities", "popularity")
        return cls(*(tensors[name].numpy() for name in names), config)

    def rows_at_once(self, queries: Queries, k: int, num_candidates: int) -> int:
        """Rows whose votes, and whose scores of all items, fit into `CHUNK_CELLS`."""
        votes = queries.items_BL.shape[1] * self.neighbours_Vn.shape[1]
        return rows_within(CHUNK_CELLS, max(len(self.popularity_V), votes))

    def read(self, queries: Queries) -> Queries:
        """The queries: their items are looked up when it is asked."""
        return queries

    def select(self, state: Queries, rows: np.ndarray) -> Queries:
        """Some of the queries."""
        return state.where(rows)

    def recommend(self, state: Queries, k: int) -> TopK:
        """The k items that the history's items speak for most."""
        return best_items(torch.from_numpy(self._scores(state)), state, k)

    def _scores(self, queries: Queries) -> np.ndarray:
        items_BL, num_items = queries.items_BL, len(self.popularity_V)
        row_E, column_E = np.nonzero(items_BL != PAD)
        age_E = queries.lengths_B[row_E] - 1 - column_E
        weight_E = self.config.recency_decay**age_E
        item_E = items_BL[row_E, column_E]
        cells_En = row_E[:, None] * num_items + self.neighbours_Vn[item_E]
        votes_En = weight_E[:, None] * self.similarities_Vn[item_E]
        scores = np.bincount(
            cells_En.ravel(), weights=votes_En.ravel(), minlength=len(queries) * num_items
        )
        scores_BV = scores.reshape(len(queries), num_items) + self.popularity_V
        return scores_BV.astype(np.float32)


def fit(
    split: Split,
    config: ItemKnnConfig,
    fitting: Fitting,
    vocabulary: Vocabulary,
    data: Data = NO_DATA,
) -> tuple[ItemKnn, FitReport]:
    """Count pairs, keep each item's nearest."""
    num_items = vocabulary.num_items
    popularity_V = popularity_scores(split, num_items, None)
    popularity_V *= POPULARITY_WEIGHT / max(1.0, popularity_V.max(initial=0))
    n = min(config.neighbours, num_items)
    neighbours_Vn = np.zeros((num_items, n), dtype=np.int32)
    similarities_Vn = np.zeros((num_items, n), dtype=np.float32)
    for start, similarities_CV in _similarities(split.train, num_items, config):
        best = torch.from_numpy(similarities_CV).topk(n, dim=1)
        stop = start + len(similarities_CV)
        neighbours_Vn[start:stop] = best.indices.numpy()
        similarities_Vn[start:stop] = best.values.numpy()
    model = ItemKnn(neighbours_Vn, similarities_Vn, popularity_V.astype(np.float32), config)
    pairs = int((similarities_Vn > 0).sum())
    return model, FitReport(facts={"config": asdict(config), "neighbour_pairs": pairs})


def _similarities(
    train: Histories, num_items: int, config: ItemKnnConfig
) -> Iterator[tuple[int, np.ndarray]]:
    """Similarities of runs of items to all items, float32 [C, V], with the run's first item.

    Each run's co-occurrences are counted by writing out (item, other item of the same user); runs
    are cut so that neither these pairs nor the dense block outgrow `CHUNK_CELLS`.
    """
    users, items = _distinct_items(train.last(config.max_user_items), num_items)
    per_user = np.bincount(users, minlength=train.num_users)
    user_starts = np.concatenate([[0], np.cumsum(per_user)])
    by_item = np.argsort(items, kind="stable")
    n_V = np.bincount(items, minlength=num_items)
    item_starts = np.concatenate([[0], np.cumsum(n_V)])
    pairs_before = np.concatenate([[0], np.cumsum(per_user[users[by_item]])])
    pairs_V = pairs_before[item_starts]
    scale_V = np.sqrt(n_V, dtype=np.float64)
    start = 0
    while start < num_items:
        fits = int(np.searchsorted(pairs_V, pairs_V[start] + CHUNK_CELLS, side="right")) - 1
        stop = max(start + 1, min(fits, start + rows_within(CHUNK_CELLS, num_items), num_items))
        events = by_item[item_starts[start] : item_starts[stop]]
        counts = per_user[users[events]]
        ends = np.cumsum(counts)
        others = np.arange(counts.sum()) + np.repeat(
            user_starts[users[events]] - (ends - counts), counts
        )
        cells = np.repeat(items[events] - start, counts).astype(np.int64) * num_items
        block = np.bincount(cells + items[others], minlength=(stop - start) * num_items)
        block_CV = block.reshape(stop - start, num_items).astype(np.float64)
        block_CV[np.arange(stop - start), np.arange(start, stop)] = 0
        block_CV /= scale_V[start:stop, None] * scale_V + max(config.shrinkage, 1e-12)
        yield start, block_CV.astype(np.float32)
        start = stop


def _distinct_items(histories: Histories, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """(user, item) pairs without repetition, by user then item."""
    pairs = np.unique(histories.users * num_items + histories.items)
    return pairs // num_items, pairs % num_items


FAMILY = Family.of(FAMILIES["item_knn"], ItemKnn, fit)
