"""Metrics that are a sum over a sum, as the share of an item's pairs that agree.

U units (items), M metrics, S replicates.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

_OVER = " of"


@dataclass(frozen=True)
class Ratios:
    """Of each unit the sums whose ratio over all units is the metric.

    Attributes:
        units: their numbers, ascending, shape [U].
        names: of the metrics, M of them.
        sums_UM: above the line, float64.
        counts_UM: below it, float64.
    """

    units: np.ndarray
    names: tuple[str, ...]
    sums_UM: np.ndarray
    counts_UM: np.ndarray

    def __len__(self) -> int:
        return len(self.units)

    @property
    def num_users(self) -> int:
        """U: what is drawn."""
        return len(self.units)

    def points(self) -> dict[str, float]:
        """Every metric of the sample itself.

        Example:
            >>> sums_UM, counts_UM = np.array([[1.0], [0.0]]), np.array([[3.0], [1.0]])
            >>> Ratios(np.arange(2), ("a",), sums_UM, counts_UM).points()
            {'a': 0.25}
        """
        ratios_M = self.sums_UM.sum(axis=0) / self.counts_UM.sum(axis=0)
        return dict(zip(self.names, ratios_M.tolist(), strict=True))

    def point(self, name: str) -> float:
        """One of them."""
        return self.points()[name]

    def facts(self) -> dict[str, float]:
        """None beside them."""
        return {}

    def replicates(self, counts_SU: np.ndarray) -> dict[str, np.ndarray]:
        """Every metric with unit u counted `counts_SU[s, u]` times, each [S]; NaN of no pair."""
        with np.errstate(invalid="ignore"):
            ratios_SM = (counts_SU @ self.sums_UM) / (counts_SU @ self.counts_UM)
        return dict(zip(self.names, ratios_SM.T, strict=True))

    def to_arrow(self) -> pa.Table:
        """A row per unit."""
        sums = dict(zip(self.names, self.sums_UM.T, strict=True))
        counts = {
            name + _OVER: column for name, column in zip(self.names, self.counts_UM.T, strict=True)
        }
        return pa.table({"unit": self.units, **sums, **counts})

    @classmethod
    def from_arrow(cls, rows: pa.Table) -> Self:
        """The sample of `to_arrow`."""
        columns = {name: rows[name].to_numpy() for name in rows.column_names}
        names = tuple(name for name in columns if name + _OVER in columns)
        return cls(
            columns["unit"],
            names,
            np.stack([columns[name] for name in names], axis=1),
            np.stack([columns[name + _OVER] for name in names], axis=1),
        )
