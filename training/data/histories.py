"""Every user's events in four flat arrays: what models are trained on and asked with.

Users are in ascending order of id, a user's events in ascending order of time (ties by item), as
in the table `user_sequences`. Selections keep all users, so that a user's number means the same
before and after; a user may therefore own no event.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.data.arrow_columns import columns_of

SECOND = 1_000_000
"""Microseconds of a second."""
DAY = 86_400 * SECOND
"""Microseconds of a day."""
COLUMNS = {
    "user_id": pa.string(),
    "item_indices": pa.list_(pa.int32()),
    "strengths": pa.list_(pa.int8()),
    "event_times": pa.list_(pa.timestamp("us", tz="UTC")),
}
"""What `from_arrow` reads, and the types it reads them as."""


@dataclass(frozen=True)
class Histories:
    """U users and their N events; user u owns events `offsets[u]` to `offsets[u + 1]`.

    Attributes:
        user_ids: the source's own ids, ascending, shape [U].
        offsets: int64, never decreasing, shape [U + 1].
        items: item_index of each event, int32, shape [N].
        strengths: ordinal feedback from -1 to 3, int8, shape [N].
        times: microseconds since 1970 (UTC), never decreasing within a user, int64, shape [N].
    """

    user_ids: np.ndarray
    offsets: np.ndarray
    items: np.ndarray
    strengths: np.ndarray
    times: np.ndarray

    @classmethod
    def from_arrow(cls, rows: pa.Table | Iterable[pa.RecordBatch]) -> "Histories":
        """Histories from rows of `user_sequences`, without a loop over rows.

        Value buffers are used in place where Arrow holds them in one chunk and in our types.

        Args:
            rows: a table, or batches, with at least the columns of `COLUMNS`.
        Raises:
            ValueError: a column is missing, or the lists of a user differ in length.
        """
        table = columns_of(rows, COLUMNS, "histories")
        table = _by_user_id(table).combine_chunks()
        lists = {name: _one_array(table.column(name)) for name in list(COLUMNS)[1:]}
        offsets = _same_offsets(lists)
        return cls(
            user_ids=table.column("user_id").to_numpy(),
            offsets=offsets,
            items=lists["item_indices"].flatten().to_numpy(),
            strengths=lists["strengths"].flatten().to_numpy(),
            times=lists["event_times"].flatten().cast(pa.int64()).to_numpy(),
        )

    @property
    def num_users(self) -> int:
        """U, users without events included."""
        return len(self.offsets) - 1

    @property
    def first_time(self) -> int | None:
        """Microseconds of the first event of all; None where there is none."""
        return int(self.times.min()) if self.num_events else None

    @property
    def num_events(self) -> int:
        """N."""
        return len(self.items)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Events of each user, int64, shape [U]."""
        return np.diff(self.offsets)

    @cached_property
    def users(self) -> np.ndarray:
        """The number of the user who owns each event, int64, shape [N]."""
        return np.repeat(np.arange(self.num_users), self.lengths)

    @cached_property
    def positions(self) -> np.ndarray:
        """Place of each event in its user's history, from 0, int64, shape [N]."""
        places: np.ndarray = np.arange(self.num_events) - np.repeat(self.offsets[:-1], self.lengths)
        return places

    def where(self, keep: np.ndarray) -> "Histories":
        """All users with only the events marked in `keep` (bool, shape [N])."""
        kept_before = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])
        return Histories(
            user_ids=self.user_ids,
            offsets=kept_before[self.offsets],
            items=self.items[keep],
            strengths=self.strengths[keep],
            times=self.times[keep],
        )

    def before(self, time: int) -> "Histories":
        """All users with only the events before `time` (microseconds, exclusive)."""
        return self.where(self.times < time)

    def last(self, count: int) -> "Histories":
        """All users with only their `count` most recent events."""
        return self.where(self.positions >= np.repeat(self.lengths - count, self.lengths))


def _by_user_id(table: pa.Table) -> pa.Table:
    ids = table.column("user_id").combine_chunks()
    is_sorted = len(ids) < 2 or pc.all(pc.less_equal(ids[:-1], ids[1:])).as_py()
    return table if is_sorted else table.sort_by("user_id")


def _one_array(column: pa.ChunkedArray) -> pa.ListArray:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _same_offsets(lists: dict[str, pa.ListArray]) -> np.ndarray:
    lengths = {
        name: pc.fill_null(pc.list_value_length(array), 0).to_numpy()
        for name, array in lists.items()
    }
    first, *others = lengths.values()
    differing = np.flatnonzero(np.any([first != other for other in others], axis=0))
    if len(differing):
        row = int(differing[0])
        found = {name: int(of_rows[row]) for name, of_rows in lengths.items()}
        raise ValueError(
            f"{len(differing)} users' lists differ in length, first at row {row}: {found};"
            " every event needs an item, a strength and a time"
        )
    return np.concatenate([[0], np.cumsum(first, dtype=np.int64)])
