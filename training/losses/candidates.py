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


def favourites_loss(negative_NR: Tensor, counts_NR: Tensor, is_favourite_NR: Tensor) -> Tensor:
    r"""Mean loss of the favourites of each position, each as a right item of its own, nats, [N].

    `mean_{f favourite} [ -s_f + log( exp(s_f) + sum_{r counted} exp(s_r) ) ]`; 0 without any.
    How UniGRF lets a second positive into the softmax is not stated; this is one term more for each
    (docs/mechanics.md, Enhancer).

    Args:
        negative_NR: logits of what was drawn.
        counts_NR: which of them count as negatives, bool; no favourite does.
        is_favourite_NR: which of them are favourites, bool.
    Example:
        >>> marks = torch.tensor([[True, False]])
        >>> favourites_loss(torch.zeros(1, 2), ~marks, marks)
        tensor([0.6931])
    """
    others_N1 = negative_NR.masked_fill(~counts_NR, -torch.inf).logsumexp(1, keepdim=True)
    loss_NR = F.softplus(others_N1 - negative_NR).masked_fill(~is_favourite_NR, 0.0)
    return loss_NR.sum(1) / is_favourite_NR.sum(1).clamp(min=1)
