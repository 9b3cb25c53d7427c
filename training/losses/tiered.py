"""A listwise loss over tiers of feedback, in which items of one tier never compete.

B lists, C items of a list. Tiers count from 1, the best; 0 stands for no item.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

TIERS = 4
"""Purchased, clicked, shown, and not shown at all."""


def tiered_loss(score_BC: Tensor, tier_BC: Tensor) -> Tensor:
    r"""Partial-order Plackett-Luce loss: each item against all of lower tiers.

        L = 1/Z sum_{t=1..3} sum_{i in T_t} log( 1 + sum_{j in T_{t+1}, …, T_4} e^{s_j - s_i} )

    Z counts the terms that something competes with. With one item above one tier it is S-DPO's loss
    (arXiv:2406.09215) of the scores (docs/mechanics.md, RankGR).

    Args:
        score_BC: of each item; what stands where tier is 0 has no influence.
        tier_BC: 1 to 4, 0 for none.
    Returns:
        Nats per term, [B]; 0 for a list in which nothing competes.
    Example:
        The first against both, the second against the third: log(1 + e^-1 + e^-3), log(1 + e^-2).

        >>> scores, tiers = torch.tensor([[3.0, 2.0, 0.0]]), torch.tensor([[1, 2, 4]])
        >>> [round(float(value), 4) for value in tiered_loss(scores, tiers)]
        [0.238]
    """
    score_BC = score_BC.float()
    total_B = torch.zeros(len(score_BC), device=score_BC.device)
    terms_B = torch.zeros_like(total_B)
    for tier in range(1, TIERS):
        is_lower_BC = tier_BC > tier
        competes_B = is_lower_BC.any(1)
        # A finite stand-in where nothing competes: -inf would make gradients NaN.
        lower_BC = score_BC.masked_fill(~is_lower_BC, -torch.inf)
        lower_BC = torch.where(competes_B[:, None], lower_BC, torch.zeros_like(score_BC))
        lower_B1 = lower_BC.logsumexp(1, keepdim=True)
        is_term_BC = (tier_BC == tier) & competes_B[:, None]
        loss_BC = F.softplus(lower_B1 - score_BC).masked_fill(~is_term_BC, 0.0)
        total_B = total_B + loss_BC.sum(1)
        terms_B = terms_B + is_term_BC.sum(1)
    return total_B / terms_B.clamp(min=1)
