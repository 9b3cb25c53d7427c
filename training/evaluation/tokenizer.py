"""How good semantic IDs are before any generator is trained on them.

Names from HiGR (arXiv 2512.24787), whose formulas are not public; what is computed here is
written at each function. Every figure is plain data, ready for JSON.

Legend: N items, D embedding width, Q levels, K codes of a level, P pairs.
"""

from typing import Any

import torch
from torch import Tensor

from training.tokenizers import quantize
from training.tokenizers.interface import Tokenizer
from training.tokenizers.positives import neighbours, pairs_among

MOST_ANCHORS = 2_000
"""Held-out items whose neighbours are looked up; each looks at the whole catalogue."""


def measure_codes(
    tokenizer: Tokenizer,
    embeddings_ND: Tensor,
    codes_NQ: Tensor,
    *,
    pairs_P2: Tensor | None = None,
) -> dict[str, Any]:
    """All figures of a catalogue's codes.

    Args:
        tokenizer: the one that gave them.
        embeddings_ND: the catalogue, N of 1 or more.
        codes_NQ: the quantizer's levels of its codes, without a resolving level.
        pairs_P2: rows of items that belong together for other reasons than their embedding
            (bought together); adds `consistency_given`.
    Returns:
        `kind`, `items`, `collision`, `levels` (a mapping each), `reconstruction_mse`, `purity`.
    """
    figures: dict[str, Any] = {
        "kind": tokenizer.kind,
        "items": len(codes_NQ),
        "collision": collision(codes_NQ),
        "levels": level_figures(codes_NQ, tokenizer.codebook_size),
        "reconstruction_mse": reconstruction_mse(tokenizer, embeddings_ND, codes_NQ),
        "purity": purity(codes_NQ, embeddings_ND),
    }
    shares = residual_shares(tokenizer, embeddings_ND, codes_NQ)
    for level, share in zip(figures["levels"], shares, strict=True):
        level["residual_share"] = share
    if pairs_P2 is not None and len(pairs_P2):
        figures["consistency_given"] = consistency(codes_NQ, pairs_P2)
    return figures


def held_out_items(num_items: int, share: float, *, seed: int) -> Tensor:
    """Which items are kept from a tokenizer's fit, bool, [N]."""
    order = torch.randperm(num_items, generator=torch.Generator().manual_seed(seed))
    is_unseen_N = torch.zeros(num_items, dtype=torch.bool)
    is_unseen_N[order[: round(share * num_items)]] = True
    return is_unseen_N


def fit_without(
    kind: type[Tokenizer],
    embeddings_ND: Tensor,
    config: Any,
    is_unseen_N: Tensor,
    pairs_P2: Tensor | None = None,
) -> Tokenizer:
    """A tokenizer to which neither the unseen items nor a pair with one of them were shown.

    Args:
        kind: whose `fit` is called.
        embeddings_ND: the whole catalogue, on the device to fit on.
        config: of the kind.
        is_unseen_N: bool, on the CPU; at least one item is seen.
        pairs_P2: rows of the whole catalogue, on the CPU.
    """
    seen_N = torch.nonzero(~is_unseen_N).squeeze(1)
    seen_pairs_P2 = None if pairs_P2 is None else pairs_among(pairs_P2, ~is_unseen_N)
    return kind.fit(embeddings_ND[seen_N.to(embeddings_ND.device)], config, seen_pairs_P2)


def measure_unseen(
    tokenizer: Tokenizer,
    embeddings_ND: Tensor,
    is_unseen_N: Tensor,
    *,
    seed: int,
    pairs_P2: Tensor | None = None,
) -> dict[str, Any]:
    """What codes are worth on items that the tokenizer was not fitted on.

    Args:
        tokenizer: fitted on the other items.
        embeddings_ND: the whole catalogue, N of 2 or more.
        is_unseen_N: bool, at least one.
        seed: of the sample of anchors where there are many.
        pairs_P2: as for `measure_codes`; those with an unseen item add `consistency_given`, and
            `pairs_given` counts them.
    Returns:
        `items`; `consistency` between unseen items and their nearest neighbours in the catalogue;
        `purity` and `reconstruction_mse` of the unseen items.
    """
    codes_NQ = tokenizer.encode(embeddings_ND)
    anchors = torch.nonzero(is_unseen_N).squeeze(1)
    if len(anchors) > MOST_ANCHORS:
        generator = torch.Generator().manual_seed(seed)
        anchors = anchors[torch.randperm(len(anchors), generator=generator)[:MOST_ANCHORS]]
    unseen_ND, unseen_codes = embeddings_ND[is_unseen_N], codes_NQ[is_unseen_N]
    figures = {
        "items": len(unseen_codes),
        "consistency": consistency(codes_NQ, neighbour_pairs(embeddings_ND, anchors)),
        "purity": purity(unseen_codes, unseen_ND),
        "reconstruction_mse": reconstruction_mse(tokenizer, unseen_ND, unseen_codes),
    }
    if pairs_P2 is not None and len(pairs_P2):
        unseen_P2 = pairs_P2[is_unseen_N[pairs_P2].any(1)]
        figures["pairs_given"] = len(unseen_P2)
        if len(unseen_P2):
            figures["consistency_given"] = consistency(codes_NQ, unseen_P2)
    return figures


