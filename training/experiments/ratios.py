"""Metrics that are a sum over a sum, as the share of an item's pairs that agree.

U units (items), M metrics, S replicates.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa

_OVER = " of"
_DIFFERENCES = "differences"


@dataclass(frozen=True)
class Ratios:
    """Of each unit the sums whose ratio over all units is the metric.

    Attributes:
        units: their numbers, ascending, shape [U].
        names: of the metrics, M of them.
        sums_UM: above the line, float64.
        counts_UM: below it, float64.
        differences: further metrics, by name: the first of two others less the second.
    """

    units: np.ndarray
    names: tuple[str, ...]
    sums_UM: np.ndarray
    counts_UM: np.ndarray
    differences: Mapping[str, tuple[str, str]] = field(default_factory=dict)

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
        everybody = self.replicates(np.ones((1, self.num_users)))
        return {name: float(values[0]) for name, values in everybody.items()}

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
        found = dict(zip(self.names, ratios_SM.T, strict=True))
        return {
            **found,
            **{name: found[one] - found[other] for name, (one, other) in self.differences.items()},
        }

    def to_arrow(self) -> pa.Table:
        """A row per unit."""
        sums = dict(zip(self.names, self.sums_UM.T, strict=True))
        counts = {
            name + _OVER: column for name, column in zip(self.names, self.counts_UM.T, strict=True)
        }
        rows = pa.table({"unit": self.units, **sums, **counts})
        return rows.replace_schema_metadata({_DIFFERENCES: json.dumps(self.differences)})

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
            json.loads((rows.schema.metadata or {}).get(_DIFFERENCES.encode(), b"{}")),
        )
