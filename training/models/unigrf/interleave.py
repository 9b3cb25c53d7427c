"""The one line of tokens that both tasks read: a start, then each item and its feedback.

    token      start   i_1   b_1   i_2   b_2   …   i_L   b_L
    place        0      1     2     3     4        2L-1   2L
    says of     i_1    b_1   i_2   b_2   i_3   …   b_L   i_(L+1)

A causal model that has read an item says what the feedback will be (ranking); one that has read a
feedback says which item comes next (retrieval). UniGRF (arXiv:2504.16454) begins with i_1; the
start is ours: it is the only thing there is to answer from before the first event.

B rows, L events, T tokens, D width.
"""

import torch
from torch import Tensor


def interleave(start_D: Tensor, items_BLD: Tensor, feedback_BLD: Tensor) -> Tensor:
    """Tokens' vectors in the order above, [B, 2 L + 1, D]."""
    B, _, D = items_BLD.shape
    pairs_BTD = torch.stack([items_BLD, feedback_BLD], 2).flatten(1, 2)
    return torch.cat([start_D.expand(B, 1, D), pairs_BTD], 1)


def interleave_times(times_BL: Tensor) -> Tensor:
    """When each token happened: an event's time twice; the start's is that of the first event.

    Example:
        >>> interleave_times(torch.tensor([[5, 9]]))
        tensor([[5, 5, 5, 9, 9]])
    """
    return torch.cat([times_BL[:, :1], times_BL.repeat_interleave(2, 1)], 1)


def retrieval_places(x_BTD: Tensor) -> Tensor:
    """What is said of each item before it is read, [B, (T + 1) // 2, D]."""
    return x_BTD[:, 0::2]


def ranking_places(x_BTD: Tensor) -> Tensor:
    """What is said of each feedback once its item is read, [B, T // 2, D]."""
    return x_BTD[:, 1::2]
