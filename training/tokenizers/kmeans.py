"""Lloyd's k-means with k-means++ seeding and revival of dead codes; the same bits in every run.

Legend: N points, H width, Q levels, K codes.
"""

import logging
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from training.fit.fitting import PROGRESS
from training.tokenizers.quantize import cluster_sums, nearest

log = logging.getLogger(__name__)

SEEDING_POINTS_PER_CODE = 64
"""k-means++ reads at most so many points per code: it passes over them K times."""

TRIAL_PASSES = 5
"""Passes after which seedings are compared."""
ROUNDING = 1e-10
"""Squared error relative to ‖x‖² below which a point equals its centroid, a mean of equals."""


@dataclass(frozen=True)
class ResidualClustering:
    """What k-means found level by level.

    Args:
        codebooks_QKH: centroids; zero where unused.
        is_used_QK: which codes have a centroid.
        num_points: how many points it was found on.
        levels: per level `used_codes`, `iterations`, `revived_codes` and `residual_share`:
            Σ ‖r_d‖² / Σ ‖r_0‖².
    """

    codebooks_QKH: Tensor
    is_used_QK: Tensor
    num_points: int
    levels: list[dict[str, Any]]


@dataclass(frozen=True)
class Clustering:
    """What k-means found.

    Args:
        codebook_KH: centroids; zero where unused.
        is_used_K: which codes have a centroid; False beyond the number of distinct points.
        code_N: code of each point.
        iterations: passes made.
        revived: dead codes that were moved to badly described points, over all passes.
        mean_squared_error: mean ‖x − c‖² after the last assignment.
    """

    codebook_KH: Tensor
    is_used_K: Tensor
    code_N: Tensor
    iterations: int
    revived: int
    mean_squared_error: float


def seed_codes(points_NH: Tensor, num_codes: int, generator: torch.Generator) -> Tensor:
    """k-means++ (Arthur & Vassilvitskii 2007): each seed is drawn with probability ∝ distance².

    Stops when every point coincides with a seed, so fewer seeds than codes come back where there
    are fewer distinct points.

    Args:
        points_NH: at least one point.
        num_codes: K.
        generator: on the CPU, so that draws are the same on every device.
    Returns:
        Seeds [≤K,H].
    """
    limit = SEEDING_POINTS_PER_CODE * num_codes
    if len(points_NH) > limit:
        points_NH = points_NH[_sample(len(points_NH), limit, generator).to(points_NH.device)]
    draws = torch.rand(num_codes, generator=generator, dtype=torch.float64).tolist()
    seeds = [points_NH[int(draws[0] * len(points_NH))]]
    # The expanded square leaves rounding dust where point and seed are equal; the difference not.
    distance_N = (points_NH - seeds[0]).square().sum(1)
    for draw in draws[1:]:
        reach_N = distance_N.double().cumsum(0)
        if reach_N[-1] <= 0:
            break
        place = torch.searchsorted(reach_N, draw * reach_N[-1], right=True)
        seeds.append(points_NH[place.clamp(max=len(points_NH) - 1)])
        distance_N = torch.minimum(distance_N, (points_NH - seeds[-1]).square().sum(1))
    return torch.stack(seeds)


def kmeans(
    points_NH: Tensor,
    num_codes: int,
    *,
    iterations: int,
    generator: torch.Generator,
    seedings: int = 4,
) -> Clustering:
    """Centroids of the points.

    Several seedings are tried for a few passes and the one with the least error goes on: on the
    residuals of a small catalogue a single one decides too much. A code that loses all its points
    is revived at the point that its centroid describes worst, as long as any is described badly at
    all; codes left over stay unused. Ends early when no point changes its code.

    Args:
        points_NH: at least one, finite.
        num_codes: K; may be above N.
        iterations: most passes of the chosen seeding.
        generator: on the CPU.
        seedings: how many are tried.
    """
    trials = []
    for _ in range(seedings):
        seeds = seed_codes(points_NH, num_codes, generator)
        codebook_KH = points_NH.new_zeros((num_codes, points_NH.shape[1]))
        codebook_KH[: len(seeds)] = seeds
        is_used_K = torch.arange(num_codes, device=points_NH.device) < len(seeds)
        passes = min(TRIAL_PASSES, iterations)
        trials.append(_lloyd(points_NH, codebook_KH, is_used_K, passes))
    best = min(trials, key=lambda trial: trial.mean_squared_error)
    rest = _lloyd(points_NH, best.codebook_KH, best.is_used_K, iterations - best.iterations)
    return replace(
        rest, iterations=best.iterations + rest.iterations, revived=best.revived + rest.revived
    )


