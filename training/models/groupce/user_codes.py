"""Codes of users: residual codebooks that are moving averages (docs/mechanics.md, User codes).

    r_0 = sg(e_u)   c_l = argmin_k ‖r_{l-1} - C_l[k]‖²   r_l = r_{l-1} - C_l[c_l]   ê_u = Σ C_l[c_l]

No gradient reaches a codebook, and no commitment loss holds a user to its codes.

B rows, U users of a batch, each once, D width, Q levels, K codes of a level.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.fit.average import LATEST_TENTH
from training.fit.distributed import of_first_process, sum_over_processes
from training.tokenizers.kmeans import residual_kmeans
from training.tokenizers.quantize import cluster_sums, residual_quantize

SMOOTHING = 1e-5
"""Laplace smoothing of the moving counts (docs/mechanics.md, Moving-average codebooks)."""
FIRST_PASSES = 10
"""Of the k-means that the first batch's users begin the codebooks by."""


@dataclass(frozen=True)
class Coded:
    """Users and their codes.

    Attributes:
        codes_BQ: int64.
        quantised_BD: ê_u, without gradient.
    """

    codes_BQ: Tensor
    quantised_BD: Tensor


class UserCodes(nn.Module):
    """The codebooks, and the sums that they are averages of; all are buffers.

    Args:
        num_levels: Q.
        num_codes: K.
        width: D.
        decay: γ of the moving averages, 0 to below 1; of the first updates less, as users move
            fast then and would all be next to one code that stayed behind (`training.fit.average`).
        expiry: a code with fewer users than `expiry` U / K is put on a user's residual.
    """

    def __init__(
        self, num_levels: int, num_codes: int, width: int, *, decay: float, expiry: float
    ) -> None:
        super().__init__()
        self.decay, self.expiry = decay, expiry
        self.register_buffer("codebooks_QKD", torch.zeros(num_levels, num_codes, width))
        self.register_buffer("count_QK", torch.zeros(num_levels, num_codes))
        self.register_buffer("sum_QKD", torch.zeros(num_levels, num_codes, width))
        self.register_buffer("has_begun", torch.zeros((), dtype=torch.bool))
        self.register_buffer("num_updates", torch.zeros(()))
        self._is_known_to_have_begun = False  # to ask the buffer makes a GPU wait

    @property
    def num_codes(self) -> int:
        """K."""
        return int(self.codebooks_QKD.shape[1])

    @torch.no_grad()
    def assign(self, user_BD: Tensor) -> Coded:
        """Codes of users' vectors."""
        with torch.autocast(user_BD.device.type, enabled=False):
            vectors_BD = user_BD.detach().float()
            everywhere_QK = torch.ones_like(self.count_QK, dtype=torch.bool)
            codes_BQ, rest_BD = residual_quantize(vectors_BD, self.codebooks_QKD, everywhere_QK)
            return Coded(codes_BQ, vectors_BD - rest_BD)

    @torch.no_grad()
    def begin(self, user_UD: Tensor) -> None:
        """Codebooks by k-means on the first users; a codebook that has begun stays.

        Codes beyond the different users there are get none, and expire at the first update.
        """
        if self._is_known_to_have_begun:
            return
        self._is_known_to_have_begun = True
        if bool(self.has_begun):
            return
        vectors_UD = user_UD.detach().float()
        num_levels, num_codes, _ = self.codebooks_QKD.shape
        codebooks_QKD = self.codebooks_QKD
        if len(vectors_UD):  # the first process's count, which has rows if any has
            codebooks_QKD = residual_kmeans(
                vectors_UD,
                num_levels,
                num_codes,
                iterations=FIRST_PASSES,
                generator=torch.Generator().manual_seed(torch.initial_seed() % (1 << 62)),
                max_points=len(vectors_UD),
            ).codebooks_QKH
        self.codebooks_QKD.copy_(of_first_process(codebooks_QKD))
        for level, code_U in enumerate(self.assign(vectors_UD).codes_BQ.unbind(1)):
            count_K = torch.bincount(code_U, minlength=num_codes).float()
            self.count_QK[level] = sum_over_processes(count_K)
        self.sum_QKD.copy_(self.codebooks_QKD * self.count_QK[:, :, None])
        self.has_begun.fill_(True)

    @torch.no_grad()
    def update(self, user_UD: Tensor, codes_UQ: Tensor) -> Tensor:
        """Move codewords towards the users of a batch, each of whom counts once.

        Args:
            user_UD: their vectors.
            codes_UQ: their codes by the codebooks as they are.
        Returns:
            Codes of each level that expired and were put on a user's residual, int64, [Q].
        """
        residual_UD, expired = user_UD.detach().float(), []
        num_users = sum_over_processes(torch.tensor(float(len(user_UD))).to(user_UD.device))
        least = self.expiry * num_users / self.num_codes
        self.num_updates += 1
        share = (LATEST_TENTH + 1) / (LATEST_TENTH + self.num_updates)
        share = share.clamp(min=1 - self.decay)
        for level, code_U in enumerate(codes_UQ.unbind(1)):
            word_UD = self.codebooks_QKD[level][code_U]
            self._average(level, residual_UD, code_U, share)
            expired.append(self._expire(level, residual_UD, least))
            residual_UD = residual_UD - word_UD
        return torch.stack(expired)

    def _average(self, level: int, residual_UD: Tensor, code_U: Tensor, share: Tensor) -> None:
        """`N ← γN + (1−γ)n`, `M ← γM + (1−γ)m`, `C = M / Ñ`, `share` being 1 − γ."""
        sum_KD, count_K = (
            sum_over_processes(each) for each in cluster_sums(residual_UD, code_U, self.num_codes)
        )
        self.count_QK[level].lerp_(count_K, share)
        self.sum_QKD[level].lerp_(sum_KD, share)
        count_K = self.count_QK[level]
        total = count_K.sum()
        smoothed_K = (count_K + SMOOTHING) / (total + self.num_codes * SMOOTHING) * total
        # A code that nobody ever had stays where it is until it expires.
        has_any_K1 = (count_K > 0)[:, None]
        averaged_KD = self.sum_QKD[level] / smoothed_K.clamp(min=SMOOTHING)[:, None]
        self.codebooks_QKD[level] = torch.where(has_any_K1, averaged_KD, self.codebooks_QKD[level])

    def _expire(self, level: int, residual_UD: Tensor, least: Tensor) -> Tensor:
        """Put codes that fewer than `least` users have on residuals of users; how many were."""
        is_expired_K = self.count_QK[level] < least  # of no users none
        drawn_KD = torch.zeros_like(self.codebooks_QKD[level])
        if len(residual_UD):  # the first process's count, which has rows if any has
            drawn_K = torch.randint(len(residual_UD), is_expired_K.shape, device=least.device)
            drawn_KD = residual_UD[drawn_K]
        drawn_KD, is_expired_K1 = of_first_process(drawn_KD), is_expired_K[:, None]
        self.codebooks_QKD[level] = torch.where(is_expired_K1, drawn_KD, self.codebooks_QKD[level])
        self.count_QK[level] = torch.where(is_expired_K, least, self.count_QK[level])
        self.sum_QKD[level] = torch.where(is_expired_K1, least * drawn_KD, self.sum_QKD[level])
        return is_expired_K.sum()


