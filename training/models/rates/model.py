"""rates: how often an item, and a person, meet with positive feedback; the floor of feedback.

    logit p(u, i) = logit r + (logit r_i - logit r) + (logit r_u - logit r)
    r_i = (positive events of i + m r) / (events of i + m)

r is the share of positive events in training, r_i that of an item, r_u that of the person's history
as it is read; m events at the share of all stand before either (`prior_events`).

B queries, L events of context, C candidates, V items.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.models.interface import PAD, Queries, State
from training.models.ranking import log_odds, rows_within
from training.settings.families import RatesConfig

CHUNK_CELLS = 4_000_000
"""Cells of the widest temporary array while answering."""


class Rates:
    """Ranks by two shares of positive feedback."""

    family = "rates"
    answers = frozenset({"feedback"})

    def __init__(
        self,
        config: RatesConfig,
        positive_strength: int,
        share: float,
        events_V: np.ndarray,
        positive_V: np.ndarray,
    ) -> None:
        self.config, self.positive_strength, self.share = config, positive_strength, share
        self._counts_2V = np.stack([events_V, positive_V]).astype(np.float64)
        self._of_item_V = self._above_all(*self._counts_2V)

    @property
    def sizes(self) -> dict[str, Any]:
        """What is positive, and how much of it there was."""
        return {"positive_strength": self.positive_strength, "share": self.share}

    def state_dict(self) -> dict[str, Tensor]:
        """Events and positive events of each item."""
        return {"counts": torch.from_numpy(self._counts_2V)}

    @classmethod
    def from_weights(
        cls, config: RatesConfig, sizes: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> "Rates":
        """The model that had counted these."""
        events_V, positive_V = tensors["counts"].numpy()
        return cls(config, int(sizes["positive_strength"]), sizes["share"], events_V, positive_V)

    def rows_at_once(self, queries: Queries, k: int, num_candidates: int) -> int:
        """Rows whose histories and candidates fit into `CHUNK_CELLS`."""
        return rows_within(CHUNK_CELLS, queries.items_BL.shape[1] + num_candidates)

    def read(self, queries: Queries) -> State:
        """Logits of each person's share above that of all, float64, [B, 1]."""
        inside_BL = queries.items_BL != PAD
        positive_BL = inside_BL & (queries.strengths_BL >= self.positive_strength)
        events_B, positive_B = inside_BL.sum(axis=1), positive_BL.sum(axis=1)
        return self._above_all(events_B, positive_B)[:, None]

    def select(self, state: State, rows: np.ndarray) -> State:
        """Some of the people."""
        return state[rows]

    def rank(self, state: State, items_BC: np.ndarray) -> np.ndarray:
        """Probability of positive feedback, float32, [B, C]; an unknown item is like all others."""
        known_BC = (items_BC >= 0) & (items_BC < len(self._of_item_V))
        of_item_BC = np.where(known_BC, self._of_item_V[np.where(known_BC, items_BC, 0)], 0.0)
        probability_BC = 1 / (1 + np.exp(-(log_odds(np.asarray(self.share)) + of_item_BC + state)))
        # What is said of an item beyond the catalogue is the share of all, whoever asks.
        probability_BC = np.where(items_BC < len(self._of_item_V), probability_BC, self.share)
        return np.where(items_BC == PAD, np.nan, probability_BC).astype(np.float32)

    def _above_all(self, events: np.ndarray, positive: np.ndarray) -> np.ndarray:
        prior = self.config.prior_events
        share = (positive + prior * self.share) / (events + prior)
        return np.asarray(log_odds(share) - log_odds(np.asarray(self.share)))
