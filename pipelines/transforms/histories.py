"""Users' histories as columns: rows of `user_sequences` without the day, and the order of ties.

`history_merge` makes them of events and of each other. Imports no Spark.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.arrow import arrow_schema
from feature_store.content_hash import row_hashes
from feature_store.tables.user_sequences import USER_SEQUENCES

Longs = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]

ROWS = pa.schema([field for field in arrow_schema(USER_SEQUENCES) if field.name != "day"])
"""What a table keeps."""
SCHEMA = ROWS.append(pa.field("tie_orders", pa.list_(pa.int64()), nullable=False))
"""What moves between tasks."""


class UnknownItems(Exception):
    """Events of items that the catalogue doesn't have."""


class HistoriesTooShort(Exception):
    """Histories that were cut to the last events no longer hold what is asked of them."""


@dataclass(frozen=True, eq=False)
class Histories:
    """Histories of U users with N events held in all.

    User u's events lie at [offsets[u], offsets[u + 1]), oldest first, ties in time by tie_order.

    Args:
        user_ids: Arrow strings, all different. Shape [U].
        offsets: from 0 to N. Shape [U + 1].
        items: item_index. Shape [N].
        strengths: -1 to 3. Shape [N].
        times: microseconds since 1970, UTC. Shape [N].
        tie_orders: rising among a user's events of the same time. Shape [N].
        num_events: events of each user in all, those that were cut included. Shape [U].
    """

    user_ids: pa.Array
    offsets: Longs
    items: Ints
    strengths: Ints
    times: Longs
    tie_orders: Longs
    num_events: Longs

    @property
    def num_held(self) -> int:
        """Events that are held, N."""
        return len(self.items)

    @classmethod
    def from_arrow(cls, rows: pa.RecordBatch) -> "Histories":
        """Histories of rows of `SCHEMA`, or of `user_sequences`, which has no tie_orders.

        There an event's place in its list is as good: events of one time are of one day, and a day
        is read from histories or from events, never in part from each.
        """
        offsets = rows["item_indices"].offsets.to_numpy().astype(np.int64)
        items, has_orders = _elements(rows["item_indices"]), "tie_orders" in rows.schema.names
        return cls(
            user_ids=rows["user_id"],
            offsets=offsets - offsets[0],
            items=items,
            strengths=_elements(rows["strengths"]),
            times=_elements(rows["event_times"]).view(np.int64),
            tie_orders=_elements(rows["tie_orders"]) if has_orders else np.arange(len(items)),
            num_events=rows["num_events"].to_numpy(),
        )

    def to_arrow(self) -> pa.RecordBatch:
        """The same as rows of `SCHEMA`, in this order of users."""
        offsets = pa.array(self.offsets.astype(np.int32))
        times = pa.array(self.times).view(pa.timestamp("us", tz="UTC"))
        lists = {
            "item_indices": self.items,
            "strengths": self.strengths,
            "event_times": times,
            "tie_orders": self.tie_orders,
        }
        columns = {
            "user_id": self.user_ids,
            "num_events": pa.array(self.num_events),
            **{
                name: pa.ListArray.from_arrays(offsets, pa.array(values), SCHEMA.field(name).type)
                for name, values in lists.items()
            },
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)

    def take(self, users: Longs) -> "Histories":
        """Histories of the users at these places, in this order."""
        counts = np.diff(self.offsets)[users]
        rows = ranges(self.offsets[users], counts)
        return Histories(
            user_ids=self.user_ids.take(pa.array(users)),
            offsets=offsets_of(counts),
            items=self.items[rows],
            strengths=self.strengths[rows],
            times=self.times[rows],
            tie_orders=self.tie_orders[rows],
            num_events=self.num_events[users],
        )

    def slice(self, start: int, stop: int) -> "Histories":
        """Histories of the users from `start` up to `stop`; shares the memory."""
        first, last = self.offsets[start], self.offsets[stop]
        return Histories(
            user_ids=self.user_ids[start:stop],
            offsets=self.offsets[start : stop + 1] - first,
            items=self.items[first:last],
            strengths=self.strengths[first:last],
            times=self.times[first:last],
            tie_orders=self.tie_orders[first:last],
            num_events=self.num_events[start:stop],
        )

    def before(self, time: int) -> "Histories":
        """The histories without the events from a time (microseconds since 1970) on.

        Users may be left with none, and with fewer events than `num_events` says and would fit:
        `require_complete` tells whether what was merged with them has made up for that.

        Raises:
            HistoriesTooShort: all that a user's cut history holds is from later on, so that how
                many events came before can't be told.
        """
        early = self.times < time
        kept_before = offsets_of(early.astype(np.int64))
        offsets = kept_before[self.offsets]
        held, kept = np.diff(self.offsets), np.diff(offsets)
        if (short := (kept == 0) & (self.num_events > held)).any():
            raise HistoriesTooShort(f"{short.sum():,} users have later events only")
        return Histories(
            user_ids=self.user_ids,
            offsets=offsets,
            items=self.items[early],
            strengths=self.strengths[early],
            times=self.times[early],
            tie_orders=self.tie_orders[early],
            num_events=self.num_events - (held - kept),
        )

    def require_complete(self, max_events: int) -> None:
        """Return if every user has as many events as there are or fit.

        Raises:
            HistoriesTooShort: some have fewer; events that an earlier cut dropped are missing.
        """
        short = np.diff(self.offsets) < np.minimum(self.num_events, max_events)
        if short.any():
            raise HistoriesTooShort(f"{short.sum():,} users lack events that were cut before")

    def split(self, buckets: int) -> list["Histories"]:
        """The histories by bucket; a user's bucket follows from its id alone."""
        ids = pa.RecordBatch.from_arrays([self.user_ids], names=["user_id"])
        bucket = (row_hashes(ids) % np.uint64(buckets)).astype(np.uint16)
        order = np.argsort(bucket, kind="stable")
        edges = np.searchsorted(bucket[order], np.arange(buckets + 1))
        sorted_by_bucket = self.take(order)
        return [sorted_by_bucket.slice(a, b) for a, b in pairwise(edges)]


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Which item_index an item_id has: `item_ids` and `item_indices` are aligned."""

    item_ids: pa.Array
    item_indices: Ints

    def indices_of(self, item_ids: pa.DictionaryArray) -> Ints:
        """item_index of each id.

        Raises:
            UnknownItems: an id isn't in the catalogue; names up to three.
        """
        places = pc.index_in(item_ids.dictionary, value_set=self.item_ids)
        used = item_ids.indices.to_numpy()
        if places.null_count:
            self._refuse_unknown(item_ids, places)
        found = self.item_indices[pc.fill_null(places, 0).to_numpy()]
        return np.asarray(found[used])

    def _refuse_unknown(self, item_ids: pa.DictionaryArray, places: pa.Array) -> None:
        # A dictionary that was read from a file may hold ids that none of these rows has.
        unknown = item_ids.filter(pc.is_null(places.take(item_ids.indices)))
        if len(unknown):
            examples = ", ".join(map(repr, pc.unique(unknown.dictionary_decode())[:3].to_pylist()))
            raise UnknownItems(
                f"interactions hold events of items that items doesn't have, e.g. {examples}; run "
                "build_items for the day, then this job again"
            )


def _elements(lists: pa.ListArray) -> npt.NDArray[Any]:
    return np.asarray(lists.flatten().to_numpy(zero_copy_only=False))


def offsets_of(counts: Longs) -> Longs:
    """Where each list of so many elements starts, and where the last one ends."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def ranges(starts: Longs, counts: Longs) -> Longs:
    """`start, start + 1, … start + count - 1` of each pair, one after the other."""
    offsets = offsets_of(counts)
    return np.repeat(starts - offsets[:-1], counts) + np.arange(offsets[-1])