def collision(codes_NQ: Tensor) -> dict[str, float | int]:
    """How many items share an ID.

    Returns:
        `share` = 1 − distinct IDs / N (MiniOneRec); `items_sharing`: share of items in buckets of
        two or more; `largest_bucket`; `gini` of items per used ID (FORGE), 0 = even.
    Example:
        >>> found = collision(torch.tensor([[0, 1], [0, 1], [2, 0], [3, 0]]))
        >>> found["share"], found["items_sharing"], found["largest_bucket"]
        (0.25, 0.5, 2)
    """
    _, count_U = torch.unique(codes_NQ, dim=0, return_counts=True)
    return {
        "share": 1 - len(count_U) / len(codes_NQ),
        "items_sharing": float(count_U[count_U > 1].sum() / len(codes_NQ)),
        "largest_bucket": int(count_U.max()),
        "gini": gini(count_U),
    }


def level_figures(codes_NQ: Tensor, codebook_size: int) -> list[dict[str, Any]]:
    """How items fill the codes of each level.

    Returns:
        Per level: `used_codes`, `used_share` of K, `dead_share` of the codes that N items can
        fill, `largest_share` = max n_k / N, `hhi` =
        Σ (n_k/N)², `gini` over used codes, `entropy_share` = H / log K, `perplexity` = exp H, and
        `conditional_entropy_nats` = H(c_d | c_<d) = H(prefix of d codes) − H(prefix of d − 1).
    """
    figures, above = [], 0.0
    for depth in range(1, codes_NQ.shape[1] + 1):
        count_K = torch.bincount(codes_NQ[:, depth - 1], minlength=codebook_size)
        share_K = count_K.double() / len(codes_NQ)
        _, prefix_count = torch.unique(codes_NQ[:, :depth], dim=0, return_counts=True)
        here, entropy = _entropy(prefix_count), _entropy(count_K)
        used = int((count_K > 0).sum())
        figures.append(
            {
                "used_codes": used,
                "used_share": used / codebook_size,
                "dead_share": 1 - used / min(codebook_size, len(codes_NQ)),
                "largest_share": float(share_K.max()),
                "hhi": float(share_K.square().sum()),
                "gini": gini(count_K[count_K > 0]),
                "entropy_share": entropy / float(torch.tensor(float(codebook_size)).log()),
                "perplexity": float(torch.tensor(entropy).exp()),
                "conditional_entropy_nats": max(0.0, here - above),
                "prefixes": len(prefix_count),
                "counts": count_K.tolist(),
            }
        )
        above = here
    return figures


def gini(count_U: Tensor) -> float:
    """`G = (U+1)/U − 2 Σ_r (U+1−r)·n_(r) / (U·N)`, counts ascending, r from 1 (FORGE).

    Example:
        >>> gini(torch.tensor([5, 5, 5])), gini(torch.tensor([1, 1, 8]))
        (0.0, 0.466...)
    """
    used, total = len(count_U), float(count_U.sum())
    weight_U = torch.arange(used, 0, -1, dtype=torch.float64)
    weighted = float((weight_U * count_U.sort().values.double()).sum())
    return max(0.0, (used + 1) / used - 2 * weighted / (used * total))


