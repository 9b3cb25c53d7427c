"""Lists compared by each prefix of their codes, as a beam prunes them.

G lists, C items, Q levels.
"""

from torch import Tensor

from training.losses.tiered import TIERS, tiered_loss


def each_prefix_loss(reward_GCQ: Tensor, codes_GCQ: Tensor, tiers_GC: Tensor) -> Tensor:
    """The tiered loss of the prefixes of every length, a mean over lengths; nats, [G].

    A prefix is worth the sum of its codes' rewards, and stands in the best tier of the items that
    have it, once: what items share is not pushed up and down at the same time.

    Args:
        reward_GCQ: of each code.
        codes_GCQ: the items' codes.
        tiers_GC: 1 to 4; 0: not compared.
    """
    total_G = reward_GCQ.new_zeros(len(reward_GCQ))
    num_levels = reward_GCQ.shape[2]
    # What is not compared is worse than every tier.
    rank_GC = tiers_GC.masked_fill(tiers_GC == 0, TIERS + 1)
    is_same_GCC = (tiers_GC > 0)[:, :, None] & (tiers_GC > 0)[:, None]
    is_before_CC = tiers_GC.new_ones(tiers_GC.shape[1], tiers_GC.shape[1]).tril(-1).bool()
    for level in range(num_levels):
        codes_GC = codes_GCQ[:, :, level]
        is_same_GCC = is_same_GCC & (codes_GC[:, :, None] == codes_GC[:, None])
        is_better_GCC = rank_GC[:, None] < rank_GC[:, :, None]
        is_equal_GCC = rank_GC[:, None] == rank_GC[:, :, None]
        stands_for_it_GCC = is_same_GCC & (is_better_GCC | (is_equal_GCC & is_before_CC))
        once_GC = tiers_GC.masked_fill(stands_for_it_GCC.any(2), 0)
        total_G = total_G + tiered_loss(reward_GCQ[:, :, : level + 1].sum(-1), once_GC)
    return total_G / num_levels
