"""The one operation on histories: group events by user, keep the last ones.

Merging is associative and commutative, `last K of (last K of A ∪ last K of B) = last K of (A ∪ B)`,
because (time, tie_order, item_index, strength) orders a user's events completely: events that tie
in all four are the same. So events may be collapsed where they are read, batch by batch, and merged
after the shuffle in any grouping and any order; yesterday's rows are simply one more part. Imports
no Spark.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.transforms.histories import Catalogue, Histories, Ints, Longs, offsets_of, ranges

EVENTS_AT_ONCE = 2_000_000
"""Events that a task groups together, about 100 bytes of memory each while it does."""


def from_events(
    events: pa.Table, catalogue: Catalogue, *, max_events: int, minimum_strength: int
) -> Histories:
    """Histories of these events alone.

    Args:
        events: user_id, item_id, event_time, tie_order, strength; ids as strings or dictionaries.
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
        tie_orders=events["tie_order"].to_numpy(),
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
        tie_orders=np.concatenate([part.tie_orders for part in parts]),
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
    tie_orders: Longs,
    num_events: Longs,
    max_events: int,
) -> Histories:
    """Histories of events whose user is `user_ids[code]`; users without events are left out."""
    by_id = pc.sort_indices(user_ids).to_numpy().astype(np.int64)
    by_id = by_id[num_events[by_id] > 0]
    place = np.zeros(len(user_ids), np.int64)
    place[by_id] = np.arange(len(by_id))
    users = place[codes]
    order = _chronological(users, times, ties=(tie_orders, items, strengths))
    counts = np.bincount(users, minlength=len(by_id))
    if len(order) and counts.max() > max_events:
        kept = np.minimum(counts, max_events)
        order = order[ranges(np.cumsum(counts) - kept, kept)]
        counts = kept
    return Histories(
        user_ids=user_ids.take(pa.array(by_id)),
        offsets=offsets_of(counts),
        items=items[order],
        strengths=strengths[order],
        times=times[order],
        tie_orders=tie_orders[order],
        num_events=num_events[by_id],
    )


def _chronological(users: Longs, times: Longs, *, ties: tuple[Longs, Ints, Ints]) -> Longs:
    """Places of the events in the order of user, time, and, where they are equal, of `ties`.

    The last two of tie_order, item and strength decide where two files' rows have the same
    tie_order, once in some millions of ties: rows must not depend on who reads which file.

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
        return np.lexsort((*reversed(ties), times, users))
    key = users * span + (times - earliest)
    order = np.argsort(key, kind="stable")
    key = key[order]
    same = key[1:] == key[:-1]
    if same.any():
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        rows = order[tied]
        order[tied] = rows[np.lexsort((*(tie[rows] for tie in reversed(ties)), key[tied]))]
    return order


def _one_dictionary(values: pa.ChunkedArray) -> pa.DictionaryArray:
    """The values in one array with one dictionary."""
    if pa.types.is_dictionary(values.type):
        values = values.unify_dictionaries()
        return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
    encoded = values.combine_chunks().dictionary_encode()
    return encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
