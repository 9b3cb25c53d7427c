"""Each position against its own candidates. N positions, R candidates each, D width, V items."""

import torch
import torch.nn.functional as F
from torch import Tensor

DENSE_PER_CANDIDATE = 64
"""Up to so many items for each candidate, all logits are made and the wanted ones picked: measured
on a CPU, gathering vectors (N x R x D, forth and back) costs more than a product with the table."""


def unit(x: Tensor) -> Tensor:
    """Vectors of length 1 along the last axis, so that an inner product is a cosine."""
    return F.normalize(x, dim=-1, eps=1e-6)


def candidate_logits(x_ND: Tensor, items_VD: Tensor, candidate_NR: Tensor) -> Tensor:
    """Inner products of each position with its own candidates, float32, [N, R].

    Made at full precision whatever autocast says: cosines over a small temperature are differences
    that half precision loses.

    Args:
        x_ND: what the model says at each position.
        items_VD: a vector per item.
        candidate_NR: item indices, int64 in [0, V).
    Example:
        >>> candidate_logits(torch.eye(2), torch.eye(2), torch.tensor([[0, 1, 0], [0, 1, 1]]))
        tensor([[1., 0., 1.],
                [0., 1., 1.]])
    """
    with torch.autocast(x_ND.device.type, enabled=False):
        x_ND, items_VD = x_ND.float(), items_VD.float()
        if len(items_VD) <= DENSE_PER_CANDIDATE * candidate_NR.shape[1]:
            return (x_ND @ items_VD.T).gather(1, candidate_NR)
        return torch.einsum("nd,nrd->nr", x_ND, F.embedding(candidate_NR, items_VD))
