"""How well probabilities of positive feedback order events, and how well they match them.

An event's label is whether its feedback was positive. Over all T events, and ties counting half,

    AUC     = P( p(positive event) > p(negative event) )
    GAUC    = sum_u w_u AUC_u / sum_u w_u      over users with both labels; w_u: the user's events
    LogLoss = - y log p - (1 - y) log(1 - p)   averaged over a user's events, then over users
    NE      = LogLoss over all events / entropy of the share of positives   (He et al. 2014)
    ECE     = sum_b |B_b| / T  |mean y of bin b - mean p of bin b|          (Naeini et al. 2015),
              over B = 20 bins of as many events each, in the order of p
    COPC    = sum p / sum y

The user is the unit of the bootstrap: a replicate draws users, and each metric is taken anew from
the events of those drawn.

T events, U users, S replicates, G users with both labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from training.evaluation.record import CalibrationBin

_LEAST_PROBABILITY = 1e-7
"""Probabilities are read no closer to 0 and 1: one wrong certainty must not be the whole mean."""
_BINS = 20
"""Of the calibration error."""
_CELLS = 4_000_000
"""Weights held at once while replicates are made."""


def auc(score_T: np.ndarray, label_T: np.ndarray) -> float:
    """Share of (positive, negative) pairs in the right order, ties half; NaN without both labels.

    Args:
        score_T: larger for what is more likely positive.
        label_T: bool.
    Example:
        >>> auc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
        0.875
    """
    return float(_PooledAuc(score_T, label_T).weighted(np.ones((1, len(score_T))))[0])


def auc_influences(score_T: np.ndarray, label_T: np.ndarray) -> np.ndarray:
    """What each event adds to the AUC, times T, less its expectation, float64, [T]; sums to 0.

    Placement values (DeLong et al. 1988): of a positive event the share of negatives below it less
    the AUC, over the share of positives; of a negative one the share of positives above it.

    Args:
        score_T: larger for what is more likely positive.
        label_T: bool, of both kinds.
    Example:
        >>> scores, labels = np.array([0.9, 0.2, 0.4, 0.1]), np.array([True, True, False, False])
        >>> auc_influences(scores, labels).tolist()
        [0.5, -0.5, -0.5, 0.5]
    """
    positive, negative = np.sort(score_T[label_T]), np.sort(score_T[~label_T])

    def below(ordered: np.ndarray, score: np.ndarray) -> np.ndarray:
        places = [np.searchsorted(ordered, score, side=side) for side in ("left", "right")]
        return np.asarray(sum(places) / 2 / len(ordered))

    placement_T = np.where(label_T, below(negative, score_T), 1 - below(positive, score_T))
    share_T = np.where(label_T, len(positive), len(negative)) / len(score_T)
    return np.asarray((placement_T - placement_T[label_T].mean()) / share_T)


class _PooledAuc:
    """AUC of one set of scores under many sets of weights: sorted once."""

    def __init__(self, score_T: np.ndarray, label_T: np.ndarray) -> None:
        negative = np.flatnonzero(~label_T)
        self._negative = negative[np.argsort(score_T[negative], kind="stable")]
        self._positive = np.flatnonzero(label_T)
        ordered, own = score_T[self._negative], score_T[self._positive]
        self._below = np.searchsorted(ordered, own, side="left")
        self._not_above = np.searchsorted(ordered, own, side="right")

    def weighted(self, weight_ST: np.ndarray) -> np.ndarray:
        """AUC with event t counting `weight_ST[s, t]` times, float64, [S]."""
        negative_SN = weight_ST[:, self._negative]
        before_SN = np.cumsum(np.pad(negative_SN, ((0, 0), (1, 0))), axis=1)
        positive_SP = weight_ST[:, self._positive]
        won_SP = (before_SN[:, self._below] + before_SN[:, self._not_above]) / 2
        pairs_S = positive_SP.sum(axis=1) * before_SN[:, -1]
        with np.errstate(invalid="ignore"):
            return np.asarray((positive_SP * won_SP).sum(axis=1) / pairs_S)


@dataclass(frozen=True)
class UserAuc:
    """AUC within each user who has both labels.

    Attributes:
        row: the user's row among all users of the events, ascending, int64, shape [G].
        auc: float64, shape [G].
        num_events: the user's events, int64, shape [G].
    """

    row: np.ndarray
    auc: np.ndarray
    num_events: np.ndarray


def user_auc(row_T: np.ndarray, score_T: np.ndarray, label_T: np.ndarray) -> UserAuc:
    """AUC of each user's own events, ties half; users with one label only are left out.

    By mean ranks: AUC = (sum of the positives' ranks - P (P + 1) / 2) / (P N).

    Args:
        row_T: the user of each event, int from 0.
        score_T: larger for what is more likely positive.
        label_T: bool.
    Example:
        >>> found = user_auc(np.array([0, 0, 1]), np.array([0.2, 0.7, 0.5]), np.array([0, 1, 1]))
        >>> found.row.tolist(), found.auc.tolist(), found.num_events.tolist()
        ([0], [1.0], [2])
    """
    order = np.lexsort((score_T, row_T))
    row, score = row_T[order], score_T[order]
    is_new = np.ones(len(row), dtype=bool)
    is_new[1:] = (row[1:] != row[:-1]) | (score[1:] != score[:-1])
    tie = np.cumsum(is_new) - 1
    first = np.flatnonzero(is_new)
    last = np.append(first[1:], len(row)) - 1
    num_T = np.bincount(row_T)
    before_T = (np.cumsum(num_T) - num_T)[row]
    rank = (first + last)[tie] / 2 + 1 - before_T
    positive = label_T[order].astype(np.float64)
    ranks = np.bincount(row, weights=rank * positive, minlength=len(num_T))
    num_positive = np.bincount(row, weights=positive, minlength=len(num_T))
    pairs = num_positive * (num_T - num_positive)
    both = np.flatnonzero(pairs)
    won = ranks[both] - num_positive[both] * (num_positive[both] + 1) / 2
    return UserAuc(both, won / pairs[both], num_T[both])


def log_loss(probability_T: np.ndarray, label_T: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of each label, nats, float64, shape [T].

    Example:
        >>> log_loss(np.array([0.5, 0.9]), np.array([True, False])).round(4)
        array([0.6931, 2.3026])
    """
    p_T = np.clip(probability_T.astype(np.float64), _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return -np.where(label_T, np.log(p_T), np.log1p(-p_T))


def normalised_entropy(probability_T: np.ndarray, label_T: np.ndarray) -> float:
    """Mean LogLoss over the entropy of the share of positives; NaN where there is one label only.

    Example:
        >>> float(normalised_entropy(np.array([0.5, 0.5]), np.array([True, False])))
        1.0
    """
    rate = label_T.mean()
    if rate in (0.0, 1.0):
        return float("nan")
    entropy = -rate * np.log(rate) - (1 - rate) * np.log1p(-rate)
    return float(log_loss(probability_T, label_T).mean() / entropy)


def bins_of(probability_T: np.ndarray, bins: int) -> np.ndarray:
    """The bin of each event: as many events each, in the order of what was said; int64, [T].

    Events that were told the same are in one bin: cut through, they would fall into the order of
    the data, and a constant would not be calibrated.

    Example:
        >>> bins_of(np.array([0.1, 0.9, 0.5, 0.5]), 4).tolist()
        [0, 3, 1, 1]
    """
    ordered = np.sort(probability_T)
    first_T = np.searchsorted(ordered, probability_T, side="left")
    return np.asarray(first_T * bins // max(1, len(ordered)), dtype=np.int64)


def calibration_error(probability_T: np.ndarray, label_T: np.ndarray, bin_T: np.ndarray) -> float:
    """Mean distance between what is said and what happens, over bins of like probability (ECE).

    Args:
        probability_T: in [0, 1].
        label_T: bool.
        bin_T: of each event, int from 0.
    Example:
        >>> said, happened = np.array([0.1, 0.1, 0.9, 0.9]), np.array([False, False, True, False])
        >>> round(calibration_error(said, happened, bins_of(said, 2)), 3)
        0.25
    """
    excess = np.bincount(bin_T, weights=label_T - probability_T.astype(np.float64))
    return float(np.abs(excess).sum() / len(label_T))


def calibration_curve(predictions: "Predictions", bins: int) -> tuple[CalibrationBin, ...]:
    """What was said and what happened, in bins of as many events each, lowest probability first."""
    if not len(predictions):
        return ()
    bin_T = bins_of(predictions.probability_T, bins)
    events_b = np.bincount(bin_T, minlength=bins)
    said_b, happened_b = (
        np.bincount(bin_T, weights=weights, minlength=bins)
        for weights in (predictions.probability_T, predictions.label_T)
    )
    return tuple(
        CalibrationBin(said=float(said / n), happened=float(happened / n), events=int(n))
        for said, happened, n in zip(said_b, happened_b, events_b, strict=True)
        if n
    )


@dataclass(frozen=True)
class Predictions:
    """Probabilities of positive feedback beside the feedback.

    Attributes:
        user_T: number of each event's user, int64; never decreasing.
        label_T: whether the feedback was positive, bool.
        probability_T: what a model said, float64.
    """

    user_T: np.ndarray
    label_T: np.ndarray
    probability_T: np.ndarray

    def __len__(self) -> int:
        return len(self.user_T)

    def where(self, keep_T: np.ndarray) -> "Predictions":
        """The events of a mask."""
        return Predictions(self.user_T[keep_T], self.label_T[keep_T], self.probability_T[keep_T])

    @cached_property
    def row_T(self) -> np.ndarray:
        """The event's user among the users there are, from 0, int64."""
        return np.unique(self.user_T, return_inverse=True)[1]

    @property
    def num_users(self) -> int:
        """U."""
        return int(self.row_T[-1]) + 1 if len(self) else 0

    @cached_property
    def by_user(self) -> UserAuc:
        """AUC of each user with both labels."""
        return user_auc(self.row_T, self.probability_T, self.label_T)

    @cached_property
    def _weighted_gauc(self) -> tuple[np.ndarray, np.ndarray]:
        """Per user the weight times AUC, and the weight; 0 for users with one label."""
        weighted, weight = np.zeros(self.num_users), np.zeros(self.num_users)
        found = self.by_user
        weighted[found.row], weight[found.row] = found.auc * found.num_events, found.num_events
        return weighted, weight

    @cached_property
    def _log_loss(self) -> np.ndarray:
        """Mean LogLoss of each user, [U]."""
        losses = np.bincount(self.row_T, weights=log_loss(self.probability_T, self.label_T))
        return losses / np.bincount(self.row_T)

    @cached_property
    def _excess_UB(self) -> np.ndarray:
        """Positives above what was said, summed over each user's events of each bin, [U, B]."""
        cell_T = self.row_T * _BINS + bins_of(self.probability_T, _BINS)
        excess_T = self.label_T - self.probability_T.astype(np.float64)
        sums = np.bincount(cell_T, weights=excess_T, minlength=self.num_users * _BINS)
        return sums.reshape(self.num_users, _BINS)

    @property
    def _equal_width_T(self) -> np.ndarray:
        return np.minimum((self.probability_T * _BINS).astype(np.int64), _BINS - 1)

    @cached_property
    def _points(self) -> dict[str, float]:
        return {
            name: float(values[0])
            for name, values in self.replicates(np.ones((1, self.num_users))).items()
            if np.isfinite(values[0])
        }

    def points(self) -> dict[str, float]:
        """AUC, GAUC, LogLoss and ECE; those that the labels don't define are left out."""
        return self._points if len(self) else {}

    def point(self, name: str) -> float:
        """One of them."""
        return self._points[name]

    def facts(self) -> dict[str, float]:
        """What is said beside the compared metrics: calibration, and how much GAUC covers."""
        covered = float(self.by_user.num_events.sum()) / max(1, len(self))
        found = {
            "base_rate": float(self.label_T.mean()),
            "ne": normalised_entropy(self.probability_T, self.label_T),
            "ece_equal_width": calibration_error(
                self.probability_T, self.label_T, self._equal_width_T
            ),
            "copc": float(self.probability_T.sum() / max(1, self.label_T.sum())),
            "gauc_users": len(self.by_user.row),
            "gauc_covered_share": covered,
        }
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def replicates(self, counts_SU: np.ndarray) -> dict[str, np.ndarray]:
        """Each metric with user u's events counted `counts_SU[s, u]` times, each [S].

        NaN where the users drawn have not both labels. The bins of ECE are those of all events.
        """
        weighted_U, weight_U = self._weighted_gauc
        with np.errstate(invalid="ignore"):
            gauc_S = (counts_SU @ weighted_U) / (counts_SU @ weight_U)
        return {
            "auc": np.concatenate([*self._auc_replicates(counts_SU)]),
            "gauc": gauc_S,
            "logloss": (counts_SU @ self._log_loss) / counts_SU.sum(axis=1),
            "ece": np.abs(counts_SU @ self._excess_UB).sum(axis=1)
            / (counts_SU @ np.bincount(self.row_T)),
        }

    def _auc_replicates(self, counts_SU: np.ndarray) -> Iterator[np.ndarray]:
        pooled = _PooledAuc(self.probability_T, self.label_T)
        rows = max(1, _CELLS // max(1, len(self)))
        for start in range(0, len(counts_SU), rows):
            yield pooled.weighted(counts_SU[start : start + rows][:, self.row_T])
