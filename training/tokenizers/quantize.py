"""Pure operations of residual quantization; memory stays at chunk × K, never N × K × D.

A codebook may be larger than what it has to describe. Its rows beyond that are unused: masked by
`is_used`, zero in the tensor, never the nearest.

Legend: N points, M points of a chunk, H latent width, Q levels, K codes of a level.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK_ENTRIES = 1 << 22
"""Distances held at once (16 MB in float32)."""


def chunks(num_points: int, num_codes: int) -> Iterator[slice]:
    """Runs of points whose distances to all codes fit the chunk."""
    size = max(1, CHUNK_ENTRIES // num_codes)
    for start in range(0, num_points, size):
        yield slice(start, min(start + size, num_points))


def squared_distances(points_NH: Tensor, codebook_KH: Tensor, is_used_K: Tensor) -> Tensor:
    """‖x − c‖² of every point and code by the expanded square, +inf for unused codes.

    Returns:
        Shape [N,K], at least 0.
    Example:
        >>> squared_distances(
        ...     torch.tensor([[3.0, 0.0]]),
        ...     torch.tensor([[0.0, 4.0], [3.0, 0.0], [0.0, 0.0]]),
        ...     torch.tensor([True, True, False]),
        ... )
        tensor([[25., 0., inf]])
    """
    norms_K = codebook_KH.square().sum(1).masked_fill(~is_used_K, float("inf"))
    squares_N1 = points_NH.square().sum(1, keepdim=True)
    return (torch.addmm(norms_K, points_NH, codebook_KH.T, alpha=-2) + squares_N1).clamp_(min=0)


def nearest(points_NH: Tensor, codebook_KH: Tensor, is_used_K: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest used code of each point, lowest index first among equals, and ‖x − c‖².

    Returns:
        Codes [N], int64, and squared distances [N].
    """
    code_N = torch.empty(len(points_NH), dtype=torch.int64, device=points_NH.device)
    distance_N = torch.empty(len(points_NH), device=points_NH.device)
    for chunk in chunks(len(points_NH), len(codebook_KH)):
        found = squared_distances(points_NH[chunk], codebook_KH, is_used_K).min(1)
        code_N[chunk], distance_N[chunk] = found.indices, found.values
    return code_N, distance_N


def cluster_sums(points_NH: Tensor, code_N: Tensor, num_codes: int) -> tuple[Tensor, Tensor]:
    """Sum and number of the points of each code.

    A product with the one-hot assignment, not a scatter: the order of additions, and with it every
    bit, is the same in every run, on a GPU too.

    Returns:
        Sums [K,H] and counts [K], float32.
    """
    sums_KH = points_NH.new_zeros((num_codes, points_NH.shape[1]))
    for chunk in chunks(len(points_NH), num_codes):
        one_hot_MK = torch.nn.functional.one_hot(code_N[chunk], num_codes).to(points_NH.dtype)
        sums_KH += one_hot_MK.T @ points_NH[chunk]
    return sums_KH, torch.bincount(code_N, minlength=num_codes).to(points_NH.dtype)


def residual_quantize(
    latent_NH: Tensor, codebooks_QKH: Tensor, is_used_QK: Tensor
) -> tuple[Tensor, Tensor]:
    """Codes by level: `c_d = argmin_k ‖r_{d−1} − C^d_k‖²`, `r_d = r_{d−1} − C^d_{c_d}`, `r_0 = z`.

    Returns:
        Codes [N,Q], int64, and what is left, r_Q, [N,H].
    """
    residual_NH, codes = latent_NH, []
    for codebook_KH, is_used_K in zip(codebooks_QKH, is_used_QK, strict=True):
        code_N, _ = nearest(residual_NH, codebook_KH, is_used_K)
        residual_NH = residual_NH - codebook_KH[code_N]
        codes.append(code_N)
    return torch.stack(codes, dim=1), residual_NH


def codewords(codes_NQ: Tensor, codebooks_QKH: Tensor) -> Tensor:
    """The vector behind every code, [N,Q,H]; their sum over levels is the quantized latent."""
    return codebooks_QKH[torch.arange(len(codebooks_QKH)), codes_NQ]
