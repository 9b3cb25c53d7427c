"""Cross-entropy of the next item over a catalogue. N positions, D width, V items, R negatives."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

DENSE_ITEMS_PER_NEGATIVE = 64
"""Up to so many items for each negative all products are made and the drawn ones picked: on a CPU,
to fetch a vector for each of N x R negatives and add to it again costs more than a product."""


def full_softmax_loss(x_ND: Tensor, items_VD: Tensor, target_N: Tensor) -> Tensor:
    r"""Negative log-likelihood of the next item under a softmax over all items.

    `-x·e_target + log sum_v exp(x·e_v)`. The plain form, which keeps all N x V logits; for training
    see `chunked_softmax_loss`, for many items `sampled_softmax_loss`.

    Args:
        x_ND: what the model says at each position. Shape [N, D].
        items_VD: an embedding per item. Shape [V, D].
        target_N: the item that came next, int64 in [0, V). Shape [N].
    Returns:
        Loss per position in nats, shape [N].
    Example:
        >>> full_softmax_loss(torch.zeros(1, 2), torch.ones(4, 2), torch.tensor([3]))
        tensor([1.3863])
    """
    return F.cross_entropy(x_ND @ items_VD.T, target_N, reduction="none")


def chunked_softmax_loss(
    x_ND: Tensor, items_VD: Tensor, target_N: Tensor, *, rows: int = 1024
) -> Tensor:
    """The sum of `full_softmax_loss` over positions, with only `rows` x V logits alive at a time.

    The gradient is made in the forward pass, while a chunk's logits are still in the cache; it is
    why the result is summed: a weight per position would come too late.

    Args:
        x_ND: what the model says at each position. Shape [N, D].
        items_VD: an embedding per item. Shape [V, D].
        target_N: the item that came next, int64 in [0, V). Shape [N].
        rows: positions per chunk.
    Returns:
        Loss in nats, summed, shape [].
    Example:
        >>> chunked_softmax_loss(torch.zeros(3, 2), torch.ones(4, 2), torch.tensor([3, 0, 1]))
        tensor(4.1589)
    """
    device = x_ND.device.type
    if torch.is_autocast_enabled(device):
        x_ND = x_ND.to(torch.get_autocast_dtype(device))
    with torch.autocast(device, enabled=False):
        return _ChunkedSoftmax.apply(x_ND, items_VD, target_N, rows)


class _ChunkedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, items_VD: Tensor, target_N: Tensor, rows: int) -> Tensor:
        needs_gradient = any(ctx.needs_input_grad)
        items_VD = items_VD.to(x_ND.dtype)
        # Products may be of half precision; sums over V and over N are not.
        wide = torch.promote_types(x_ND.dtype, torch.float32)
        d_x_ND = torch.empty_like(x_ND) if needs_gradient else None
        d_items_VD = torch.zeros_like(items_VD, dtype=wide) if needs_gradient else None
        total = torch.zeros((), device=x_ND.device, dtype=wide)
        for start in range(0, len(x_ND), rows):
            x_CD, target_C1 = x_ND[start : start + rows], target_N[start : start + rows, None]
            log_p_CV = (x_CD @ items_VD.T).to(wide).log_softmax(1)
            total -= log_p_CV.gather(1, target_C1).sum()
            if d_x_ND is not None:
                d_logits_CV = log_p_CV.exp_()
                d_logits_CV.scatter_add_(1, target_C1, -torch.ones_like(target_C1, dtype=wide))
                d_logits_CV = d_logits_CV.to(x_ND.dtype)
                torch.mm(d_logits_CV, items_VD, out=d_x_ND[start : start + rows])
                d_items_VD += d_logits_CV.T @ x_CD
        ctx.save_for_backward(d_x_ND, d_items_VD)
        return total

    @staticmethod
    def backward(ctx: Any, d_total: Tensor) -> tuple[Tensor | None, ...]:
        d_x_ND, d_items_VD = ctx.saved_tensors
        return d_x_ND * d_total.to(d_x_ND.dtype), d_items_VD * d_total, None, None


def sampled_softmax_loss(
    x_ND: Tensor, items_VD: Tensor, target_N: Tensor, negative_R: Tensor
) -> Tensor:
    """Negative log-likelihood of the next item against uniformly drawn items.

    `-x·e_target + log( exp(x·e_target) + sum_{r: item_r ≠ target} exp(x·e_r) )`; no logQ term, as
    the draw is uniform (docs/mechanics.md, Full and sampled softmax).

    Args:
        x_ND: what the model says at each position. Shape [N, D].
        items_VD: an embedding per item. Shape [V, D].
        target_N: the item that came next, int64 in [0, V). Shape [N].
        negative_R: drawn items, shared by all positions, int64. Shape [R].
    Returns:
        Loss per position in nats, shape [N].
    Example:
        >>> x, items = torch.zeros(1, 2), torch.ones(9, 2)
        >>> sampled_softmax_loss(x, items, torch.tensor([3]), torch.tensor([0, 3, 5]))
        tensor([1.0986])
    """
    positive_N = (x_ND * items_VD[target_N]).sum(-1)
    negative_NR = x_ND @ items_VD[negative_R].T
    negative_NR = negative_NR.masked_fill(target_N[:, None] == negative_R, -torch.inf)
    return torch.cat([positive_N[:, None], negative_NR], 1).logsumexp(1) - positive_N


def position_softmax_loss(
    x_ND: Tensor, items_VD: Tensor, target_N: Tensor, negative_NR: Tensor, *, rows: int = 256
) -> Tensor:
    """`sampled_softmax_loss` with a draw for each position, summed over positions.

    The gradient is made in the forward pass, as in `chunked_softmax_loss`, chunk by chunk: memory
    grows with `rows` x V or `rows` x R x D, not with N. At full precision whatever autocast says:
    cosines over a small temperature are differences that half precision loses.

    Args:
        x_ND: what the model says at each position. Shape [N, D].
        items_VD: an embedding per item. Shape [V, D].
        target_N: the item that came next, int64 in [0, V). Shape [N].
        negative_NR: drawn items of each position, int64. Shape [N, R].
        rows: positions per chunk.
    Returns:
        Loss in nats, summed, shape [].
    Example:
        >>> x, items, drawn = torch.zeros(2, 2), torch.ones(9, 2), torch.tensor([[0, 3], [5, 6]])
        >>> position_softmax_loss(x, items, torch.tensor([3, 4]), drawn)  # log 2 + log 3
        tensor(1.7918)
    """
    with torch.autocast(x_ND.device.type, enabled=False):
        wide = torch.promote_types(x_ND.dtype, torch.float32)
        return _PositionSoftmax.apply(x_ND.to(wide), items_VD.to(wide), target_N, negative_NR, rows)


class _PositionSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, items_VD: Tensor, target_N: Tensor, negative_NR: Tensor, rows: int
    ) -> Tensor:
        needs_gradient = any(ctx.needs_input_grad)
        is_dense = len(items_VD) <= DENSE_ITEMS_PER_NEGATIVE * negative_NR.shape[1]
        d_x_ND = torch.empty_like(x_ND) if needs_gradient else None
        d_items_VD = torch.zeros_like(items_VD) if needs_gradient else None
        total = x_ND.new_zeros(())
        for start in range(0, len(x_ND), rows):
            x_CD, target_C1 = x_ND[start : start + rows], target_N[start : start + rows, None]
            item_CS = torch.cat([target_C1, negative_NR[start : start + rows]], 1)
            chunk = (_Dense if is_dense else _Fetched)(x_CD, items_VD, item_CS)
            logits_CS = chunk.logits()
            logits_CS[:, 1:].masked_fill_(item_CS[:, 1:] == target_C1, -torch.inf)
            log_p_CS = logits_CS.log_softmax(1)
            total -= log_p_CS[:, 0].sum()
            if d_x_ND is not None:
                d_logits_CS = log_p_CS.exp_()
                d_logits_CS[:, 0] -= 1
                chunk.add_gradients(d_logits_CS, d_x_ND[start : start + rows], d_items_VD)
        ctx.save_for_backward(d_x_ND, d_items_VD)
        return total

    @staticmethod
    def backward(ctx: Any, d_total: Tensor) -> tuple[Tensor | None, ...]:
        d_x_ND, d_items_VD = ctx.saved_tensors
        return d_x_ND * d_total, d_items_VD * d_total, None, None, None


class _Dense:
    """Logits of a chunk's S items a position, picked from those of all items."""

    def __init__(self, x_CD: Tensor, items_VD: Tensor, item_CS: Tensor) -> None:
        self.x_CD, self.items_VD, self.item_CS = x_CD, items_VD, item_CS
        self.logits_CV = x_CD @ items_VD.T

    def logits(self) -> Tensor:
        return self.logits_CV.gather(1, self.item_CS)

    def add_gradients(self, d_logits_CS: Tensor, d_x_CD: Tensor, d_items_VD: Tensor) -> None:
        d_logits_CV = self.logits_CV.zero_().scatter_add_(1, self.item_CS, d_logits_CS)
        torch.mm(d_logits_CV, self.items_VD, out=d_x_CD)
        d_items_VD.addmm_(d_logits_CV.T, self.x_CD)


class _Fetched:
    """The same from the vectors of those items alone."""

    def __init__(self, x_CD: Tensor, items_VD: Tensor, item_CS: Tensor) -> None:
        self.x_CD, self.item_CS = x_CD, item_CS
        self.items_CSD = F.embedding(item_CS, items_VD)

    def logits(self) -> Tensor:
        return torch.einsum("cd,csd->cs", self.x_CD, self.items_CSD)

    def add_gradients(self, d_logits_CS: Tensor, d_x_CD: Tensor, d_items_VD: Tensor) -> None:
        d_x_CD.copy_(torch.einsum("cs,csd->cd", d_logits_CS, self.items_CSD))
        d_items_CSD = d_logits_CS[:, :, None] * self.x_CD[:, None]
        d_items_VD.index_add_(0, self.item_CS.flatten(), d_items_CSD.flatten(0, 1))