def residual_kmeans(
    points_NH: Tensor,
    num_levels: int,
    num_codes: int,
    *,
    iterations: int,
    generator: torch.Generator,
    max_points: int,
) -> ResidualClustering:
    """k-means on the points, then on what each level leaves over: `r_d = r_{d−1} − C^d_{c_d}`.

    Args:
        points_NH: at least one, finite.
        num_levels: Q.
        num_codes: K of every level.
        iterations: most passes per level.
        generator: on the CPU.
        max_points: of more points a sample is taken.
    """
    residual_NH = points_NH
    if len(residual_NH) > max_points:
        chosen = _sample(len(residual_NH), max_points, generator)
        residual_NH = residual_NH[chosen.to(residual_NH.device)]
    num_points, energy = len(residual_NH), float(residual_NH.square().sum(1).mean())
    codebooks, used, levels = [], [], []
    for level in range(num_levels):
        log.info("k-means: level %d of %d, %d points", level + 1, num_levels, num_points)
        found = kmeans(residual_NH, num_codes, iterations=iterations, generator=generator)
        residual_NH = residual_NH - found.codebook_KH[found.code_N]
        codebooks.append(found.codebook_KH)
        used.append(found.is_used_K)
        levels.append(
            {
                "used_codes": int(found.is_used_K.sum()),
                "iterations": found.iterations,
                "revived_codes": found.revived,
                "residual_share": float(residual_NH.square().sum(1).mean()) / max(energy, 1e-30),
            }
        )
    return ResidualClustering(torch.stack(codebooks), torch.stack(used), num_points, levels)


def _lloyd(
    points_NH: Tensor, codebook_KH: Tensor, is_used_K: Tensor, iterations: int
) -> Clustering:
    num_codes = len(codebook_KH)
    code_N, distance_N = nearest(points_NH, codebook_KH, is_used_K)
    revived = passes = 0
    for _ in range(iterations):
        passes += 1
        log.info("k-means: pass %d of at most %d", passes, iterations, extra=PROGRESS)
        sums_KH, count_K = cluster_sums(points_NH, code_N, num_codes)
        is_used_K = count_K > 0
        codebook_KH = sums_KH / count_K.clamp(min=1).unsqueeze(1)
        revived += revive(codebook_KH, is_used_K, points_NH, code_N)
        before_N = code_N
        code_N, distance_N = nearest(points_NH, codebook_KH, is_used_K)
        if torch.equal(before_N, code_N):
            break
    reached_K = torch.bincount(code_N, minlength=num_codes) > 0
    return Clustering(
        codebook_KH.masked_fill(~reached_K.unsqueeze(1), 0.0),
        reached_K,
        code_N,
        passes,
        revived,
        float(distance_N.double().mean()),
    )


def revive(codebook_KH: Tensor, is_used_K: Tensor, points_NH: Tensor, code_N: Tensor) -> int:
    """Move dead codes to the points described worst, in place; returns how many.

    Args:
        codebook_KH: changed where a code is revived.
        is_used_K: False where a code is dead; True after that where it was revived.
        points_NH: what the codes describe.
        code_N: the code of each point.
    """
    dead = torch.nonzero(~is_used_K).squeeze(1)
    if len(dead) == 0:
        return 0
    # The difference, not the expanded square: where point and centroid are equal it is exactly 0.
    error_N = (points_NH - codebook_KH[code_N]).square().sum(1)
    worst = error_N.topk(min(len(dead), len(error_N)))
    places = worst.indices[worst.values > ROUNDING * points_NH[worst.indices].square().sum(1)]
    places = places[_first_of_equals(points_NH[places])]
    codebook_KH[dead[: len(places)]] = points_NH[places]
    is_used_K[dead[: len(places)]] = True
    return len(places)


def _first_of_equals(points_NH: Tensor) -> Tensor:
    """Places of the distinct points, each where it comes first, in order."""
    if len(points_NH) == 0:
        return torch.zeros(0, dtype=torch.int64, device=points_NH.device)
    _, group_N = torch.unique(points_NH, dim=0, return_inverse=True)
    place_N = torch.arange(len(points_NH), device=points_NH.device)
    first = torch.full_like(group_N, len(points_NH)).scatter_reduce(0, group_N, place_N, "amin")
    return first[first < len(points_NH)].sort().values


def _sample(population: int, size: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(population, generator=generator)[:size].sort().values
