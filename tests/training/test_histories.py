from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from tests import worlds
from training.data.histories import Histories


def at(second):
    return datetime(2024, 1, 1, 0, 0, second, tzinfo=UTC)


def rows(users=("a", "b", "c"), lists=((3, 1), (), (7,)), strengths=None):
    strengths = strengths or [[1] * len(items) for items in lists]
    times = [[at(place) for place in range(len(items))] for items in lists]
    return pa.table(
        {
            "user_id": list(users),
            "item_indices": pa.array([list(items) for items in lists], pa.list_(pa.int32())),
            "strengths": pa.array(strengths, pa.list_(pa.int32())),
            "event_times": pa.array(times, pa.list_(pa.timestamp("us", "UTC"))),
            "num_events": [len(items) for items in lists],
        }
    )


def as_lists(histories):
    bounds = zip(histories.offsets[:-1], histories.offsets[1:], strict=True)
    return [histories.items[start:stop].tolist() for start, stop in bounds]


def test_rows_become_flat_arrays():
    histories = Histories.from_arrow(rows(strengths=[[-1, 3], [], [2]]))
    assert histories.user_ids.tolist() == ["a", "b", "c"]
    assert histories.offsets.tolist() == [0, 2, 2, 3]
    assert histories.items.tolist() == [3, 1, 7]
    assert histories.strengths.tolist() == [-1, 3, 2]
    assert histories.times.tolist() == [1704067200000000, 1704067201000000, 1704067200000000]
    dtypes = (histories.items.dtype, histories.strengths.dtype, histories.times.dtype)
    assert dtypes == (np.int32, np.int8, np.int64)
    assert (histories.num_users, histories.num_events) == (3, 3)


def test_the_order_and_the_chunks_of_rows_do_not_matter():
    table = rows()
    shuffled = pa.concat_tables([table.slice(2), table.slice(0, 2)])
    for given in (shuffled, shuffled.to_batches(), iter(shuffled.to_batches(max_chunksize=1))):
        histories = Histories.from_arrow(given)
        assert histories.user_ids.tolist() == ["a", "b", "c"]
        assert as_lists(histories) == [[3, 1], [], [7]]


def test_values_in_one_chunk_are_used_in_place():
    table = rows()
    values = table.column("item_indices").chunk(0).flatten()
    items = Histories.from_arrow(table).items
    assert items.ctypes.data == values.buffers()[1].address


def test_no_rows_are_no_users():
    histories = Histories.from_arrow(rows(users=(), lists=()))
    assert (histories.num_users, histories.num_events) == (0, 0)
    assert histories.before(10**18).num_users == 0


def test_a_missing_column_is_refused():
    with pytest.raises(ValueError, match=r"missing: \['strengths'\]"):
        Histories.from_arrow(rows().drop_columns(["strengths"]))


def test_lists_of_differing_length_are_refused():
    table = rows(strengths=[[1, 1], [], [1, 1]])
    with pytest.raises(ValueError, match="1 users' lists differ in length, first at row 2"):
        Histories.from_arrow(table)


def test_selections_keep_all_users():
    histories = worlds.histories_of([[4, 5, 6], [7], [], [8, 9]])
    assert as_lists(histories.before(2 * worlds.SECOND)) == [[4, 5], [7], [], [8, 9]]
    assert as_lists(histories.before(0)) == [[], [], [], []]
    assert as_lists(histories.last(1)) == [[6], [7], [], [9]]
    assert as_lists(histories.last(9)) == as_lists(histories)
    assert as_lists(histories.where(histories.items % 2 == 0)) == [[4, 6], [], [], [8]]


def test_every_event_knows_its_user_and_its_place():
    histories = worlds.histories_of([[4, 5, 6], [], [8, 9]])
    assert histories.users.tolist() == [0, 0, 0, 2, 2]
    assert histories.positions.tolist() == [0, 1, 2, 0, 1]
    assert histories.lengths.tolist() == [3, 0, 2]
