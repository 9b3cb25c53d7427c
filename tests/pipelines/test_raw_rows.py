"""Files as rows: lines, fields, places, and what is wrong with a line."""

import gzip
from datetime import date

import pytest

from pipelines.config import ColumnMapping, EventTime
from pipelines.errors import DataRefused, DeliveryUnreadable
from pipelines.sources.interface import Delimited, RawLog
from pipelines.sources.raw_files import RawFiles, readable
from pipelines.sources.raw_rows import ROW, one_split_per_task, read_rows
from tests.pipelines.raw_worlds import COLUMNS, DAY, write_csv, write_json

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

LATER = date(2024, 3, 11)
PLACE = ("source_file", "delivery_day", "line", "raw", "problem")
MAPPING = ColumnMapping(
    user_id="user",
    item_id="item",
    event_time=EventTime(column="ts"),
    dwell_seconds="seconds",
    signals=("liked",),
)


@pytest.fixture
def read(spark, tmp_path):
    def run(*paths, file_format=None, root=None, days=()):
        log = RawLog(
            files=tuple(path.as_uri() for path in paths),
            format=file_format or Delimited(),
            columns=MAPPING,
            holds="day" if days else "dump",
            root=(root or paths[0].parent).as_uri(),
            days=days,
        )
        return read_rows(spark, RawFiles(spark, tmp_path), log)

    return run


def test_lines_are_numbered_after_the_header_and_named_by_their_file(read, tmp_path, spark):
    rows = [("u1", "a", "t", 1, 2), "", ("u2", "a", "t", 1, 2), "  "]
    one = write_csv(tmp_path / "2024-03-10" / "one.csv", rows)
    two = write_csv(tmp_path / "2024-03-10" / "two.csv.gz", rows, COLUMNS[::-1])
    with one_split_per_task(spark):
        found = read(one, two, root=tmp_path, days=(DAY, LATER)).collect()
    places = {(*(row[ROW][name] for name in PLACE), row.user, row.seconds) for row in found}
    assert places == {
        ("2024-03-10/one.csv", DAY, 0, "u1,a,t,1,2", None, "u1", "2"),
        ("2024-03-10/one.csv", DAY, 2, "u2,a,t,1,2", None, "u2", "2"),
        ("2024-03-10/two.csv.gz", LATER, 0, "u1,a,t,1,2", None, "2", "u1"),
        ("2024-03-10/two.csv.gz", LATER, 2, "u2,a,t,1,2", None, "2", "u2"),
    }


def test_a_split_files_lines_have_distinct_places_that_no_core_count_changes(
    read, tmp_path, spark, monkeypatch
):
    from pipelines.sources import raw_rows

    monkeypatch.setattr(raw_rows, "_SPLIT_BYTES", 2000)
    rows = [(f"user{n:04}", "a", "2024-03-10", 1, n) for n in range(400)]
    path = write_csv(tmp_path / "log.csv", rows)
    with one_split_per_task(spark):
        frame = read(path)
        lines = {row.line: row.user for row in frame.select(f"{ROW}.line", "user").collect()}
        assert frame.rdd.getNumPartitions() > 4
    assert len(lines) == 400
    assert lines[0] == "user0000"
    assert [lines[line] for line in sorted(lines)] == [row[0] for row in rows]


def test_a_line_that_is_not_what_it_should_be_keeps_its_text_and_says_why(read, tmp_path):
    lines = [
        ("u1", "a", "t", 1, 2),
        "u2,a,t",
        "u3,a,t,1,2,3",
        'u4,"a,t,1,2',
        b"u5,\xff\xfe,t,1,2",
        "u6,a,t,1," + "9" * 1_000_000,
        '"u,7","say ""hi""",t,1,2',
    ]
    rows = read(write_csv(tmp_path / "log.csv", lines)).orderBy(f"{ROW}.line").collect()
    problems = [row[ROW].problem for row in rows]
    assert problems == [
        None,
        "line does not have 5 fields",
        "line does not have 5 fields",
        "line does not have 5 fields",
        "line is not valid UTF-8",
        "line is longer than 65,536 characters",
        None,
    ]
    assert (rows[6]["user"], rows[6]["item"]) == ("u,7", 'say "hi"')
    assert rows[1][ROW].raw == "u2,a,t"
    assert len(rows[5][ROW].raw) > 1_000_000


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(read, tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"\xef\xbb\xbf" + ",".join(COLUMNS).encode() + b"\r\nu1,a,t,1,2\r\n")
    (row,) = read(path).collect()
    assert (row.user, row.seconds, row[ROW].line) == ("u1", "2", 0)