def occupancy(codes_UQ: Tensor, num_codes: int) -> dict[str, float]:
    """How users spread over the codes of each level.

    Args:
        codes_UQ: of users, each once; at least one.
        num_codes: K.
    Returns:
        By level from 1: `used_codes_l` of K; `code_perplexity_l`, exp of the entropy of the users'
        distribution, over K; `largest_code_l`, the share of users with the most frequent code;
        `dead_codes_l`.
    Example:
        >>> found = occupancy(torch.tensor([[0], [0], [2], [2]]), 4)
        >>> [round(value, 3) for value in found.values()]
        [0.5, 0.5, 0.5, 2.0]
    """
    found: dict[str, float] = {}
    for level, code_U in enumerate(codes_UQ.unbind(1), start=1):
        share_K = torch.bincount(code_U, minlength=num_codes).double() / len(code_U)
        entropy = -torch.special.xlogy(share_K, share_K).sum()
        used = int((share_K > 0).sum())
        found |= {
            f"used_codes_{level}": used / num_codes,
            f"code_perplexity_{level}": float(entropy.exp()) / num_codes,
            f"largest_code_{level}": float(share_K.max()),
            f"dead_codes_{level}": float(num_codes - used),
        }
    return found


def churn(before_UQ: Tensor, after_UQ: Tensor) -> dict[str, float]:
    """By level from 1, `churn_l`: the share of users whose code is another.

    Example:
        >>> churn(torch.tensor([[0, 1], [0, 1]]), torch.tensor([[0, 1], [2, 1]]))
        {'churn_1': 0.5, 'churn_2': 0.0}
    """
    changed_Q = (before_UQ != after_UQ).double().mean(0).tolist()
    return {f"churn_{level}": share for level, share in enumerate(changed_Q, start=1)}


def prefixes(codes_BQ: Tensor, num_codes: int, depth: int, most: int) -> tuple[Tensor, int]:
    """A number for each row's first `depth` codes, and how many numbers there may be.

    Args:
        codes_BQ: int64.
        num_codes: K.
        depth: at least 1.
        most: where more prefixes than this are possible, those that are there are counted instead.
    Example:
        >>> numbers, count = prefixes(torch.tensor([[1, 0], [0, 2], [1, 0]]), 3, 2, 100)
        >>> numbers.tolist(), count
        ([3, 2, 3], 9)
        >>> numbers, count = prefixes(torch.tensor([[1, 0], [0, 2], [1, 0]]), 3, 2, 5)
        >>> numbers.tolist(), count
        ([1, 0, 1], 3)
    """
    number_B = torch.zeros_like(codes_BQ[:, 0])
    for level in range(depth):
        number_B = number_B * num_codes + codes_BQ[:, level]
    if num_codes**depth <= most:
        return number_B, num_codes**depth
    return number_B.unique(return_inverse=True)[1], len(codes_BQ)
