"""What rewards are measured against: a frozen copy of the model, or one that follows slowly."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from training.models.tiger.model import Tiger

DECAY = 0.995
"""Of the copy that follows, per step; that of the average which the loop keeps."""


class Reference:
    """A copy of a model that takes part in no gradient, and in no `state_dict`.

    Args:
        model: as the fit begins.
        follows: whether the copy moves towards it at each step.
    """

    def __init__(self, model: Tiger, *, follows: bool) -> None:
        self.copy = copy.deepcopy(model).requires_grad_(False).eval()
        self.follows = follows

    @torch.no_grad()
    def follow(self, model: Tiger) -> None:
        """Move towards the weights that a step begins with, if this one does."""
        if self.follows:
            for own, value in zip(self.copy.parameters(), model.parameters(), strict=True):
                own.lerp_(value, 1 - DECAY)

    def state(self) -> dict[str, Tensor]:
        """Its weights."""
        return dict(self.copy.state_dict())

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights that `state` gave."""
        self.copy.load_state_dict(dict(state))
