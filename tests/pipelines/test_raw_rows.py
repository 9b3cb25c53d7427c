"""Files as rows: lines, fields, places, and what is wrong with a line."""

import gzip
import json
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import ColumnMapping, EventTime
from pipelines.errors import DataRefused, DeliveryUnreadable
from pipelines.sources.interface import ROW, Delimited, RawLog
from pipelines.sources.raw_files import RawFiles, readable
from pipelines.sources.raw_rows import one_split_per_task, read_rows
from tests.pipelines.raw_worlds import COLUMNS, DAY, write_csv, write_json

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

LATER = date(2024, 3, 11)
MAPPED = ("user", "item", "ts", "seconds", "liked")
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
        return read_rows(spark, RawFiles(spark, tmp_path), log).frame

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
        "a quote that is not closed",
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


def test_records_that_span_lines_are_one_row_and_what_is_never_closed_is_refused_alone(
    read, tmp_path
):
    lines = [
        'u1,"two\nlines, ""quoted""",t,1,2',
        ("u2", "a", "t", 1, 2),
        'u3,"never closed,t,1,2',
        b'u4,"\xff\n",t,1,2',
        ("u5", 'a"b', "t", 1, 2),
        'u6,"a\nb",t,1',
        'u7,"a,t,1,2',
        ("u8", "a", "t", 1, 2),
    ]
    path = write_csv(tmp_path / "log.csv", lines)
    rows = read(path).orderBy(f"{ROW}.line").collect()
    assert [(row[ROW].line, row.user, row[ROW].problem) for row in rows] == [
        (0, "u1", None),
        (2, "u2", None),
        (3, None, "a quote that is not closed"),
        (4, None, "line is not valid UTF-8"),
        (6, "u5", None),
        (7, "u6", "line does not have 5 fields"),
        (9, None, "a quote that is not closed"),
        (10, "u8", None),
    ]
    assert rows[0].item == 'two\nlines, "quoted"'
    assert rows[4].item == 'a"b'
    assert rows[5][ROW].raw == 'u6,"a\nb",t,1'


def test_a_repeated_header_is_no_row_and_is_counted(spark, tmp_path):
    header = ",".join(COLUMNS)
    row = ("u1", "a", "t", 1, 2)
    one = write_csv(tmp_path / "one.csv", [row, header, "\ufeff" + header, row])
    two = write_csv(tmp_path / "two.csv", [row, 'u2,"a\nb",t,1,2', header, row])
    log = RawLog(
        files=(one.as_uri(), two.as_uri()),
        format=Delimited(),
        columns=MAPPING,
        holds="dump",
        root=tmp_path.as_uri(),
    )
    rows = read_rows(spark, RawFiles(spark, tmp_path), log)
    assert (rows.frame.count(), rows.header_repeats) == (5, 3)


def test_headers_may_be_quoted_span_lines_and_hold_the_separator(spark, read, tmp_path):
    header = '"user","item","ts","liked","seconds","a, ""b""\nc"'
    path = write_csv(tmp_path / "log.csv", [header, 'u1,a,t,1,2,"x"', 'u2,b,t,1,2,"y"'], header=())
    rows = read(path).orderBy("user").collect()
    assert [(row.user, row['a, "b"\nc'], row[ROW].problem) for row in rows] == [
        ("u1", "x", None),
        ("u2", "y", None),
    ]


def test_columns_are_found_by_name_whatever_their_case_and_order(read, tmp_path):
    csv = write_csv(
        tmp_path / "log.csv",
        [(1, 2, "t", "a", "u", 0)],
        ("LIKED", "Seconds", "Ts", "iTem", "USER", "_id"),
    )
    parquet = pa.table({"LIKED": [1], "Ts": ["t"], "USER": ["u"], "iTem": ["a"], "Seconds": [2]})
    pq.write_table(parquet, tmp_path / "log.parquet")
    lines = write_json(tmp_path / "log.json", [{"USER": "u", "iTem": "a", "Ts": "t", "LIKED": 1}])
    for path, kind in ((csv, None), (tmp_path / "log.parquet", "parquet"), (lines, "json")):
        (row,) = read(path, file_format=kind).collect()
        assert (row["user"], row["item"], row["ts"], str(row["liked"])) == ("u", "a", "t", "1")
        assert {*MAPPED, ROW} == set(row.__fields__), kind


