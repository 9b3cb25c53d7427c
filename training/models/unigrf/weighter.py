"""UniGRF's gradient-guided adaptive weighter: the task that learns more slowly weighs more.

No gradient is measured, whatever its name says: it is Dynamic Weight Average (Liu et al. 2019) with
a scale for ranking (arXiv:2504.16454; formula reconstructed, docs/mechanics.md, Weighter). Of the
mean losses L of epochs t,

    r_k = L_k^t / L_k^(t-1)    s = softmax( r / T )    w_ret = 2 s_ret    w_rank = 2 scale s_rank

A step is too short a time: with a batch's noise in r, T of 1 does nothing and T of .1 is noise.
Steps of the warm-up count in no mean: in them retrieval falls from what random weights are worth,
and for the fall a ratio would take nearly all weight from it.

Index 0 is retrieval, 1 is ranking.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from training.settings.unigrf import UnigrfConfig

TASKS = ("retrieval", "ranking")


def task_shares(rates_2: Tensor, temperature: float) -> Tensor:
    """Share of each task, from how slowly its loss falls: `softmax(r / T)`.

    Example:
        >>> task_shares(torch.tensor([0.98, 1.02]), 0.1)
        tensor([0.4013, 0.5987])
    """
    return (rates_2 / temperature).softmax(0)


class Weighter:
    """Weights of the two losses; what it remembers is a handful of numbers."""

    def __init__(self, config: UnigrfConfig) -> None:
        self._config = config
        self._warmup_steps = 0
        self._scales_2 = torch.tensor([1.0, config.ranking_scale], dtype=torch.float64)
        unknown = torch.full((2,), torch.nan, dtype=torch.float64)
        self._state = {
            "steps": torch.zeros((), dtype=torch.int64),
            "sums": torch.zeros(3, dtype=torch.float64),  # of losses and targets of this epoch
            "settled": torch.zeros(3, dtype=torch.float64),  # of those after the warm-up
            "last": unknown.clone(),
            "before": unknown.clone(),
        }

    def prepare(self, warmup_steps: int) -> None:
        """Leave so many first steps out of what weighs the tasks."""
        self._warmup_steps = warmup_steps

    def state(self) -> dict[str, Tensor]:
        """What a fit that goes on needs."""
        return dict(self._state)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._state = {name: state[name].clone() for name in self._state}

    def weights(self, losses_2: Tensor, num_own: Tensor) -> Tensor:
        """Weights for this step's summed losses; without gradient, [2].

        Args:
            losses_2: summed losses of this process's rows, nats.
            num_own: how many targets they are of.
        """
        losses_2 = losses_2.detach().double()
        self._state = {name: value.to(losses_2.device) for name, value in self._state.items()}
        state, sums = self._state, torch.cat([losses_2, num_own.double()[None]])
        state["sums"] += sums
        state["settled"] += sums * (state["steps"] >= self._warmup_steps)
        state["steps"] += 1
        return self._weights().float()

    def _weights(self) -> Tensor:
        scales_2 = self._scales_2.to(self._state["last"].device)
        return 2 * scales_2 * self._shares()

    def _shares(self) -> Tensor:
        rates_2 = self._state["last"] / self._state["before"]
        rates_2 = rates_2.where(rates_2.isfinite() & (self._config.weighter != "off"), 1.0)
        return task_shares(rates_2, self._config.weighter_temperature)

    def end_epoch(self, total: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """Close an epoch: its mean losses, and the weights that it had.

        Args:
            total: sums numbers over all processes.
        """
        state = self._state
        summed = np.stack([state["sums"].cpu().numpy(), state["settled"].cpu().numpy()])
        sums, settled = torch.from_numpy(total(summed)).to(state["sums"].device)
        means_2, shares_2, weights_2 = (
            values.tolist()
            for values in (sums[:2] / sums[2].clamp(min=1), self._shares(), self._weights())
        )
        curve: dict[str, float] = {}
        for place, task in enumerate(TASKS):
            curve |= {f"loss_{task}": means_2[place], f"weight_{task}": weights_2[place]}
            if self._config.weighter != "off":
                curve[f"share_{task}"] = shares_2[place]
        # An epoch within the warm-up has no mean: 0 / 0.
        state["before"], state["last"] = state["last"], settled[:2] / settled[2]
        for name in ("sums", "settled"):
            state[name] = torch.zeros_like(state[name])
        return curve