def consistency(codes_NQ: Tensor, pairs_P2: Tensor) -> list[dict[str, float]]:
    """Whether items that belong together share prefixes.

    At depth d: `agreement` = E over pairs of 1{s_a^{1:d} = s_p^{1:d}}; `random` = the same over all
    pairs of distinct items, exactly: Σ_p n_p(n_p − 1) / N(N − 1) over prefixes p; `lift` =
    agreement / random, 0 where no two items agree.

    Args:
        codes_NQ: codes, N of 2 or more.
        pairs_P2: item rows, two distinct ones per pair.
    Example:
        >>> codes = torch.tensor([[0, 1], [0, 2], [1, 0], [1, 0]])
        >>> consistency(codes, torch.tensor([[0, 1], [2, 3]]))[1]
        {'agreement': 0.5, 'random': 0.166..., 'lift': 3.0}
    """
    same_PQ = (codes_NQ[pairs_P2[:, 0]] == codes_NQ[pairs_P2[:, 1]]).long().cumprod(1).double()
    num_items, figures = len(codes_NQ), []
    for depth, agreement in enumerate(same_PQ.mean(0).tolist(), start=1):
        _, count = torch.unique(codes_NQ[:, :depth], dim=0, return_counts=True)
        chance = int((count * (count - 1)).sum()) / (num_items * (num_items - 1))
        lift = agreement / chance if chance > 0 else 0.0
        figures.append({"agreement": agreement, "random": chance, "lift": lift})
    return figures


def purity(codes_NQ: Tensor, embeddings_ND: Tensor) -> list[dict[str, float]]:
    """How alike the items below one prefix are.

    At depth d: `cosine` = mean cosine of two distinct items of one prefix, each prefix weighted by
    its items; `items` = share of items with company there (only those count).
    """
    unit_ND = torch.nn.functional.normalize(embeddings_ND.float(), dim=1)
    figures = []
    for depth in range(1, codes_NQ.shape[1] + 1):
        _, prefix_N, count_P = torch.unique(
            codes_NQ[:, :depth], dim=0, return_inverse=True, return_counts=True
        )
        sums_PD = torch.zeros((len(count_P), unit_ND.shape[1])).index_add_(0, prefix_N, unit_ND)
        # ‖Σu‖² = n + Σ over ordered pairs of cos
        company = count_P > 1
        count, energy = count_P[company].double(), sums_PD[company].double().square().sum(1)
        cosine = (energy - count) / (count * (count - 1))
        total = float(count.sum())
        mean = float((cosine * count).sum()) / total if total else 0.0
        figures.append({"cosine": mean, "items": total / max(1, len(codes_NQ))})
    return figures


def residual_shares(tokenizer: Tokenizer, embeddings_ND: Tensor, codes_NQ: Tensor) -> list[float]:
    """`Σ ‖r_d‖² / Σ ‖z‖²` after each level; near 0 before the last one = residual vanishing."""
    energy = torch.zeros(tokenizer.num_levels + 1, dtype=torch.float64)
    for chunk in quantize.chunks(len(codes_NQ), tokenizer.codebooks_QKH[:, 0].numel()):
        latent_NH = tokenizer.latent(embeddings_ND[chunk].to(tokenizer.device))
        words_NQH = quantize.codewords(
            codes_NQ[chunk].to(tokenizer.device), tokenizer.codebooks_QKH
        )
        left_NQH = latent_NH.unsqueeze(1) - words_NQH.cumsum(1)
        energy[0] += float(latent_NH.double().square().sum())
        energy[1:] += left_NQH.double().square().sum((0, 2)).cpu()
    shares: list[float] = (energy[1:] / energy[0].clamp(min=1e-30)).tolist()
    return shares


def reconstruction_mse(tokenizer: Tokenizer, embeddings_ND: Tensor, codes_NQ: Tensor) -> float:
    """Mean squared difference per dimension between embeddings and what their codes stand for."""
    total = 0.0
    for chunk in quantize.chunks(len(codes_NQ), tokenizer.codebooks_QKH[:, 0].numel()):
        wanted_ND = embeddings_ND[chunk].to(tokenizer.device)
        total += float((tokenizer.reconstruct(codes_NQ[chunk]) - wanted_ND).double().square().sum())
    return total / max(1, int(embeddings_ND.numel()))


def neighbour_pairs(embeddings_ND: Tensor, anchors_P: Tensor) -> Tensor:
    """Each anchor row with the most similar other item, by cosine, [P,2]."""
    return torch.stack([anchors_P, neighbours(embeddings_ND, anchors_P, 1)[:, 0]], 1)


def _entropy(count: Tensor) -> float:
    """Entropy in nats of the distribution that counts stand for."""
    share = count[count > 0].double() / count.sum()
    return float(-(share * share.log()).sum())
