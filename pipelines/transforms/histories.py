"""Users' histories as columns, and the one operation on them: group events, keep the last ones.

`Histories` are rows of `user_sequences` without the day. Merging is associative and commutative,
`last K of (last K of A ∪ last K of B) = last K of (A ∪ B)`, because (time, item_index, strength)
orders a user's events completely: events that tie in all three are the same. So events may be
collapsed where they are read, batch by batch, and merged after the shuffle in any grouping and
any order; yesterday's rows are simply one more part. Imports no Spark.
"""

from collections.abc import Iterable, Iterator, Sequence
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

SCHEMA = pa.schema([field for field in arrow_schema(USER_SEQUENCES) if field.name != "day"])
EVENTS_AT_ONCE = 2_000_000
"""Events that a task groups together, about 100 bytes of memory each while it does."""


class UnknownItems(Exception):
    """Events of items that the catalogue doesn't have."""


class HistoriesTooShort(Exception):
    """Histories that were cut to the last events no longer hold what is asked of them."""


@dataclass(frozen=True, eq=False)
class Histories:
    """Histories of U users with N events held in all.

    User u's events lie at [offsets[u], offsets[u + 1]), oldest first, ties in time by item, then
    by strength.

    Args:
        user_ids: Arrow strings, all different. Shape [U].
        offsets: from 0 to N. Shape [U + 1].
        items: item_index. Shape [N].
        strengths: -1 to 3. Shape [N].
        times: microseconds since 1970, UTC. Shape [N].
        num_events: events of each user in all, those that were cut included. Shape [U].
    """

    user_ids: pa.Array
    offsets: Longs
    items: Ints
    strengths: Ints
    times: Longs
    num_events: Longs

    @property
    def num_held(self) -> int:
        """Events that are held, N."""
        return len(self.items)

    @classmethod
    def from_arrow(cls, rows: pa.RecordBatch) -> "Histories":
        """Histories of rows of `user_sequences`; other columns are not looked at."""
        offsets = rows["item_indices"].offsets.to_numpy().astype(np.int64)
        return cls(
            user_ids=rows["user_id"],
            offsets=offsets - offsets[0],
            items=_elements(rows["item_indices"]),
            strengths=_elements(rows["strengths"]),
            times=_elements(rows["event_times"]).view(np.int64),
            num_events=rows["num_events"].to_numpy(),
        )

    def to_arrow(self) -> pa.RecordBatch:
        """The same as rows of `user_sequences` without the day, in this order of users."""
        offsets = pa.array(self.offsets.astype(np.int32))
        times = pa.array(self.times).view(pa.timestamp("us", tz="UTC"))
        lists = {"item_indices": self.items, "strengths": self.strengths, "event_times": times}
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
        rows = _ranges(self.offsets[users], counts)
        return Histories(
            user_ids=self.user_ids.take(pa.array(users)),
            offsets=_offsets(counts),
            items=self.items[rows],
            strengths=self.strengths[rows],
            times=self.times[rows],
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
        kept_before = _offsets(early.astype(np.int64))
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


def from_events(
    events: pa.Table, catalogue: Catalogue, *, max_events: int, minimum_strength: int
) -> Histories:
    """Histories of these events alone.

    Args:
        events: user_id, item_id, event_time, strength; ids as strings or dictionaries.
        catalogue: item_id → item_index.
        max_events: events kept per user.
        minimum_strength: events below are left out, also from `num_events`.

    Raises:
        UnknownItems: an event's item isn't in the catalogue.
    """
    if minimum_strength > -1:
        events = events.filter(pc.greater_equal(events["strength"], minimum_strength))
    users = _one_dictionary(events["user_id"])
    codes = users.indices.to_numpy()
    return _group(
        users.dictionary,
        codes,
        items=catalogue.indices_of(_one_dictionary(events["item_id"])),
        strengths=events["strength"].to_numpy(),
        times=events["event_time"].to_numpy().view(np.int64),
        num_events=np.bincount(codes, minlength=len(users.dictionary)),
        max_events=max_events,
    )


def merge(parts: Sequence[Histories], *, max_events: int) -> Histories:
    """Histories of everyone in the parts, each with the last events of all its parts.

    Users come out in the order of user_id (by its UTF-8 bytes), whatever the order of the parts.
    """
    users = pa.chunked_array([part.user_ids for part in parts], pa.string())
    encoded = _one_dictionary(users)
    codes = encoded.indices.to_numpy()
    num_events = np.zeros(len(encoded.dictionary), np.int64)
    np.add.at(num_events, codes, np.concatenate([part.num_events for part in parts]))
    held = np.concatenate([np.diff(part.offsets) for part in parts])
    return _group(
        encoded.dictionary,
        np.repeat(codes, held),
        items=np.concatenate([part.items for part in parts]),
        strengths=np.concatenate([part.strengths for part in parts]),
        times=np.concatenate([part.times for part in parts]),
        num_events=num_events,
        max_events=max_events,
    )


def merge_stream(
    parts: Iterable[Histories], *, max_events: int, events_at_once: int = EVENTS_AT_ONCE
) -> Iterator[Histories]:
    """`merge` of parts that needn't fit into memory together; one result, or none without parts.

    Parts are held until they have `events_at_once` events, then merged into one, which is cut.
    The limit doubles with what is left, so every event is merged a constant number of times; at
    most `max(events_at_once, 2 × users × max_events)` events and one part are held, however many
    events a user has.
    """
    held: list[Histories] = []
    num_held, limit = 0, events_at_once
    for part in parts:
        held.append(part)
        num_held += part.num_held
        if num_held >= limit:
            held = [merge(held, max_events=max_events)]
            num_held = held[0].num_held
            limit = max(events_at_once, 2 * num_held)
    if held:
        yield merge(held, max_events=max_events)


def _group(
    user_ids: pa.Array,
    codes: npt.NDArray[np.integer],
    *,
    items: Ints,
    strengths: Ints,
    times: Longs,
    num_events: Longs,
    max_events: int,
) -> Histories:
    """Histories of events whose user is `user_ids[code]`; users without events are left out."""
    by_id = pc.sort_indices(user_ids).to_numpy().astype(np.int64)
    by_id = by_id[num_events[by_id] > 0]
    place = np.zeros(len(user_ids), np.int64)
    place[by_id] = np.arange(len(by_id))
    users = place[codes]
    order = _chronological(users, times, items, strengths)
    counts = np.bincount(users, minlength=len(by_id))
    if len(order) and counts.max() > max_events:
        kept = np.minimum(counts, max_events)
        order = order[_ranges(np.cumsum(counts) - kept, kept)]
        counts = kept
    return Histories(
        user_ids=user_ids.take(pa.array(by_id)),
        offsets=_offsets(counts),
        items=items[order],
        strengths=strengths[order],
        times=times[order],
        num_events=num_events[by_id],
    )


def _chronological(users: Longs, times: Longs, items: Ints, strengths: Ints) -> Longs:
    """Places of the events in the order of user, time, item, strength.

    User and time are packed into one integer and sorted stably: numpy's stable sort runs through
    input that is sorted already, or made of a few sorted runs, in little more than one pass, and
    that is what the files of `interactions` and the parts of a merge are. Ties are rare and
    sorted on their own.
    """
    if not len(users):
        return np.zeros(0, np.int64)
    earliest = times.min()
    span = int(times.max()) - int(earliest) + 1
    if (int(users.max()) + 1) * span > np.iinfo(np.int64).max:
        return np.lexsort((strengths, items, times, users))
    key = users * span + (times - earliest)
    order = np.argsort(key, kind="stable")
    key = key[order]
    same = key[1:] == key[:-1]
    if same.any():
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        rows = order[tied]
        order[tied] = rows[np.lexsort((strengths[rows], items[rows], key[tied]))]
    return order


def _one_dictionary(values: pa.ChunkedArray) -> pa.DictionaryArray:
    """The values in one array with one dictionary."""
    if pa.types.is_dictionary(values.type):
        values = values.unify_dictionaries()
        return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
    encoded = values.combine_chunks().dictionary_encode()
    return encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded


def _elements(lists: pa.ListArray) -> npt.NDArray[Any]:
    return np.asarray(lists.flatten().to_numpy(zero_copy_only=False))


def _offsets(counts: Longs) -> Longs:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _ranges(starts: Longs, counts: Longs) -> Longs:
    """`start, start + 1, … start + count - 1` of each pair, one after the other."""
    offsets = _offsets(counts)
    return np.repeat(starts - offsets[:-1], counts) + np.arange(offsets[-1])
