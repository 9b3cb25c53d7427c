"""When ranking stops to move what both tasks share.

On MovieLens-1M ranking knows its training data by heart in a third of the epochs that retrieval
needs: its AUC falls while retrieval still rises, and no epoch is good for both. So ranking has a
patience of its own. Where AUC has not risen for as many epochs as the fit is patient, ranking's
loss reaches its head alone from then on, and backbone and item vectors learn retrieval.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from training.fit.progress import CLEARLY
from training.fit.validation import COIN


class Rest:
    """Whether ranking rests, and what that hangs on."""

    def __init__(self) -> None:
        self._best, self._waited = 0.0, 0
        self.has_begun = False

    def note(self, auc: float, error: float, patience_epochs: int) -> None:
        """Take in the AUC of an epoch's validation.

        Args:
            auc: larger is better.
            error: its standard error.
            patience_epochs: without a better one for so many, counted from the first that clearly
                beats a coin, ranking rests for good.
        """
        has_learnt = max(auc, self._best) > COIN + CLEARLY * error
        self._waited = 0 if auc > self._best or not has_learnt else self._waited + 1
        self._best = max(self._best, auc)
        self.has_begun = self.has_begun or self._waited >= patience_epochs

    def state(self) -> dict[str, Tensor]:
        """What a fit that goes on needs."""
        values = (self._best, self._waited, self.has_begun)
        return {"values": torch.tensor(values, dtype=torch.float64)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        best, waited, has_begun = state["values"].tolist()
        self._best, self._waited, self.has_begun = best, int(waited), bool(has_begun)

    def end_epoch(self, total: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """Whether ranking rested in the epoch, as a point of a curve."""
        return {"ranking_rests": float(self.has_begun)}
