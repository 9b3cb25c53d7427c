"""item_knn: items that the same people met, the classical neighbourhood model.

    sim(i, j) = c_ij / (sqrt(n_i n_j) + shrinkage)          n_i: users with i, c_ij: with i and j
    score(j | history) = sum over the history's items i, newest first a = 0, 1, …, of
                         recency_decay^a · sim(i, j)         over the `neighbours` nearest j of i

after Sarwar et al. 2001 (cosine) with shrinkage as in Deshpande and Karypis 2004. Items that no
neighbour speaks for follow by popularity. V items, n neighbours, B queries, L events.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.models.interface import PAD, Queries, TopK
from training.models.ranking import best_items, rows_within
from training.settings.families import ItemKnnConfig
from training.settings.spec import LISTS

CHUNK_CELLS = 8_000_000
"""Cells of the widest temporary array, at fitting and at answering."""


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
        return cls(
            tensors["neighbours"].numpy(),
            tensors["similarities"].numpy(),
            tensors["popularity"].numpy(),
            config,
        )

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
        scores_BV: np.ndarray = scores.reshape(len(queries), num_items) + self.popularity_V
        return scores_BV.astype(np.float32)
