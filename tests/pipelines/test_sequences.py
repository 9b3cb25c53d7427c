"""Files of events → files of histories, on Spark."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from feature_store.arrow import schema_differences
from feature_store.errors import StorageUnavailable
from feature_store.storage import Folder
from feature_store.tables.user_sequences import USER_SEQUENCES
from pipelines.errors import DataRefused
from pipelines.transforms.history_merge import EVENTS_AT_ONCE
from pipelines.transforms.sequences import SequenceBuild, SequenceFiles, buckets_for
from tests.pipelines.sequence_world import ITEMS, as_dict, at, event_table, expected, random_events

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

DAY = date(2024, 1, 31)


@pytest.fixture
def write(tmp_path):
    """Writes rows as Parquet files of events, and gives their paths."""

    def write(*parts, **options):
        paths = []
        for rows in parts:
            paths.append(str(tmp_path / f"events-{len(list(tmp_path.iterdir()))}.parquet"))
            pq.write_table(event_table(rows), paths[-1], **options)
        return paths

    return write


@pytest.fixture
def build(spark, tmp_path):
    """Runs a build over files and gives the users that it reports and the folder it wrote."""
    pq.write_table(ITEMS, tmp_path / "items.parquet")

    def build(events, histories=(), *, out="out", max_events=1000, minimum_strength=-1, buckets=3):
        folder = str(tmp_path / out)
        users = SequenceBuild(
            files=SequenceFiles(
                events=events, histories=histories, items=[str(tmp_path / "items.parquet")]
            ),
            folder=Folder(folder, folder, fs.LocalFileSystem()),
            day=DAY,
            max_events=max_events,
            minimum_strength=minimum_strength,
            buckets=buckets,
        ).run(spark)
        return users, Path(folder)

    return build


def read(folder):
    """Rows of all files; every file is sorted by user, keeps the contract and is of the day."""
    tables = [pq.ParquetFile(path).read() for path in sorted(folder.glob("*.parquet"))]
    for table in tables:
        assert schema_differences(table.schema, USER_SEQUENCES) == []
        assert table["user_id"].to_pylist() == sorted(table["user_id"].to_pylist())
        assert set(table["day"].to_pylist()) == {DAY}
    return as_dict(pa.concat_tables(tables).sort_by("user_id"))


def test_events_of_several_files_become_one_history_a_user(build, write):
    files = write(
        [("a", "i1", at(2), 1), ("b", "i1", at(1), 0)],
        [("a", "i2", at(1), 2), ("a", "i3", at(3), 3)],
    )
    users, folder = build(files)
    assert users == 2
    assert read(folder) == {
        "a": ([37, 38, 36], [2, 1, 3], [at(1), at(2), at(3)], 3),
        "b": ([38], [0], [at(1)], 1),
    }


def test_rows_do_not_depend_on_files_order_or_buckets(build, write):
    rows = random_events(500, users=40, seed=5)
    whole = build(write(rows), out="one", max_events=20, buckets=1)
    parts = build(
        write(*(rows[start::7] for start in range(7)), row_group_size=13)[::-1],
        out="many",
        max_events=20,
        buckets=5,
    )
    assert whole[0] == parts[0]
    assert read(whole[1]) == read(parts[1]) == expected(rows, max_events=20)


def test_files_that_differ_in_what_they_declare_never_null_are_read_together(build, tmp_path):
    rows = [("a", "i1", at(1), 2)], [("a", "i2", at(2), 1)]
    paths = []
    for never_null, events in zip((True, False), map(event_table, rows), strict=True):
        place = events.schema.get_field_index("strength")
        field = events.schema.field(place).with_nullable(not never_null)
        paths.append(str(tmp_path / f"null-{never_null}.parquet"))
        pq.write_table(events.cast(events.schema.set(place, field)), paths[-1])
    declared = [pq.read_schema(path).field("strength").nullable for path in paths]
    assert declared == [False, True]
    # One task reads both.
    _, folder = build([paths[0], *[paths[1]] * 20, paths[0]], max_events=3)
    assert list(read(folder)) == ["a"]


def test_earlier_histories_and_newer_events_give_what_all_events_give(build, write):
    rows = random_events(600, users=25, seed=6)
    older = [row for row in rows if row[2] < at(12)]
    newer = [row for row in rows if row[2] >= at(12)]
    settings = {"max_events": 15, "minimum_strength": 0}
    _, before = build(write(older), out="before", **settings)
    histories = [str(path) for path in before.glob("*.parquet")]
    _, after = build(write(newer), histories, out="after", **settings)
    assert read(after) == expected(rows, max_events=15, minimum_strength=0)


def test_files_without_rows_and_no_files_at_all_give_no_users(build, write):
    assert build([])[0] == 0
    users, folder = build(write([]))
    assert users == 0
    assert list(folder.glob("*")) == []


def test_a_finished_build_leaves_nothing_hidden_and_running_it_again_changes_nothing(build, write):
    files = write(random_events(50, users=9, seed=7))
    _, folder = build(files)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    build(files)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert not [name for name in first if name.startswith(".")]


def test_an_event_of_an_unknown_item_is_refused_by_name(build, write):
    with pytest.raises(DataRefused, match=r"items doesn't have, e\.g\. 'i99'; run build_items"):
        build(write([("a", "i99", at(1), 1)]))


def test_a_folder_that_cannot_be_written_is_named(spark, write, build):
    # Nobody may make folders there, root included.
    with pytest.raises(
        StorageUnavailable, match=r"storage at /sys/sidereal is .*Free space or fix"
    ):
        build(write([("a", "i1", at(1), 1)]), out="/sys/sidereal")


def test_buckets_follow_the_number_of_events():
    assert [buckets_for(n) for n in (0, 1, EVENTS_AT_ONCE, EVENTS_AT_ONCE + 1)] == [1, 1, 1, 2]
    assert buckets_for(10**12) == 1000
