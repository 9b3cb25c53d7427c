"""What the bootstrap draws from: values of users, of which any statistic can be taken anew.

A sample is one entrant's answers on one slice. Lists and slates give means over a user's targets;
feedback is a sample of its own (`training.evaluation.ranking.Predictions`), whose AUC is no mean.

T targets, U users, M metrics, S replicates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa


class Sample(Protocol):
    """One entrant's answers on one slice."""

    def __len__(self) -> int:
        """Targets."""
        ...

    @property
    def num_users(self) -> int:
        """U."""
        ...

    def points(self) -> dict[str, float]:
        """Every metric of the sample itself, those that it does not define left out."""
        ...

    def point(self, name: str) -> float:
        """One metric of the sample, as it is compared."""
        ...

    def facts(self) -> dict[str, float]:
        """Numbers beside the metrics that are not compared."""
        ...

    def replicates(self, counts_SU: np.ndarray) -> dict[str, np.ndarray]:
        """Every metric with user u counted `counts_SU[s, u]` times, each [S]; NaN if undefined."""
        ...


@dataclass(frozen=True)
class UserMetrics:
    """Means per user.

    Attributes:
        users: numbers of the users with a target, ascending, shape [U].
        num_targets: targets averaged, shape [U].
        names: metric names, M of them.
        values_UM: float64.
    """

    users: np.ndarray
    num_targets: np.ndarray
    names: tuple[str, ...]
    values_UM: np.ndarray

    def __len__(self) -> int:
        return int(self.num_targets.sum())

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.users)

    def points(self) -> dict[str, float]:
        """Mean over users of each metric; empty without users."""
        if not len(self.users):
            return {}
        return dict(zip(self.names, self.values_UM.mean(axis=0).tolist(), strict=True))

    def point(self, name: str) -> float:
        """Mean over users of one metric, summed along its column.

        `points` sums all columns row by row: the two may differ in the last digit.
        """
        return float(self.values_UM[:, self.names.index(name)].mean())

    def facts(self) -> dict[str, float]:
        """None: means say all."""
        return {}

    def replicates(self, counts_SU: np.ndarray) -> dict[str, np.ndarray]:
        """Means over the users drawn."""
        means_SM = counts_SU @ self.values_UM / self.num_users
        return dict(zip(self.names, means_SM.T, strict=True))


class UserMeans:
    """Averages target metrics within each user, one metric at a time.

    Args:
        user_T: number of each target's user.
        mask_T: the targets that count; None: all of them.
    """

    def __init__(self, user_T: np.ndarray, mask_T: np.ndarray | None = None) -> None:
        self._mask_T = np.ones(len(user_T), dtype=bool) if mask_T is None else mask_T
        self._users, self._row_T, self._counts = np.unique(
            user_T[self._mask_T], return_inverse=True, return_counts=True
        )
        self._columns: dict[str, np.ndarray] = {}

    def add(self, name: str, values_T: np.ndarray) -> None:
        """Average one metric's values, of all targets, within users."""
        weights = values_T[self._mask_T]
        sums_U = np.bincount(self._row_T, weights=weights, minlength=len(self._users))
        self._columns[name] = sums_U / self._counts

    def result(self) -> UserMetrics:
        """The means of every metric added."""
        values_UM = np.stack(list(self._columns.values()), axis=1)
        return UserMetrics(self._users, self._counts, tuple(self._columns), values_UM)


def user_rows(by_slice: Mapping[str, UserMetrics], user_ids: np.ndarray) -> pa.Table:
    """One row per slice and user: number of targets and the mean of every metric."""
    parts = []
    for name, metrics in by_slice.items():
        columns = {
            "slice": pa.array([name] * metrics.num_users, pa.string()),
            "user_id": pa.array(user_ids[metrics.users], pa.string()),
            "num_targets": metrics.num_targets,
            **dict(zip(metrics.names, metrics.values_UM.T, strict=True)),
        }
        parts.append(pa.table(columns))
    return pa.concat_tables(parts)
