"""What residual quantizers are trained by. B items, D embedding width, H latent width, Q levels.

HiGR (arXiv:2512.24787; docs/mechanics.md, CRQ-VAE loss): `L = L_recon + λ1 · L_gq + λ2 · L_cont`.
RQ-VAE (Lee et al. 2022; TIGER) has `layerwise_loss` in place of `L_gq`, and no `L_cont`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.losses.candidates import unit

LEAST_CHANCE = 1e-4
"""Chances of the same code are kept so far from 0 and 1, where their logarithms end."""


def reconstruction_loss(x_BD: Tensor, decoded_BD: Tensor) -> Tensor:
    """`L_recon = ‖x − Dec(z + sg(ẑ − z))‖²` per item, shape [B] (docs/mechanics.md, CRQ-VAE loss).

    Args:
        x_BD: what was encoded.
        decoded_BD: what came back.
    Example:
        >>> reconstruction_loss(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
        tensor([25.])
    """
    return (x_BD - decoded_BD).square().sum(1)


def global_loss(latent_BH: Tensor, words_BQH: Tensor, *, commitment: float) -> Tensor:
    r"""Quantization loss on the sum of an item's codewords, L_gq of HiGR.

    docs/mechanics.md, CRQ-VAE loss:
    `‖sg(z) − ẑ‖² + β ‖z − sg(ẑ)‖²`,  `ẑ = Σ_d e_d`. One term, not one per level: every level is
    asked to make the sum right, so that the first ones don't take all there is to describe.

    Args:
        latent_BH: z.
        words_BQH: the codewords e_d, the first level's first.
        commitment: β, at least 0.
    Returns:
        Shape [B]; codewords get gradient by the first term, z by the second.
    Example:
        >>> z, words = torch.tensor([[3.0, 0.0]]), torch.tensor([[[2.0, 0.0], [0.0, 1.0]]])
        >>> global_loss(z, words, commitment=0.25)  # ‖(1, −1)‖² · 1.25
        tensor([2.5000])
    """
    return _pull(latent_BH, words_BQH.sum(1), commitment)


def layerwise_loss(latent_BH: Tensor, words_BQH: Tensor, *, commitment: float) -> Tensor:
    r"""Quantization loss of each level on what the levels above left, RQ-VAE.

    docs/mechanics.md, RQ-VAE loss:
    `Σ_d ‖sg(r_{d−1}) − e_d‖² + β ‖r_{d−1} − sg(e_d)‖²`,  `r_0 = z`,  `r_d = r_{d−1} − sg(e_d)`.

    Args:
        latent_BH: z.
        words_BQH: the codewords e_d, the first level's first.
        commitment: β, at least 0.
    Returns:
        Shape [B]; each codeword gets gradient by its own level alone, z by all of them.
    Example:
        >>> z, words = torch.tensor([[3.0, 0.0]]), torch.tensor([[[2.0, 0.0], [0.0, 1.0]]])
        >>> layerwise_loss(z, words, commitment=0.25)  # (‖(1, 0)‖² + ‖(1, −1)‖²) · 1.25
        tensor([3.7500])
    """
    residuals_BQH = residuals(latent_BH, words_BQH.detach())
    return _pull(residuals_BQH, words_BQH, commitment).sum(1)


def global_targets(latent_BH: Tensor, words_BQH: Tensor) -> Tensor:
    """What each codeword would have to be for the sum to be right: `e_d + (z − ẑ)`, [B,Q,H].

    Example:
        >>> global_targets(torch.tensor([[3.0]]), torch.tensor([[[2.0], [0.5], [0.1]]])).flatten()
        tensor([2.4000, 0.9000, 0.5000])
    """
    return words_BQH + (latent_BH - words_BQH.sum(1)).unsqueeze(1)


def residuals(latent_BH: Tensor, words_BQH: Tensor) -> Tensor:
    """What each level is given to describe: `r_{d−1} = z − Σ_{j<d} e_j`, shape [B,Q,H].

    Example:
        >>> residuals(torch.tensor([[3.0]]), torch.tensor([[[2.0], [0.5], [0.1]]])).flatten()
        tensor([3.0000, 1.0000, 0.5000])
    """
    return latent_BH.unsqueeze(1) - (words_BQH.cumsum(1) - words_BQH)


def straight_through(latent: Tensor, quantized: Tensor) -> Tensor:
    """`z + sg(q − z)`: the value is q, the gradient goes to z as if nothing had been rounded."""
    return latent + (quantized - latent).detach()


def contrast_loss(
    anchor_BH: Tensor, positive_BH: Tensor, left_out_BB: Tensor, *, temperature: float
) -> Tensor:
    r"""InfoNCE of anchors and one positive each, the other anchors as negatives.

    `−log( exp(cos(a, p)/τ) / ( exp(cos(a, p)/τ) + Σ_n exp(cos(a, n)/τ) ) )`; an anchor is no
    negative of itself.

    Args:
        anchor_BH: vectors of the anchors.
        positive_BH: vectors of their positives.
        left_out_BB: which anchors (columns) are no negatives of which (rows), bool.
        temperature: τ, above 0.
    Returns:
        Nats, shape [B]; 0 where no negative is left.
    Raises:
        ValueError: τ is not above 0.
    Example:
        >>> nobody = torch.zeros((2, 2), dtype=torch.bool)
        >>> contrast_loss(torch.eye(2), torch.eye(2), nobody, temperature=1.0)  # log(1 + e⁻¹)
        tensor([0.3133, 0.3133])
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}, expected a number above 0")
    anchor_BH, positive_BH = unit(anchor_BH), unit(positive_BH)
    is_self_BB = torch.eye(len(anchor_BH), dtype=torch.bool, device=anchor_BH.device)
    positive_B1 = (anchor_BH * positive_BH).sum(1, keepdim=True) / temperature
    negative_BB = anchor_BH @ anchor_BH.T / temperature
    negative_BB = negative_BB.masked_fill(is_self_BB | left_out_BB, -torch.inf)
    return torch.cat([positive_B1, negative_BB], 1).logsumexp(1) - positive_B1.squeeze(1)


