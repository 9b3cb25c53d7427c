"""A safeguard against single steps: gradients much longer than those before them are cut.

A length that suits every loss doesn't exist: sums over codes and items, or sharp cosines, have
gradients a hundred times as long as a mean of logits. So the measure is what the fit itself has
had (after AutoClip, Seetharaman et al. 2020, arXiv:2007.14469, with a mean for the percentile).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

MEMORY = 100
"""Steps over which lengths are averaged, once there are as many."""


class GradientClip:
    """Cuts gradients to a multiple of their mean length so far.

    Attributes:
        times: the multiple; the first gradient is not cut.

    Args:
        model: whose gradients.
        times: the multiple.
    """

    def __init__(self, model: nn.Module, times: float) -> None:
        self._parameters = [each for each in model.parameters() if each.requires_grad]
        self.times = times
        self._steps = 0
        self._mean: Tensor | None = None

    @torch.no_grad()
    def cut(self) -> tuple[Tensor, Tensor]:
        """Cut the gradients that are there, in place.

        Returns:
            Their length before, and the length that they may have; scalars on the model's device.
        """
        gradients = [each.grad for each in self._parameters if each.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        most = torch.full_like(norm, torch.inf)
        if self._mean is not None:
            most = self._mean * self.times
            torch._foreach_mul_(gradients, (most / norm.clamp(min=1e-12)).clamp(max=1.0))
        self._steps += 1
        # What was cut off is no measure for the next ones.
        length, share = torch.minimum(norm, most), 1 / min(self._steps, MEMORY)
        self._mean = length if self._mean is None else torch.lerp(self._mean, length, share)
        return norm, most

    def state(self) -> dict[str, Tensor]:
        """What later cuts depend on; empty before the first."""
        if self._mean is None:
            return {}
        return {"mean": self._mean, "steps": torch.tensor(self._steps)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        if state:
            self._mean, self._steps = state["mean"].clone(), int(state["steps"])