def test_json_lines_give_text_columns_and_lacking_signals_are_null(read, tmp_path):
    good = {"user": 1, "item": "a", "ts": "t", "liked": True, "seconds": 1.5, "more": {"x": [1]}}
    lines = [good, {"user": 2, "item": "b", "ts": "t"}, "not json", "[1, 2]"]
    path = write_json(tmp_path / "log.json", lines)
    rows = read(path, file_format="json").orderBy(f"{ROW}.line").collect()
    assert [row.user for row in rows] == ["1", "2", None, None]
    assert [row.liked for row in rows] == ["true", None, None, None]
    assert rows[0].more == '{"x":[1]}'
    problems = [row[ROW].problem for row in rows]
    assert problems == [None, None, "line is not a JSON object", "line is not a JSON object"]


def test_parquet_keeps_its_types_and_its_rows_as_text(read, tmp_path, spark):
    frame = spark.createDataFrame(
        [(1, "a", None, True, 2.5)],
        "user long, item string, ts timestamp, liked boolean, seconds double",
    )
    frame.coalesce(1).write.parquet((tmp_path / "log").as_uri())
    (file,) = (tmp_path / "log").glob("*.parquet")
    (row,) = read(file, file_format="parquet").collect()
    assert (row.user, row.liked, row.seconds) == (1, True, 2.5)
    assert row[ROW].raw == '{"user":1,"item":"a","ts":null,"liked":true,"seconds":2.5}'
    assert (row[ROW].source_file, row[ROW].line) == (file.name, 0)


def test_all_missing_columns_are_named_with_what_resembles_them(read, tmp_path):
    path = write_csv(tmp_path / "log.csv", [], ("usr", "item", "ts", "LIKED", "item"))
    with pytest.raises(DataRefused) as refused:
        read(path)
    text = str(refused.value)
    assert "column 'user' is missing (renamed to 'usr'?)" in text
    assert "column 'seconds' is missing" in text
    assert "column 'item' is there more than once" in text
    assert "liked" not in text.split("Found")[0]
    assert "Found ['usr', 'item', 'ts', 'LIKED', 'item'], expected ['user', 'item', 'ts'" in text


def test_a_json_log_without_an_id_is_refused(read, tmp_path):
    path = write_json(tmp_path / "log.json", [{"uid": 1, "item": "a", "ts": "t"}])
    with pytest.raises(DataRefused, match="column 'user' is missing"):
        read(path, file_format="json")


def test_a_file_without_a_header_is_refused(read, tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"")
    with pytest.raises(DataRefused, match=r"log\.csv is empty: not even a header"):
        read(path)


def test_a_broken_archive_is_named_with_what_is_wrong(read, tmp_path):
    rows = [(f"u{n}", "a", "t", n, n * 7919) for n in range(5000)]
    path = write_csv(tmp_path / "log.csv.gz", rows)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DeliveryUnreadable, match=r"log\.csv\.gz can't be read: Unexpected end"):
        with readable():
            read(path).count()
    path.write_bytes(gzip.compress(b"")[:4] + b"junk")
    with pytest.raises(DeliveryUnreadable, match=r"log\.csv\.gz can't be read: .+Nothing was publ"):
        read(path)


def test_an_error_that_is_not_about_a_file_stays_what_it_is(spark):
    from pyspark.errors import PySparkException

    with pytest.raises(PySparkException, match="DIVIDE_BY_ZERO"), readable():
        spark.range(1).selectExpr("1 / id").collect()
