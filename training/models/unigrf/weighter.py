"""UniGRF's gradient-guided adaptive weighter: the task that learns more slowly weighs more.

No gradient is measured, whatever its name says: it is Dynamic Weight Average (Liu et al. 2019) with
a scale for each task (arXiv:2504.16454; formula reconstructed, docs/mechanics.md, Weighter). Of the
mean losses L at times t,

    r_k = L_k^t / L_k^(t-1)        w_k = scale_k exp(r_k / T) / sum_j exp(r_j / T)

A step is too short a time: with a batch's noise in r, T of 1 does nothing and T of .1 is noise. So
t are epochs, or r is the ratio of a short and a long running mean over steps.

Index 0 is retrieval, 1 is ranking.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from training.fit.distributed import sum_over_processes
from training.settings.unigrf import UnigrfConfig

TASKS = ("retrieval", "ranking")
_LONG = 5
"""Steps of the long running mean, in those of the short one."""


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
        unknown = torch.full((2,), torch.nan, dtype=torch.float64)
        chosen = torch.tensor([config.retrieval_scale, config.ranking_scale], dtype=torch.float64)
        self._state = {
            "scales": chosen.where(chosen > 0, torch.nan),
            "sums": torch.zeros(3, dtype=torch.float64),  # of losses and targets of this epoch
            "last": unknown.clone(),
            "before": unknown.clone(),
            "short": unknown.clone(),
            "long": unknown.clone(),
        }
        if config.weighter == "off":
            # The plain sum, or the same scales without what moves them.
            self._state["scales"] = chosen.where(chosen > 0, 2.0) / 2
        self._knows_scales = bool(self._state["scales"].isfinite().all())

    def state(self) -> dict[str, Tensor]:
        """What a fit that goes on needs."""
        return dict(self._state)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._state = {name: state[name].clone() for name in self._state}
        self._knows_scales = bool(self._state["scales"].isfinite().all())

    def weights(self, losses_2: Tensor, num_own: Tensor, num_targets: int) -> Tensor:
        """Weights for this step's summed losses; without gradient, [2].

        Args:
            losses_2: summed losses of this process's rows, nats.
            num_own: how many targets they are of.
            num_targets: targets of the step over all processes.
        """
        losses_2 = losses_2.detach().double()
        self._state = {name: value.to(losses_2.device) for name, value in self._state.items()}
        state = self._state
        state["sums"] += torch.cat([losses_2, num_own.double()[None]])
        if self._config.weighter == "off":
            return state["scales"].float()
        if num_targets and (self._config.weighter == "ema" or not self._knows_scales):
            self._observe(sum_over_processes(losses_2) / num_targets)
        shares_2 = task_shares(self._rates(), self._config.weighter_temperature)
        return (state["scales"].where(state["scales"].isfinite(), 2.0) * shares_2).float()

    def _observe(self, means_2: Tensor) -> None:
        """Note a step's mean losses: the first makes the scales, each moves the running means."""
        state = self._state
        if not self._knows_scales:
            equal = 2 * torch.stack([torch.ones_like(means_2[0]), means_2[0] / means_2[1]])
            state["scales"] = state["scales"].where(state["scales"].isfinite(), equal)
            self._knows_scales = True
        for name, steps in (("short", 1), ("long", _LONG)):
            kept = 1 - 1 / (self._config.ema_steps * steps)
            moved = kept * state[name] + (1 - kept) * means_2
            state[name] = moved.where(moved.isfinite(), means_2)

    def _rates(self) -> Tensor:
        now, then = ("short", "long") if self._config.weighter == "ema" else ("last", "before")
        rates = self._state[now] / self._state[then]
        return rates.where(rates.isfinite(), 1.0)

    def end_epoch(self, total: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """Close an epoch: its mean losses, and the weights that it had (`ema`: at its end).

        Args:
            total: sums numbers over all processes.
        """
        state = self._state
        sums = torch.from_numpy(total(state["sums"].cpu().numpy())).to(state["sums"].device)
        means_2 = sums[:2] / sums[2].clamp(min=1)
        state["sums"] = torch.zeros_like(state["sums"])
        shares_2 = task_shares(self._rates(), self._config.weighter_temperature)
        state["before"], state["last"] = state["last"], means_2
        found = {f"loss_{task}": float(mean) for task, mean in zip(TASKS, means_2, strict=True)}
        if self._config.weighter != "off":
            found |= {f"share_{task}": float(s) for task, s in zip(TASKS, shares_2, strict=True)}
        weights_2 = state["scales"] * (shares_2 if self._config.weighter != "off" else 1.0)
        return found | {f"weight_{t}": float(w) for t, w in zip(TASKS, weights_2, strict=True)}
