"""Grouping events into histories, and merging histories, without Spark."""

import random
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from pipelines.transforms import history_merge as module
from pipelines.transforms.histories import (
    ROWS,
    SCHEMA,
    Histories,
    HistoriesTooShort,
    UnknownItems,
)
from pipelines.transforms.history_merge import from_events, merge, merge_stream
from tests.pipelines.sequence_world import (
    CATALOGUE,
    INDEX,
    as_dict,
    at,
    event_table,
    expected,
    random_events,
    tie_order,
)


def collapse(rows, *, max_events=1000, minimum_strength=-1):
    return from_events(
        event_table(rows), CATALOGUE, max_events=max_events, minimum_strength=minimum_strength
    )


def test_a_history_is_oldest_first_with_ties_as_the_source_had_them():
    rows = [
        ("b", "i3", at(2), 1),
        ("a", "i1", at(1, 5), 2),
        ("a", "i2", at(1, 5), 0),  # same second
        ("a", "i7", at(1, 1), 3),
        ("a", "i1", at(1, 5), -1),  # same second and item
    ]
    events = event_table(rows)
    for orders in ([9, 3, 1, 8, 2], [9, 1, 3, 8, 2]):
        place = events.column_names.index("tie_order")
        placed = events.set_column(place, "tie_order", pa.array(orders))
        found = from_events(placed, CATALOGUE, max_events=9, minimum_strength=-1)
        in_turn = [rows[n] for n in (3, *sorted((1, 2, 4), key=orders.__getitem__))]
        assert as_dict(found.to_arrow()) == {
            "a": (
                [INDEX[row[1]] for row in in_turn],
                [row[3] for row in in_turn],
                [at(1, 1), at(1, 5), at(1, 5), at(1, 5)],
                4,
            ),
            "b": ([INDEX["i3"]], [1], [at(2)], 1),
        }


def test_events_that_all_have_one_time_are_cut_and_merged_in_the_order_of_the_source():
    rows = [("a", f"i{number}", at(1), 1) for number in range(30)] + [("b", "i1", at(1), 1)]
    parts = [collapse(rows[start::3], max_events=7) for start in range(3)]
    assert as_dict(merge(parts, max_events=7).to_arrow()) == expected(rows, max_events=7)


def test_rows_of_the_table_keep_their_order_of_ties_when_later_days_are_merged_with_them():
    rows = random_events(300, users=5, seed=4, days=6, seconds=2)
    table = collapse([row for row in rows if row[2] < at(4)]).to_arrow().select(ROWS.names)
    later = collapse([row for row in rows if row[2] >= at(4)])
    merged = merge([later, Histories.from_arrow(table)], max_events=1000)
    assert as_dict(merged.to_arrow()) == expected(rows)


def test_only_the_last_events_stay_and_all_are_counted():
    rows = [("a", f"i{day}", at(day), 1) for day in range(1, 9)] + [("b", "i1", at(1), 1)]
    kept = as_dict(collapse(rows, max_events=3).to_arrow())
    assert kept["a"] == ([INDEX[f"i{day}"] for day in (6, 7, 8)], [1] * 3, [at(6), at(7), at(8)], 8)
    assert kept["b"] == ([INDEX["i1"]], [1], [at(1)], 1)


def test_events_below_the_minimum_strength_are_not_even_counted():
    rows = [("a", "i1", at(1), 0), ("a", "i2", at(2), 2), ("b", "i1", at(1), 1)]
    assert as_dict(collapse(rows, minimum_strength=2).to_arrow()) == {
        "a": ([INDEX["i2"]], [2], [at(2)], 1)
    }