def test_columns_that_differ_in_case_only_are_refused_where_they_are_needed(read, tmp_path):
    names = (*COLUMNS, "Item", "other", "OTHER")
    says = r"columns 'item' and 'Item', which differ in the case of their letters only, which sou"
    csv = write_csv(tmp_path / "log.csv", [], names)
    pq.write_table(pa.table({name: ["x"] for name in names}), tmp_path / "log.parquet")
    lines = write_json(tmp_path / "log.json", [dict.fromkeys(sorted(names, reverse=True), "x")])
    for path, kind in ((csv, None), (tmp_path / "log.parquet", "parquet"), (lines, "json")):
        with pytest.raises(DataRefused, match=says if kind != "json" else "case of their letters"):
            read(path, file_format=kind)
    names = (*COLUMNS, "other", "OTHER")
    csv = write_csv(tmp_path / "log.csv", [tuple("u" * 7)], names)
    pq.write_table(pa.table({name: ["u"] for name in names}), tmp_path / "log.parquet")
    for path, kind in ((csv, None), (tmp_path / "log.parquet", "parquet")):
        (row,) = read(path, file_format=kind).collect()
        assert (row.user, set(row.__fields__)) == ("u", {*MAPPED, ROW})


def test_text_that_is_not_utf_8_and_json_documents_are_told_apart(read, tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(",".join(COLUMNS).encode("utf-16"))
    with pytest.raises(DataRefused, match=r"log\.csv is UTF-16; expected UTF-8"):
        read(path)
    path.write_bytes(",".join(COLUMNS).encode("utf-16-le"))
    with pytest.raises(DataRefused, match=r"log\.csv is UTF-16; expected UTF-8"):
        read(path)
    path.write_text('user,"item,ts\nu,a,t\n')
    with pytest.raises(DataRefused, match=r"log\.csv: its header has a quote that is not closed"):
        read(path)
    good = {"user": 1, "item": "a", "ts": "t"}
    documents = {
        "a JSON array": (json.dumps([good, good]), json.dumps([good, good], indent=1)),
        "a JSON object over several lines": (json.dumps(good, indent=1), "{\n}"),
    }
    path = tmp_path / "log.json"
    for says, texts in documents.items():
        for text in texts:
            path.write_text(text)
            with pytest.raises(DataRefused, match=rf"log\.json is {says}; expected JSON lines"):
                read(path, file_format="json")
    write_json(path, ['{"user": 1, "item', good, "[1]"])
    assert [row.user for row in read(path, file_format="json").collect()] == [None, "1", None]


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


def test_ids_of_json_are_single_values_and_whole_floats_are_integers(read, tmp_path):
    ids = ["a", 42, 42.0, "b.0", {"id": 1}, ["a"], None]
    lines = [{"user": "u", "item": each, "ts": "t"} for each in ids]
    rows = read(write_json(tmp_path / "log.json", lines), file_format="json").collect()
    assert [row["item"] for row in rows if row[ROW].problem is None] == [
        "a",
        "42",
        "42",
        "b.0",
        None,
    ]
    assert [row[ROW].problem for row in rows if row[ROW].problem] == [
        "item is a list or an object"
    ] * 2


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
    assert "log.csv has column 'item' more than once, which source.columns.item_id needs" in text
    assert "no column 'user' (renamed to 'usr'?), which source.columns.user_id needs" in text
    assert "no column 'seconds', which source.columns.dwell_seconds needs" in text
    assert "no column 'liked'" not in text
    assert "Its columns are usr, item, ts, LIKED, item." in text


def test_a_json_log_without_an_id_is_refused(read, tmp_path):
    path = write_json(tmp_path / "log.json", [{"uid": 1, "item": "a", "ts": "t"}])
    with pytest.raises(DataRefused, match=r"no column 'user', which source\.columns\.user_id"):
        read(path, file_format="json")


def test_a_file_without_a_header_is_refused(read, tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"\n \n")
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
