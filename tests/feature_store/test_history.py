import datetime as dt

import pytest

from feature_store.errors import SnapshotNotFound, TableDamaged, TableNotFound

DAY_1, DAY_2, DAY_3 = (dt.date(1998, 4, day) for day in (15, 16, 17))


def test_history_is_newest_first_with_tags_where_they_are(shelf):
    ids = [shelf.publish(day, "a").snapshot_id for day in (DAY_1, DAY_2)]
    ids.append(shelf.publish(DAY_1, "b").snapshot_id)
    found = shelf.store.history("clicks")
    assert [info.snapshot_id for info in found] == ids[::-1]
    assert [info.parent_id for info in found] == [ids[1], ids[0], None]
    assert [info.tags for info in found] == [("1998-04-15",), ("1998-04-16",), ()]
    assert [info.is_current for info in found] == [True, False, False]
    assert found[0].committed_at >= found[2].committed_at
    assert found[0].to_json()["snapshot_id"] == str(ids[2])
    assert found[2].to_json()["parent_id"] is None


def test_describe_tells_any_version(shelf):
    first = shelf.publish(DAY_1, "a").snapshot_id
    shelf.publish(DAY_2, "b")
    info = shelf.store.describe("clicks", DAY_1)
    assert (info.snapshot_id, info.rows, info.is_current, info.is_ancestor) == (
        first,
        1,
        False,
        True,
    )
    assert shelf.store.tables() == ["clicks"]


def test_diff_counts_rows_as_multisets_and_reads_only_what_differs(shelf):
    shelf.publish(DAY_1, "a", "b", "c")
    before = shelf.publish(DAY_2, "same").snapshot_id
    after = shelf.publish(DAY_1, "a", "b", "d", "e").snapshot_id
    found = shelf.store.diff("clicks", before, after)
    [change] = found.partitions
    assert (change.partition, change.rows_before, change.rows_after) == (DAY_1, 3, 4)
    assert (change.rows_added, change.rows_removed) == (2, 1)
    assert (change.files_added, change.files_removed) == (1, 1)
    assert change.hash_before != change.hash_after
    assert (found.rows_added, found.rows_removed, found.partitions_unchanged) == (2, 1, 1)


def test_diff_tells_partitions_that_came_and_went(shelf):
    before = shelf.publish(DAY_1, "a").snapshot_id
    shelf.publish(DAY_2, "b", "c")
    empty = shelf.store.stage("clicks", day=DAY_1, job="count_clicks")
    after = shelf.store.publish(empty, replace=[DAY_1]).snapshot_id
    changes = shelf.store.diff("clicks", before, after).partitions
    assert [(c.partition, c.rows_added, c.rows_removed) for c in changes] == [
        (DAY_1, 0, 1),
        (DAY_2, 2, 0),
    ]
    assert shelf.store.diff("clicks", after, None).partitions == ()


def test_diff_of_an_unpartitioned_table_is_one_change(shelf):
    before = shelf.publish_shops("x", "y").snapshot_id
    shelf.publish_shops("y", "z", "z")
    [change] = shelf.store.diff("shops", before, None).partitions
    assert (change.partition, change.rows_added, change.rows_removed) == (None, 2, 1)


def test_after_a_rollback_readers_see_the_older_rows(shelf):
    good = shelf.publish(DAY_1, "good").snapshot_id
    bad = shelf.publish(DAY_2, "bad").snapshot_id
    move = shelf.store.rollback("clicks", good, "  half the rows were missing ")
    assert (move.before, move.after) == (bad, good)
    assert shelf.users() == ["good"]
    assert shelf.store.snapshot_id("clicks", DAY_2) is None
    assert [(m.reason, m.code_revision) for m in shelf.store.rollbacks("clicks")] == [
        ("half the rows were missing", "abc123")
    ]
    aside, head = shelf.store.history("clicks")
    assert (aside.snapshot_id, aside.is_current, aside.is_ancestor) == (bad, False, False)
    assert head.is_current


def test_a_rollback_can_be_taken_back(shelf):
    good = shelf.publish(DAY_1, "good").snapshot_id
    later = shelf.publish(DAY_2, "later").snapshot_id
    shelf.store.rollback("clicks", good, "looked wrong")
    shelf.store.rollback("clicks", later, "it was right after all")
    assert shelf.users() == ["good", "later"]
    assert shelf.store.snapshot_id("clicks", DAY_2) == later
    assert [move.after for move in shelf.store.rollbacks("clicks")] == [good, later]


def test_a_rollback_moves_a_days_tag_to_what_the_day_left_before(shelf):
    first = shelf.publish(DAY_1, "first").snapshot_id
    second = shelf.publish(DAY_2, "b").snapshot_id
    shelf.publish(DAY_1, "again")
    shelf.store.rollback("clicks", second, "the second run of day 1 was wrong")
    assert shelf.store.snapshot_id("clicks", DAY_1) == first
    assert shelf.store.snapshot_id("clicks", DAY_2) == second


def test_a_day_can_be_run_again_after_a_rollback(shelf):
    good = shelf.publish(DAY_1, "good").snapshot_id
    shelf.publish(DAY_2, "bad")
    shelf.store.rollback("clicks", good, "bad rows")
    shelf.publish(DAY_2, "better")
    assert shelf.users() == ["good", "better"]
    assert shelf.store.describe("clicks").parent_id == good
    assert shelf.store.content_hash("clicks") == shelf.store.describe("clicks").content_hash


def test_a_rollback_to_the_head_does_nothing(shelf):
    head = shelf.publish(DAY_1, "a").snapshot_id
    move = shelf.store.rollback("clicks", head, "nervous")
    assert move.before == move.after
    assert shelf.store.rollbacks("clicks") == []


def test_a_rollback_needs_a_reason_and_a_known_snapshot(shelf):
    head = shelf.publish(DAY_1, "a").snapshot_id
    with pytest.raises(ValueError, match="a rollback needs a reason"):
        shelf.store.rollback("clicks", head, " ")
    with pytest.raises(SnapshotNotFound, match="no snapshot 5"):
        shelf.store.rollback("clicks", 5, "why not")
    with pytest.raises(TableNotFound, match="nothing was published"):
        shelf.store.rollback("shops", 5, "why not")


def test_a_lost_file_is_told_when_its_rows_are_read(shelf):
    from pathlib import Path

    shelf.publish(DAY_1, "a")
    Path(shelf.store.files("clicks")[0]).unlink()
    with pytest.raises(TableDamaged, match=r"table 'clicks': file .*part-00000.parquet of snapsh"):
        shelf.users()
