"""popularity: the same list for everybody, the floor that every model must clear.

An item's score is the number of its training events, each weighted by 0.5 per `half_life_days`
of age at the last training event.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.data.histories import DAY
from training.data.splits import Split
from training.models.interface import PAD, Queries, TopK
from training.models.ranking import rows_within
from training.settings.families import PopularityConfig
from training.settings.spec import LISTS

CHUNK_CELLS = 4_000_000
"""Cells of the widest temporary array while answering."""


class Popularity:
    """Items by weighted event count; equal counts by item index."""

    family = "popularity"
    answers = LISTS

    def __init__(self, scores_V: np.ndarray, config: PopularityConfig) -> None:
        self.config = config
        self.scores_V = scores_V.astype(np.float32)
        self._ranked_V = np.lexsort((np.arange(len(scores_V)), -self.scores_V)).astype(np.int32)
        self._rank_V = np.empty(len(scores_V), dtype=np.int64)
        self._rank_V[self._ranked_V] = np.arange(len(scores_V))

    @property
    def sizes(self) -> dict[str, Any]:
        """None that the config doesn't say."""
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """The scores."""
        return {"scores": torch.from_numpy(self.scores_V)}

    @classmethod
    def from_weights(
        cls, config: PopularityConfig, sizes: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> "Popularity":
        """The list that had these scores."""
        return cls(tensors["scores"].numpy(), config)

    def rows_at_once(self, queries: Queries, k: int, num_candidates: int) -> int:
        """Rows whose looked-at ranks fit into `CHUNK_CELLS`."""
        return rows_within(CHUNK_CELLS, self._width(queries, k))

    def read(self, queries: Queries) -> Queries:
        """The queries: there is nothing to make of a history."""
        return queries

    def select(self, state: Queries, rows: np.ndarray) -> Queries:
        """Some of the queries."""
        return state.where(rows)

    def recommend(self, state: Queries, k: int) -> TopK:
        """The k most popular listed items that a context does not exclude.

        The excluded are struck from the first ranks; the first k left are the answer.
        """
        queries, width = state, self._width(state, k)
        offered = np.ones((len(queries), width), dtype=bool)
        unlisted = self._rank_V[queries.unlisted]
        offered[:, unlisted[unlisted < width]] = False
        ranks = self._rank_V[queries.excluded]
        inside = ranks < width
        offered[queries.excluded_rows[inside], ranks[inside]] = False
        place = np.cumsum(offered, axis=1) - 1
        row, rank = np.nonzero(offered & (place < k))
        items_Bk = np.full((len(queries), k), PAD, dtype=np.int32)
        items_Bk[row, place[row, rank]] = self._ranked_V[rank]
        scores_Bk = np.where(items_Bk == PAD, -np.inf, self.scores_V[items_Bk])
        return TopK(items_Bk, scores_Bk.astype(np.float32))

    def _width(self, queries: Queries, k: int) -> int:
        """Ranks among which k items are left, whatever is excluded."""
        most_excluded = int(np.diff(queries.excluded_offsets).max(initial=0))
        return min(len(self.scores_V), k + most_excluded + len(queries.unlisted))


def popularity_scores(split: Split, num_items: int, half_life_days: float | None) -> np.ndarray:
    """Weighted event count of every item in the training events, float64, shape [V]."""
    train = split.train
    weights = None
    if half_life_days is not None and train.num_events:
        age_days = (train.times.max() - train.times) / DAY
        weights = 0.5 ** (age_days / half_life_days)
    counts = np.bincount(train.items, weights=weights, minlength=num_items)
    return counts.astype(np.float64)
