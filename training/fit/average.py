"""The weights that a fit keeps: an average over its latest steps.

A step's weights hang on the last few batches, their average on hundreds (Polyak and Juditsky 1992).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

LATEST_TENTH = 9
"""With it the average of n steps is one over the last n / 10 of them, until `decay` says fewer."""


def share_of_step(step: int, decay: float) -> float:
    """What the weights after a step count in the average, the first step being 1.

    `max(1 - decay, 10 / (9 + step))`: the polynomial decay of Shamir and Zhang 2013
    (arXiv:1212.1824) with eta = 9, which forgets the first weights at once, until its memory is as
    long as that of an exponential average.

    Example:
        >>> [round(share_of_step(step, 0.99), 3) for step in (1, 11, 91, 991, 5000)]
        [1.0, 0.5, 0.1, 0.01, 0.01]
    """
    return max(1 - decay, (LATEST_TENTH + 1) / (LATEST_TENTH + step))


class WeightAverage:
    """Average of a model's parameters over its latest steps; buffers stay the model's.

    Every process of a torchrun has the same weights after a step, so each has the same average.

    Args:
        model: what is trained, on its device.
        decay: 0 keeps the weights of the last step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._named = dict(model.named_parameters())
        self._decay = decay
        self._means = [value.detach().clone() for value in self._named.values()]
        self.num_steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as a step has left them."""
        self.num_steps += 1
        share = share_of_step(self.num_steps, self._decay)
        torch._foreach_lerp_(self._means, list(self._named.values()), share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the average for weights, and afterwards its own again."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for value, mean in zip(self._named.values(), self._means, strict=True):
            kept = value.detach().clone()
            value.copy_(mean)
            mean.copy_(kept)

    def state(self) -> dict[str, Tensor]:
        """The average, by the parameters' names."""
        return dict(zip(self._named, self._means, strict=True))

    def restore(self, state: Mapping[str, Tensor], num_steps: int) -> None:
        """Go on from what `state` gave after so many steps."""
        for name, mean in self.state().items():
            mean.copy_(state[name])
        self.num_steps = num_steps
