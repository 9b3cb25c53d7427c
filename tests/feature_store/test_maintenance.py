import datetime as dt
import os
from pathlib import Path

import pytest

from feature_store.errors import SnapshotNotFound, TableDamaged
from feature_store.store import Retention

DAYS = [dt.date(1998, 4, 1) + dt.timedelta(days=number) for number in range(6)]
FUTURE = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


def files_below(shelf) -> set[str]:
    root = Path(shelf.settings.resolved_warehouse) / "shop" / "clicks"
    return {str(path) for path in root.rglob("*") if path.is_file()}


def test_old_days_expire_and_recent_ones_stay_readable(shelf):
    ids = [shelf.publish(day, f"user {day}").snapshot_id for day in DAYS]
    [done] = shelf.store.maintain(["clicks"], Retention(keep_days=2, keep_snapshots=1))
    assert done.snapshots_expired == tuple(sorted(ids[:4]))
    assert done.tags_removed == tuple(str(day) for day in DAYS[:4])
    assert done.snapshots_kept == 2
    assert shelf.store.partitions("clicks") == DAYS
    assert shelf.users(DAYS[4]) == [f"user {day}" for day in DAYS[:5]]
    with pytest.raises(SnapshotNotFound, match="it has 2 days from 1998-04-05 to 1998-04-06"):
        shelf.users(DAYS[3])


def test_days_asked_for_and_the_newest_snapshots_stay(shelf):
    ids = [shelf.publish(day, "a").snapshot_id for day in DAYS]
    shelf.store.maintain(["clicks"], Retention(keep_days=0, keep_snapshots=2, keep=[DAYS[1]]))
    kept = [info.snapshot_id for info in shelf.store.history("clicks")]
    assert kept == [ids[5], ids[4], ids[1]]


def test_age_is_counted_from_the_day_that_is_given(shelf):
    for day in DAYS:
        shelf.publish(day, "a")
    [none] = shelf.store.maintain(
        ["clicks"], Retention(keep_days=3, keep_snapshots=1, as_of=DAYS[2])
    )
    assert none.snapshots_expired == ()
    [more] = shelf.store.maintain(
        ["clicks"], Retention(keep_days=3, keep_snapshots=1, as_of=dt.date(1999, 1, 1))
    )
    assert len(more.snapshots_expired) == 5


def test_files_of_expired_snapshots_and_of_killed_runs_are_deleted(shelf):
    shelf.publish(DAYS[0], "old")
    shelf.publish(DAYS[0], "new")
    shelf.publish(DAYS[1], "b")
    killed = shelf.staged(DAYS[2], "never published")
    before = files_below(shelf)
    [done] = shelf.store.maintain(
        ["clicks"], Retention(keep_days=0, keep_snapshots=1, orphans_before=FUTURE)
    )
    gone = before - files_below(shelf)
    assert done.files_deleted == len(gone) > 4
    assert done.bytes_deleted > 1000
    assert not Path(killed.directory).exists()
    stages = {path.name for path in Path(killed.directory).parent.iterdir()}
    assert len(stages) == 2, "folders of what is gone are gone"
    assert shelf.users() == ["new", "b"]
    assert shelf.store.content_hash("clicks", partition=DAYS[1]) is not None
    [again] = shelf.store.maintain(["clicks"], Retention(orphans_before=FUTURE))
    assert (again.files_deleted, again.snapshots_expired) == (0, ())


def test_digests_of_live_files_stay(shelf):
    stage = shelf.staged(DAYS[0], "a")
    shelf.store.publish(stage)
    shelf.store.maintain(["clicks"], Retention(orphans_before=FUTURE))
    assert (Path(stage.directory) / "_digests.json").exists()


def test_a_stage_that_is_being_written_is_spared(shelf):
    shelf.publish(DAYS[0], "a")
    running, dead = shelf.staged(DAYS[1], "running"), shelf.staged(DAYS[1], "dead")
    for file in dead.files():
        os.utime(file, (1, 1))
    [done] = shelf.store.maintain(["clicks"], Retention(grace=dt.timedelta(hours=1)))
    assert done.files_deleted == 1
    assert running.files() and not dead.files()
    shelf.store.publish(running)


def test_set_aside_snapshots_expire_too(shelf):
    good = shelf.publish(DAYS[0], "good").snapshot_id
    bad = shelf.publish(DAYS[1], "bad").snapshot_id
    shelf.store.rollback("clicks", good, "bad rows")
    shelf.publish(DAYS[5], "later")
    [done] = shelf.store.maintain(["clicks"], Retention(keep_days=1, keep_snapshots=2))
    assert done.snapshots_expired == (bad,)
    assert shelf.users() == ["good", "later"]


def test_tables_without_snapshots_are_left_alone(shelf):
    shelf.store.stage("clicks", day=DAYS[0], job="count_clicks")
    done = shelf.store.maintain()
    assert [(one.table, one.files_deleted) for one in done] == [("clicks", 0), ("shops", 0)]


def test_nothing_is_deleted_where_a_needed_file_is_gone(shelf):
    shelf.publish(DAYS[0], "a")
    killed = shelf.staged(DAYS[1], "b")
    Path(shelf.store.files("clicks")[0]).unlink()
    with pytest.raises(TableDamaged, match=r"1 file\(s\) of live snapshots are gone, for example"):
        shelf.store.maintain(["clicks"], Retention(orphans_before=FUTURE))
    assert killed.files()


@pytest.mark.parametrize("wrong", [{"keep_days": -1}, {"keep_snapshots": 0}])
def test_a_retention_that_keeps_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="expected at least 0 days and at least 1 snapshot"):
        Retention(**wrong)