def prefix_contrast_loss(
    anchor_BQH: Tensor,
    positive_BQH: Tensor,
    anchor_codes_BQ: Tensor,
    positive_codes_BQ: Tensor,
    *,
    temperature: float,
    level_weights: Sequence[float],
) -> Tensor:
    r"""Items that belong together get codewords alike, L_cont of HiGR.

    docs/mechanics.md, CRQ-VAE loss:
    `1/(Q−1) Σ_{d<Q} w_d InfoNCE(e^d_a, e^d_p)`, see `contrast_loss`. The last level is left out, so
    that an item can be told from its likes.

    Another anchor with the anchor's or the positive's code at a level is no negative there: its
    cosine is that of a positive, and to push it away would push the cluster apart.

    Args:
        anchor_BQH: codewords of the anchors; straight-through where the encoder is to learn.
        positive_BQH: codewords of one positive for each anchor.
        anchor_codes_BQ: codes of the anchors, int64.
        positive_codes_BQ: codes of the positives.
        temperature: τ, above 0.
        level_weights: w_d of all levels but the last.
    Returns:
        Nats, shape [B]; 0 for one level.
    Raises:
        ValueError: there are not as many weights as levels but one, or τ is not above 0.
    Example:
        >>> words = torch.eye(2).unsqueeze(1).expand(2, 2, 2)
        >>> codes = torch.tensor([[0, 0], [1, 0]])
        >>> prefix_contrast_loss(words, words, codes, codes, temperature=1.0, level_weights=[1.0])
        tensor([0.3133, 0.3133])
    """
    num_levels = anchor_codes_BQ.shape[1]
    if len(level_weights) != num_levels - 1:
        raise ValueError(
            f"{len(level_weights)} level weights for {num_levels} levels; expected "
            f"{num_levels - 1}, as the last level is not contrasted"
        )
    loss_B = anchor_BQH.new_zeros(len(anchor_BQH))
    for level, weight in enumerate(level_weights):
        code_B, positive_code_B = anchor_codes_BQ[:, level], positive_codes_BQ[:, level]
        shares_BB = (code_B[:, None] == code_B) | (positive_code_B[:, None] == code_B)
        loss_B = loss_B + weight * contrast_loss(
            anchor_BQH[:, level],
            positive_BQH[:, level],
            shares_BB,
            temperature=temperature,
        )
    return loss_B / max(1, num_levels - 1)


