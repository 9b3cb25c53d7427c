"""Which items the catalogue held on a day, in Spark's Python workers.

Arrays: N items.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_store.storage import Folder
from pipelines.transforms.ragged import Flags, Longs, longs

ITEMS_AT_ONCE = 8_192
_EVER = np.iinfo(np.int32).min
_FOR_EVER = np.iinfo(np.int32).max


@dataclass(frozen=True)
class TableFiles:
    """Parquet files of one table, and the folder that opens them."""

    folder: Folder
    uris: tuple[str, ...]

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Rows of all files, some at a time."""
        for uri in self.uris:
            path = self.folder.path_of(uri)
            with pq.ParquetFile(path, filesystem=self.folder.filesystem) as file:
                yield from file.iter_batches(rows, columns=list(columns), use_threads=False)


def columns_of(items: TableFiles, *names: str) -> list[Longs]:
    """Columns of `items`, days as days since 1970; a null day is one that never comes."""
    read = list(items.batches(names, ITEMS_AT_ONCE))
    return [
        np.concatenate([np.zeros(0, np.int64), *(_filled(batch[name]) for batch in read)])
        for name in names
    ]


def since(first_days_N: Longs) -> Longs:
    """The day since which each item counts: its first_day, or ever for the first delivery's.

    Nobody knows since when the items of the first delivery had been there.
    """
    first = first_days_N.min(initial=_FOR_EVER)
    return np.where(first_days_N == first, _EVER, first_days_N)


@dataclass(frozen=True)
class ListedItems:
    """The catalogue as it was known day by day.

    Args:
        items_N: item indices, by the day since which each counts, then by index.
        since_N: that day, since 1970.
        until_N: the last day whose catalogue listed the item.
    """

    items_N: Longs
    since_N: Longs
    until_N: Longs

    @classmethod
    def read(cls, items: TableFiles) -> "ListedItems":
        """From the files of `items`."""
        items_N, first_N, until_N = columns_of(items, "item_index", "first_day", "last_listed_day")
        since_N = since(first_N)
        order = np.lexsort((items_N, since_N))
        return cls(items_N[order], since_N[order], until_N[order])

    def version(self, day: int) -> tuple[int, int]:
        """Items that had come by a day, and that had gone: days with equal counts list the same."""
        return self._arrived(day), int(np.searchsorted(self._gone_N, day))

    def on(self, day: int) -> Longs:
        """Item indices that the catalogue held on a day, in an order that later items don't change.

        Example:
            >>> items = ListedItems(np.array([4, 7, 5]), np.array([0, 0, 9]), np.array([99, 9, 99]))
            >>> items.on(9).tolist(), items.on(10).tolist()
            ([4, 7, 5], [4, 5])
        """
        arrived = self._arrived(day)
        listed: Longs = self.items_N[:arrived][self.until_N[:arrived] >= day]
        return listed

    def hold(self, items_W: Longs, day_W: Longs) -> Flags:
        """Whether the catalogue held some items, each on a day of its own.

        Example:
            >>> items = ListedItems(np.array([1, 0]), np.array([0, 9]), np.array([99, 9]))
            >>> items.hold(np.array([0, 0, 1, 2]), np.array([8, 9, 8, 8])).tolist()
            [False, True, True, False]
        """
        since_N, until_N = self._by_index
        known_W = (items_W >= 0) & (items_W < len(since_N))
        place_W = np.where(known_W, items_W, 0)
        held_W: Flags = known_W & (since_N[place_W] <= day_W) & (until_N[place_W] >= day_W)
        return held_W

    @cached_property
    def _by_index(self) -> tuple[Longs, Longs]:
        """First and last day by item_index; an index that is no item's never comes."""
        since_N = np.full(int(self.items_N.max(initial=0)) + 1, _FOR_EVER, np.int64)
        until_N = np.full(len(since_N), _EVER, np.int64)
        since_N[self.items_N], until_N[self.items_N] = self.since_N, self.until_N
        return since_N, until_N

    def _arrived(self, day: int) -> int:
        return int(np.searchsorted(self.since_N, day, side="right"))

    @cached_property
    def _gone_N(self) -> Longs:
        return np.sort(self.until_N)


def _filled(column: pa.Array) -> Longs:
    numbers = column.cast(pa.int32())
    return longs(numbers.fill_null(_FOR_EVER) if numbers.null_count else numbers)
