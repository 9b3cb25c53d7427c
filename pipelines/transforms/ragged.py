"""Lists of many rows, end to end in one array, and what NumPy does with them without a loop.

Arrays: R rows, V values of all rows; Q rows and W values of what is taken from them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

Longs = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Numbers = np.ndarray[Any, Any]


def longs(column: pa.Array) -> Longs:
    """A column of whole numbers or days without nulls."""
    numbers: Longs = column.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


@dataclass(frozen=True)
class Layout:
    """Which of the values lie in which row: row after row, `lengths_R` in each."""

    lengths_R: Longs

    @classmethod
    def of(cls, rows_V: Longs, num_rows: int) -> "Layout":
        """The layout of values that lie in these rows, ascending."""
        return cls(np.bincount(rows_V, minlength=num_rows))

    @cached_property
    def starts_R(self) -> Longs:
        """The place of each row's first value."""
        return np.cumsum(self.lengths_R) - self.lengths_R

    @cached_property
    def rows_V(self) -> Longs:
        """The row of each value."""
        return np.repeat(np.arange(len(self.lengths_R)), self.lengths_R)

    @cached_property
    def places_V(self) -> Longs:
        """The place of each value in its row."""
        return np.arange(len(self.rows_V)) - self.starts_R[self.rows_V]

    def taken(self, rows_Q: Longs) -> tuple["Layout", Longs]:
        """Some rows, any of them as often as wanted, and where each of their values comes from."""
        layout = Layout(self.lengths_R[rows_Q])
        return layout, np.repeat(self.starts_R[rows_Q], layout.lengths_R) + layout.places_V

    def kept(self, keep_V: Flags) -> "Layout":
        """The same rows with some of their values."""
        return Layout.of(self.rows_V[keep_V], len(self.lengths_R))

    def order(self, *keys_V: Numbers) -> Longs:
        """The values sorted within their rows by the first key, then by the next ones; stable."""
        return np.lexsort((*reversed(keys_V), self.rows_V))

    def order_by(self, key_V: Longs, *, bits: int) -> Longs:
        """As `order`, faster, for keys from 0 to 2^bits - 1 that a row has once each."""
        return np.argsort(self.rows_V << bits | key_V)

    def all(self, flags_V: Flags) -> Flags:
        """Whether a row's values all have the flag."""
        found: Flags = self.kept(~flags_V).lengths_R == 0
        return found

    def lists(self, values_V: Numbers, *, null_R: Flags | None = None) -> pa.ListArray:
        """Arrow's lists of int32; those of `null_R` are null."""
        offsets = np.append(self.starts_R, len(values_V)).astype(np.int32)
        mask = None if null_R is None else pa.array(null_R)
        return pa.ListArray.from_arrays(offsets, values_V.astype(np.int32), mask=mask)
