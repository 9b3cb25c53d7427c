"""Whether a difference between recommenders is more than luck: paired bootstrap over users.

A replicate draws U users with replacement and takes every metric of every recommender on the same
draw, so that what makes a user easy or hard cancels out of the differences (Efron 1979; for
information retrieval Sakai 2006). Intervals are percentiles of the replicates. Where a recommender
was fitted several times, its fits can be drawn beside the users.

U users, C columns (a metric of a recommender), S replicates, K and L fits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation.record import Difference, Interval

_CELLS = 4_000_000
"""Draw counts held at once: bounds memory whatever U and S are."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        samples: S, replicates of users.
        seed: of the draws.
        confidence: probability inside an interval, e.g. 0.95.
    """

    samples: int
    seed: int = 0
    confidence: float = 0.95


def bootstrap_means(values_UC: np.ndarray, *, samples: int, seed: int) -> np.ndarray:
    """Means over resampled users; every column sees the same draws.

    Args:
        values_UC: one row per user, float.
        samples: S.
        seed: of the draws; the same seed and U give the same draws.
    Returns:
        float64, shape [S, C].
    Raises:
        ValueError: there is no user, or a value is not finite.
    """
    num_users = len(values_UC)
    if num_users == 0:
        raise ValueError("no users to draw from; a bootstrap needs at least one")
    if not np.isfinite(values_UC).all():
        raise ValueError(f"{(~np.isfinite(values_UC)).sum()} values are not finite")
    draws = user_draws(num_users, samples=samples, seed=seed)
    return np.concatenate([counts_SU @ values_UC for counts_SU in draws]) / num_users


def user_draws(num_users: int, *, samples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each user is drawn in each replicate, some replicates at a time, float64, [S, U].

    Args:
        num_users: U; as many are drawn, with replacement.
        samples: S, over all parts.
        seed: of the draws; the same seed and U give the same draws.
    """
    draws = np.random.default_rng(seed)
    rows = max(1, _CELLS // num_users)
    for start in range(0, samples, rows):
        yield _draw_counts(draws, min(rows, samples - start), num_users)


def _draw_counts(draws: np.random.Generator, rows: int, num_users: int) -> np.ndarray:
    """How often each user is drawn, float64, [rows, U]; ten times faster than `multinomial`."""
    drawn = draws.integers(num_users, size=(rows, num_users), dtype=np.int64)
    counts = np.empty((rows, num_users))
    for row in range(rows):
        counts[row] = np.bincount(drawn[row], minlength=num_users)
    return counts


def interval(point: float, replicates_S: np.ndarray, *, confidence: float) -> Interval:
    """Percentile interval of replicates around a point estimate.

    Args:
        point: the estimate from the sample itself.
        replicates_S: the same estimate from each replicate.
        confidence: probability inside, e.g. 0.95.
    """
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(replicates_S, [tail, 1.0 - tail])
    return Interval(float(low), float(point), float(high))


def compare(
    ours_U: np.ndarray,
    theirs_U: np.ndarray,
    ours_S: np.ndarray,
    theirs_S: np.ndarray,
    *,
    confidence: float,
) -> Difference:
    """Compare two columns of one bootstrap.

    Args:
        ours_U: our value per user.
        theirs_U: theirs of the same users in the same order.
        ours_S: our replicates, from the same call of `bootstrap_means` as theirs.
        theirs_S: their replicates.
        confidence: of the intervals.
    Raises:
        ValueError: the two are not of the same users or replicates.
    """
    if ours_U.shape != theirs_U.shape or ours_S.shape != theirs_S.shape:
        raise ValueError(
            f"not paired: {ours_U.shape} against {theirs_U.shape} users, "
            f"{ours_S.shape} against {theirs_S.shape} replicates"
        )
    return compare_points(
        float(ours_U.mean()),
        float(theirs_U.mean()),
        ours_S,
        theirs_S,
        num_users=len(ours_U),
        confidence=confidence,
    )


def compare_points(
    ours: float,
    theirs: float,
    ours_S: np.ndarray,
    theirs_S: np.ndarray,
    *,
    num_users: int,
    confidence: float,
    higher_is_better: bool = True,
) -> Difference:
    """Compare two statistics of the same users, with the same statistics of the same draws.

    Args:
        ours: our value on the sample.
        theirs: theirs.
        ours_S: our replicates.
        theirs_S: theirs, of the same draws in the same order.
        num_users: that both were measured on.
        confidence: of the intervals.
        higher_is_better: turns `probability_better`; a difference stays ours - theirs.
    """
    difference_S = ours_S - theirs_S
    above = float((difference_S > 0).mean() + (difference_S == 0).mean() / 2)
    relative = None
    if theirs > 0 and (theirs_S > 0).all():
        relative = interval(ours / theirs - 1, difference_S / theirs_S, confidence=confidence)
    return Difference(
        num_users=num_users,
        our_value=ours,
        their_value=theirs,
        difference=interval(ours - theirs, difference_S, confidence=confidence),
        relative=relative,
        probability_better=above if higher_is_better else 1 - above,
    )


def compare_fits(
    ours_UK: np.ndarray,
    theirs_UL: np.ndarray,
    *,
    bootstrap: Bootstrap,
    shared_seeds: bool = False,
) -> Difference | None:
    """Ours less theirs, each fitted under several seeds, with intervals over users and fits.

    Users and fits are drawn anew, each by themselves: the bootstrap of two crossed factors (Owen,
    "The pigeonhole bootstrap", 2007). Over users alone an interval is of these very fits, and the
    next seed may move a figure by more. Few seeds still make it too narrow: of K, what they vary
    by is taken for (K - 1) / K of it.

    Args:
        ours_UK: our value per user and fit; a user with a NaN on either side is left out.
        theirs_UL: theirs of the same users.
        bootstrap: how; fits are drawn under the two seeds that follow that of the users.
        shared_seeds: a fit of ours goes on from theirs of the same seed: both are drawn together.
    Returns:
        None where no user has all values.
    """
    num_ours, num_theirs = ours_UK.shape[1], theirs_UL.shape[1]
    values_UC = np.concatenate([ours_UK, theirs_UL], axis=1)
    values_UC = values_UC[~np.isnan(values_UC).any(axis=1)]
    if not len(values_UC):
        return None
    shares_SK = _fit_shares(num_ours, bootstrap.samples, bootstrap.seed + 1)
    shares_SL = (
        shares_SK
        if shared_seeds
        else _fit_shares(num_theirs, bootstrap.samples, bootstrap.seed + 2)
    )
    draws_SC = bootstrap_means(values_UC, samples=bootstrap.samples, seed=bootstrap.seed)
    return compare(
        values_UC[:, :num_ours].mean(axis=1),
        values_UC[:, num_ours:].mean(axis=1),
        (draws_SC[:, :num_ours] * shares_SK).sum(axis=1),
        (draws_SC[:, num_ours:] * shares_SL).sum(axis=1),
        confidence=bootstrap.confidence,
    )


def _fit_shares(num_fits: int, samples: int, seed: int) -> np.ndarray:
    """What each of K fits counts in each replicate, float64, [S, K]; rows sum to 1."""
    # Fits are drawn as users are.
    return np.concatenate([*user_draws(num_fits, samples=samples, seed=seed)]) / num_fits


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Mean and deviation of a figure over seeds; no deviation of one.

    Example:
        >>> over_seeds([1.0, 3.0])
        {'mean': 2.0, 'seed_deviation': 1.4142135623730951}
    """
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "seed_deviation": deviation}