def shared_prefix_loss(anchor_logp_BQK: Tensor, positive_logp_BQK: Tensor) -> Tensor:
    r"""Items that belong together are likely to share a prefix, others are not; L_cont in codes.

    `1/(Q−1) Σ_{d<Q} −log( s_d(a, p) / ( s_d(a, p) + Σ_{n≠a} s_d(a, n) ) )`,
    `s_d(a, b) = Π_{j≤d} Σ_k P(c_a^j = k) P(c_b^j = k)`: InfoNCE as in `prefix_contrast_loss`, with
    the chance of the same prefix in place of `exp(cos/τ)`. Ours, not the paper's. The last level is
    left out.

    Args:
        anchor_logp_BQK: log-probabilities of the anchors' codes, each level given the codes above.
        positive_logp_BQK: the same of one positive for each anchor.
    Returns:
        Nats, shape [B]; 0 for one level, and for one anchor.
    Example:
        >>> sure = torch.eye(2).unsqueeze(1).expand(2, 2, 2).log()
        >>> shared_prefix_loss(sure, sure)  # log(1 + LEAST_CHANCE)
        tensor([9.9995e-05, 9.9995e-05])
        >>> unsure = torch.full((2, 2, 2), 0.5).log()
        >>> shared_prefix_loss(unsure, unsure)  # log 2: as likely with the other
        tensor([0.6931, 0.6931])
    """
    num_anchors, num_levels, _ = anchor_logp_BQK.shape
    loss_B = anchor_logp_BQK.new_zeros(num_anchors)
    positive_B, others_BB = loss_B, anchor_logp_BQK.new_zeros((num_anchors, num_anchors))
    is_self_BB = torch.eye(num_anchors, dtype=torch.bool, device=loss_B.device)
    for level in range(num_levels - 1):
        anchor_BK, positive_BK = anchor_logp_BQK[:, level], positive_logp_BQK[:, level]
        positive_B = positive_B + (anchor_BK + positive_BK).logsumexp(1)
        chance_BB = anchor_BK.exp() @ anchor_BK.exp().T
        others_BB = others_BB + chance_BB.clamp(min=LEAST_CHANCE).log()
        others_B = others_BB.masked_fill(is_self_BB, -torch.inf).logsumexp(1)
        loss_B = loss_B + torch.logaddexp(others_B, positive_B) - positive_B
    return loss_B / max(1, num_levels - 1)


def sibling_loss(last_logp_NK: Tensor, item_N: Tensor, codes_NQ: Tensor) -> Tensor:
    r"""Items that share all codes but the last are told apart by it. Ours.

    Mean over ordered pairs of distinct items with equal codes above the last level of
    `−log(1 − Σ_k P(c_a = k) P(c_b = k))`.

    Args:
        last_logp_NK: log-probabilities of the last code.
        item_N: which item each row is; an item may come twice.
        codes_NQ: codes of the rows.
    Returns:
        Nats, a number; 0 where there are no siblings.
    Example:
        >>> logp = torch.full((2, 4), 0.25).log()
        >>> codes = torch.tensor([[3, 0], [3, 1]])
        >>> sibling_loss(logp, torch.tensor([0, 1]), codes)  # −log(1 − 1/4)
        tensor(0.2877)
    """
    is_sibling_NN = (codes_NQ[:, None, :-1] == codes_NQ[:, :-1]).all(2)
    is_sibling_NN &= item_N[:, None] != item_N
    chance_NN = (last_logp_NK.exp() @ last_logp_NK.exp().T).clamp(max=1 - LEAST_CHANCE)
    loss_NN = -torch.log1p(-chance_NN)
    return (loss_NN * is_sibling_NN).sum() / is_sibling_NN.sum().clamp(min=1)


def _pull(target: Tensor, words: Tensor, commitment: float) -> Tensor:
    """`‖sg(t) − e‖² + β ‖t − sg(e)‖²` over the last axis."""
    towards = (target.detach() - words).square().sum(-1)
    return towards + commitment * (target - words.detach()).square().sum(-1)
