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
from training.evaluation.samples import Sample

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


class Draws:
    """Samples under the same draws of users, each drawn once for all of its metrics.

    Args:
        bootstrap: how.
    """

    def __init__(self, bootstrap: Bootstrap) -> None:
        self.bootstrap = bootstrap
        self._drawn: dict[int, tuple[Sample, dict[str, np.ndarray]]] = {}

    def fits(self, samples: Sequence[Sample], metric: str) -> "Fits":
        """One metric of several fits of the same thing.

        Args:
            samples: what each fit is worth, of the same users.
            metric: that all of them have.
        Raises:
            ValueError: fits were measured on different numbers of users.
        """
        users = sorted({sample.num_users for sample in samples})
        if len(users) != 1:
            raise ValueError(f"{metric}: fits were measured on {users} users, expected the same")
        points = np.array([sample.point(metric) for sample in samples])
        drawn = [self._replicates(sample)[metric] for sample in samples]
        return Fits(users[0], points, np.stack(drawn, axis=1))

    def _replicates(self, sample: Sample) -> dict[str, np.ndarray]:
        """Every metric on every draw, [S]. The sample is kept, too: its id stays its own."""
        if id(sample) not in self._drawn:
            how = self.bootstrap
            draws = user_draws(sample.num_users, samples=how.samples, seed=how.seed)
            parts = [sample.replicates(counts_SU) for counts_SU in draws]
            whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            self._drawn[id(sample)] = sample, whole
        return self._drawn[id(sample)][1]


@dataclass(frozen=True)
class Fits:
    """One metric of something that was fitted K times.

    Attributes:
        num_users: that all fits were measured on.
        points_K: of each fit, on all users.
        draws_SK: of each fit, on every draw of users.
    """

    num_users: int
    points_K: np.ndarray
    draws_SK: np.ndarray

    def replicates(self, seed: int) -> np.ndarray:
        """Means over fits, themselves drawn anew in each replicate, [S].

        Users and fits are drawn by themselves: the bootstrap of two crossed factors (Owen, "The
        pigeonhole bootstrap", 2007). Over users alone an interval is of these very fits, and the
        next seed may move a figure by more. Few seeds still make it too narrow: of K, what they
        vary by is taken for (K - 1) / K of it.

        Args:
            seed: of the draws of fits.
        """
        num_samples, num_fits = self.draws_SK.shape
        counts_SK = np.concatenate([*user_draws(num_fits, samples=num_samples, seed=seed)])
        return np.asarray((self.draws_SK * counts_SK).sum(axis=1) / num_fits)

    def interval(self, bootstrap: Bootstrap) -> Interval:
        """The mean over fits, with an interval over users and fits."""
        drawn_S = self.replicates(bootstrap.seed + 1)
        return interval(
            float(self.points_K.mean()),
            drawn_S[np.isfinite(drawn_S)],
            confidence=bootstrap.confidence,
        )


def compare_fits(
    ours: Fits,
    theirs: Fits,
    *,
    bootstrap: Bootstrap,
    higher_is_better: bool = True,
    shared_seeds: bool = False,
) -> Difference:
    """Ours less theirs, with intervals over users and fits.

    Args:
        ours: of `Draws` with this bootstrap.
        theirs: the same, of the same users.
        bootstrap: how; fits are drawn under the two seeds that follow that of the users.
        higher_is_better: of the metric.
        shared_seeds: a fit of ours goes on from theirs of the same seed: both are drawn together.
    Raises:
        ValueError: the two are not of the same users or replicates.
    """
    if ours.num_users != theirs.num_users or len(ours.draws_SK) != len(theirs.draws_SK):
        raise ValueError(
            f"not paired: {ours.num_users} against {theirs.num_users} users, "
            f"{len(ours.draws_SK)} against {len(theirs.draws_SK)} replicates"
        )
    ours_S = ours.replicates(bootstrap.seed + 1)
    theirs_S = theirs.replicates(bootstrap.seed + (1 if shared_seeds else 2))
    is_defined_S = np.isfinite(ours_S) & np.isfinite(theirs_S)
    return compare_points(
        float(ours.points_K.mean()),
        float(theirs.points_K.mean()),
        ours_S[is_defined_S],
        theirs_S[is_defined_S],
        num_users=ours.num_users,
        confidence=bootstrap.confidence,
        higher_is_better=higher_is_better,
    )


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Mean and deviation of a figure over seeds; no deviation of one.

    Example:
        >>> over_seeds([1.0, 3.0])
        {'mean': 2.0, 'seed_deviation': 1.4142135623730951}
    """
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "seed_deviation": deviation}