def test_no_events_give_no_rows_of_the_right_schema():
    empty = collapse([]).to_arrow()
    assert (empty.num_rows, empty.schema) == (0, SCHEMA)
    assert [part.num_held for part in collapse([]).split(3)] == [0, 0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_merging_any_parts_in_any_order_equals_the_slow_reference(seed):
    rows = random_events(400, users=12, seed=seed)
    draw = random.Random(seed)
    draw.shuffle(rows)
    edges = [0, *sorted(draw.sample(range(400), 5)), 400]
    parts = [collapse(rows[a:b], max_events=17) for a, b in pairwise(edges)]
    draw.shuffle(parts)
    nested = merge([merge(parts[:3], max_events=17), *parts[3:]], max_events=17)
    assert as_dict(nested.to_arrow()) == expected(rows, max_events=17)
    assert as_dict(merge(parts, max_events=17).to_arrow()) == expected(rows, max_events=17)


def test_histories_cut_by_strength_and_number_equal_the_slow_reference():
    rows = random_events(300, users=6, seed=9)
    found = collapse(rows, max_events=9, minimum_strength=1)
    assert as_dict(found.to_arrow()) == expected(rows, max_events=9, minimum_strength=1)


def test_times_too_far_apart_to_be_packed_with_the_user_are_sorted_all_the_same():
    far = 2**62
    rows = [("a", "i1", far, 1), ("b", "i1", far, 1), ("a", "i2", 0, 1), ("b", "i3", far, 2)]
    found = collapse(rows)
    assert found.user_ids.to_pylist() == ["a", "b"]
    assert found.times.tolist() == [0, far, far, far]
    tied = sorted((rows[1], rows[3]), key=tie_order)
    assert found.items.tolist() == [INDEX[row[1]] for row in (rows[2], rows[0], *tied)]


def test_ids_read_as_dictionaries_with_unused_and_repeated_values_give_the_same():
    rows = random_events(60, users=5, seed=1)
    plain = event_table(rows)
    encoded = plain.slice(20)
    for name in ("user_id", "item_id"):
        values = plain[name].combine_chunks().dictionary_encode()
        other = pa.array([*values.dictionary.to_pylist()[::-1], "never used"])
        codes = pa.array([other.index(value).as_py() for value in values], pa.int32())
        column = pa.chunked_array(
            [
                pa.DictionaryArray.from_arrays(codes, other)[20:40],
                values[40:],
            ]
        )
        encoded = encoded.set_column(encoded.column_names.index(name), name, column)
    found = from_events(encoded, CATALOGUE, max_events=5, minimum_strength=-1)
    assert as_dict(found.to_arrow()) == expected(rows[20:], max_events=5)


def test_an_item_that_the_catalogue_lacks_is_named():
    with pytest.raises(UnknownItems, match=r"items doesn't have, e\.g\. 'i99'; run build_items"):
        collapse([("a", "i1", at(1), 1), ("a", "i99", at(2), 1)])


def test_rows_survive_the_way_through_arrow_also_from_a_slice():
    found = collapse(random_events(100, users=7, seed=3), max_events=8)
    rows = found.to_arrow()
    again = Histories.from_arrow(rows.slice(2, 3)).to_arrow()
    assert again.equals(rows.slice(2, 3))
    assert Histories.from_arrow(rows).slice(2, 5).to_arrow().equals(rows.slice(2, 3))


def test_buckets_hold_every_user_once_wherever_the_user_was_read():
    first, second = (collapse(random_events(200, users=30, seed=seed)).split(4) for seed in (1, 2))
    bucket_of = [
        {user: number for number, part in enumerate(parts) for user in part.user_ids.to_pylist()}
        for parts in (first, second)
    ]
    shared = bucket_of[0].keys() & bucket_of[1].keys()
    assert len(shared) > 10 and all(bucket_of[0][user] == bucket_of[1][user] for user in shared)
    together = pa.Table.from_batches([part.to_arrow() for part in first])
    assert as_dict(together.sort_by("user_id")) == as_dict(
        collapse(random_events(200, users=30, seed=1)).to_arrow()
    )


def test_a_user_with_a_million_events_never_holds_more_than_the_bound(monkeypatch):
    """200 parts of 5,000 events, of which 100 are kept; and twenty users beside."""
    held = []
    real = module.merge

    def spying(parts, *, max_events):
        held.append(sum(part.num_held for part in parts))
        return real(parts, max_events=max_events)

    monkeypatch.setattr(module, "merge", spying)

    def parts():
        for number in range(200):
            times = np.arange(5_000, dtype=np.int64) + number * 5_000
            users = np.where(np.arange(5_000) % 100, 20, np.arange(5_000) // 100 % 20)
            yield from_events(
                pa.table(
                    {
                        "user_id": pa.array([f"u{user:02d}" for user in range(21)]).take(
                            pa.array(users)
                        ),
                        "item_id": pa.array(["i5"] * 5_000),
                        "event_time": pa.array(times, pa.timestamp("us", tz="UTC")),
                        "tie_order": pa.array(np.zeros(5_000, np.int64)),
                        "strength": pa.array(np.ones(5_000, np.int32)),
                    }
                ),
                CATALOGUE,
                max_events=5_000,  # not cut before the merge: the merge alone must hold the bound
                minimum_strength=-1,
            )

    (merged,) = merge_stream(parts(), max_events=100, events_at_once=10_000)
    assert max(held) <= 10_000 + 5_000
    assert merged.num_events.sum() == 1_000_000
    assert np.diff(merged.offsets).tolist() == [100] * 21
    assert merged.times[-1] == 999_999


def test_a_stream_of_many_small_users_is_merged_a_bounded_number_of_times(monkeypatch):
    """What can't be cut must not be merged again and again."""
    merged_events = []
    real = module.merge

    def spying(parts, *, max_events):
        merged_events.append(sum(part.num_held for part in parts))
        return real(parts, max_events=max_events)

    monkeypatch.setattr(module, "merge", spying)
    parts = (
        collapse([(f"u{number}", "i1", at(1), 1) for number in range(start, start + 10)])
        for start in range(0, 2_000, 10)
    )
    (found,) = merge_stream(parts, max_events=5, events_at_once=50)
    assert len(found.user_ids) == 2_000
    assert sum(merged_events) <= 4 * 2_000


def test_a_stream_without_parts_gives_nothing():
    assert list(merge_stream([], max_events=5)) == []


@pytest.mark.parametrize("seed", range(5))
def test_histories_before_a_time_and_the_events_from_there_on_give_what_all_events_give(seed):
    rows = random_events(200, users=9, seed=seed, days=6)
    earlier = collapse(rows).before(int(at(4)))
    assert as_dict(earlier.to_arrow()) == expected([row for row in rows if row[2] < at(4)]) | {
        user: ([], [], [], 0)
        for user in {row[0] for row in rows if row[2] >= at(4)}
        - {row[0] for row in rows if row[2] < at(4)}
    }
    later = collapse([row for row in rows if row[2] >= at(4)])
    whole = merge([earlier, later], max_events=1000)
    whole.require_complete(1000)
    assert as_dict(whole.to_arrow()) == expected(rows)


def test_histories_that_an_earlier_cut_made_too_short_are_refused():
    rows = [("a", "i1", at(day), 1) for day in range(1, 7)]
    with pytest.raises(HistoriesTooShort, match="1 users have later events only"):
        collapse(rows, max_events=2).before(int(at(5)))
    shorter = collapse(rows, max_events=3).before(int(at(5)))
    assert shorter.num_events.tolist() == [4]
    with pytest.raises(HistoriesTooShort, match="1 users lack events that were cut before"):
        merge([shorter], max_events=3).require_complete(3)
    merge([shorter, collapse(rows[4:])], max_events=3).require_complete(3)
