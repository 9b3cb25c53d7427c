"""How several losses are weighed by what they are sure of. Q losses."""

import torch
from torch import Tensor, nn

from training.fit.distributed import sum_over_processes


def uncertainty_weighted(losses_Q: Tensor, log_sigma_Q: Tensor, is_there_Q: Tensor) -> Tensor:
    r"""`sum_q L_q / (2 σ_q²) + log σ_q` (Kendall et al. 2018; docs/mechanics.md, Level weights).

    Its optimum is σ_q² = L_q, where each loss counts 1/2: levels are made equal, none is preferred.
    A loss that isn't there counts nothing: its σ would fall for ever.

    Args:
        losses_Q: nats, at least 0.
        log_sigma_Q: what is learnt.
        is_there_Q: whether there was anything to measure.
    Returns:
        A number.
    Example:
        >>> losses, sigmas = torch.tensor([4.0, 9.0]), torch.tensor([2.0, 1.0])
        >>> uncertainty_weighted(losses, sigmas.log(), torch.tensor([True, False]))  # 1/2 + log 2
        tensor(1.1931)
    """
    weighted_Q = losses_Q * (-2 * log_sigma_Q).exp() / 2 + log_sigma_Q
    return (weighted_Q * is_there_Q).sum()


class UncertaintyWeights(nn.Module):
    """One log σ a loss; it begins where the loss that is measured first has half its weight.

    At σ = 1 a list of a thousand rows, some 7 nats, would swamp a LogLoss of .6.

    Args:
        num_losses: Q.
    """

    def __init__(self, num_losses: int) -> None:
        super().__init__()
        self.log_sigma_Q = nn.Parameter(torch.zeros(num_losses))
        self.register_buffer("has_begun_Q", torch.zeros(num_losses, dtype=torch.bool))

    def forward(self, losses_Q: Tensor, is_there_Q: Tensor) -> Tensor:
        """The weighted sum; in training the first measured losses are taken note of."""
        if self.training:
            self._begin(losses_Q.detach(), is_there_Q)
        return uncertainty_weighted(losses_Q, self.log_sigma_Q, is_there_Q)

    @torch.no_grad()
    def _begin(self, losses_Q: Tensor, is_there_Q: Tensor) -> None:
        """`σ² = L` of losses that are there for the first time, the same in all processes."""
        is_there_Q = is_there_Q & (losses_Q > 0)
        counted = torch.stack([losses_Q * is_there_Q, is_there_Q.float()])
        sum_Q, count_Q = sum_over_processes(counted)
        is_new_Q = (count_Q > 0) & ~self.has_begun_Q
        mean_Q = sum_Q / count_Q.clamp(min=1)
        begun_Q = mean_Q.clamp(min=torch.finfo(mean_Q.dtype).tiny).log() / 2
        self.log_sigma_Q.copy_(torch.where(is_new_Q, begun_Q, self.log_sigma_Q))
        self.has_begun_Q.logical_or_(is_new_Q)
