"""What is watched of the lists that train: whether better tiers are likelier, and how likely.

G contexts, C candidates.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from training.losses.tiered import TIERS
from training.models.rankgr.contexts import Contexts

PAIRS = tuple((a, b) for a in range(1, TIERS) for b in range(a + 1, TIERS + 1))
"""Tiers that compete, the better first."""


class Watch:
    """Sums over the steps of an epoch, read at its end."""

    def __init__(self) -> None:
        self._sums = np.zeros(3 + 2 * len(PAIRS))

    @torch.no_grad()
    def note(self, log_probs_GC: Tensor, tiers_GC: Tensor, contexts: Contexts) -> None:
        """Count a step's lists.

        Args:
            log_probs_GC: of each candidate's codes, summed.
            tiers_GC: 1 to 4, 0 for none.
            contexts: whose first column came next.
        """
        is_right_GCC = log_probs_GC[:, :, None] > log_probs_GC[:, None]
        compared = [
            (tiers_GC == better)[:, :, None] & (tiers_GC == worse)[:, None]
            for better, worse in PAIRS
        ]
        own_Gk, target_G1 = contexts.items_GC[:, contexts.own], contexts.items_GC[:, :1]
        self._sums += [
            len(log_probs_GC),
            float(log_probs_GC[:, 0].sum()),
            int((own_Gk == target_G1).any(1).sum()),
            *(int(pairs_GCC.sum()) for pairs_GCC in compared),
            *(int((pairs_GCC & is_right_GCC).sum()) for pairs_GCC in compared),
        ]

    def state(self) -> dict[str, Tensor]:
        """What has been counted of the epoch."""
        return {"sums": torch.from_numpy(self._sums.copy())}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on counting from what `state` gave."""
        self._sums = state["sums"].numpy().copy()

    def end_epoch(self, total: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """Points of the curves; nothing where nothing was compared.

        Returns:
            `chosen_log_prob` of the codes of what came next, nats; `candidate_recall`, the share of
            contexts whose own candidates hold it; `accuracy_A_B`, how often an item of tier A is
            likelier than one of tier B of its list.
        """
        summed, self._sums = total(self._sums), np.zeros_like(self._sums)
        (contexts, log_prob, held), pairs, right = np.split(summed, [3, 3 + len(PAIRS)])
        if not contexts:
            return {}
        points = {"chosen_log_prob": log_prob / contexts, "candidate_recall": held / contexts}
        for (better, worse), of_pair, of_right in zip(PAIRS, pairs, right, strict=True):
            if of_pair:
                points[f"accuracy_{better}_{worse}"] = of_right / of_pair
        return {name: float(value) for name, value in points.items()}
