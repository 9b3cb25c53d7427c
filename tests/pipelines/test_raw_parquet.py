"""Parquet of every writer: what is meant is read, what can't be one is refused with the files."""

from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import ColumnMapping, EventTime, StrengthRule
from pipelines.errors import DataRefused, DeliveryUnreadable
from pipelines.sources.interface import ROW, RawLog
from pipelines.sources.raw_files import RawFiles
from pipelines.sources.raw_rows import read_rows

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]
NOON = datetime(2024, 3, 10, 12, 0, 0, 123456)
MAPPING = ColumnMapping(
    user_id="user", item_id="item", event_time=EventTime(column="ts"), signals=("liked",)
)


@pytest.fixture
def read(spark, tmp_path):
    def run(*names, rules=()):
        log = RawLog(
            files=tuple((tmp_path / name).as_uri() for name in names),
            format="parquet",
            columns=MAPPING,
            holds="dump",
            root=tmp_path.as_uri(),
            rules=tuple(StrengthRule(strength=1, when=when) for when in rules),
        )
        return read_rows(spark, RawFiles(spark, tmp_path), log).frame

    return run


def table(**columns):
    row = {"user": ["u"], "item": ["a"], "ts": pa.array([NOON]), "liked": [1]}
    return pa.table(row | columns)


WRITERS = {
    "pyarrow": lambda path: pq.write_table(table(), path),
    "pyarrow, nanoseconds": lambda path: pq.write_table(
        table(ts=pa.array([NOON]).cast(pa.timestamp("ns", "UTC"))), path
    ),
    "pyarrow, INT96": lambda path: pq.write_table(
        table(), path, use_deprecated_int96_timestamps=True
    ),
    "pyarrow, version 1": lambda path: pq.write_table(
        table(), path, version="1.0", data_page_version="1.0", coerce_timestamps="us"
    ),
    "pyarrow, version 2 pages": lambda path: pq.write_table(
        table(), path, data_page_version="2.0", compression="zstd", use_dictionary=False
    ),
    "pyarrow, large and dictionary": lambda path: pq.write_table(
        table(
            user=pa.array(["u"], pa.large_string()),
            item=pa.array(["a"], pa.string_view()).cast(pa.string()).dictionary_encode(),
        ),
        path,
    ),
    "pyarrow, bytes": lambda path: pq.write_table(
        table(user=pa.array([b"u"]), item=pa.array([b"a"], pa.binary(1))), path
    ),
    "pandas, categories": lambda path: pd.DataFrame(
        {"user": pd.Categorical(["u"]), "item": ["a"], "ts": [pd.Timestamp(NOON)], "liked": [1]}
    ).to_parquet(path),
    "pandas, an index": lambda path: (
        pd.DataFrame(
            {
                "user": ["u"],
                "item": ["a"],
                "ts": [pd.Timestamp(NOON, tz="Asia/Tokyo")],
                "liked": [1],
            },
            index=["row"],
        )
        .assign(ts=pd.Timestamp(NOON, tz="UTC").tz_convert("Asia/Tokyo"))
        .to_parquet(path)
    ),
    "polars": lambda path: pl.DataFrame(
        {"user": ["u"], "item": ["a"], "ts": [NOON], "liked": [1]},
        schema_overrides={"item": pl.Categorical, "ts": pl.Datetime("ns")},
    ).write_parquet(path),
    "DuckDB": lambda path: duckdb.sql(
        f"COPY (SELECT 'u' AS user, 'a' AS item, TIMESTAMP '{NOON}' AS ts, 1 AS liked) "
        f"TO '{path}' (FORMAT parquet)"
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_parquet_of_every_writer_is_read_to_the_microsecond(read, tmp_path, writer):
    WRITERS[writer](tmp_path / "log.parquet")
    (row,) = read("log.parquet").collect()
    assert (row.user, row.item, row.liked) == ("u", "a", 1)
    assert row.ts.replace(tzinfo=UTC) == NOON.replace(tzinfo=UTC)
    assert row[ROW].line == 0


def test_spark_and_milliseconds_are_read_and_old_instants_kept(read, tmp_path, spark):
    old = [datetime(1850, 1, 1), datetime(1969, 12, 31, 23, 59, 59, 999999)]
    rows = {"user": ["u", "v"], "item": ["a", "a"], "liked": [1, 1]}
    nanos = pa.array([-1, -1001], pa.timestamp("ns"))
    pq.write_table(pa.table(rows | {"ts": nanos}), tmp_path / "ns.parquet")
    pq.write_table(
        pa.table(rows | {"ts": pa.array(old)}),
        tmp_path / "int96.parquet",
        use_deprecated_int96_timestamps=True,
    )
    pq.write_table(
        pa.table(rows | {"ts": pa.array([1500, -1500], pa.timestamp("ms"))}),
        tmp_path / "ms.parquet",
    )
    frame = spark.createDataFrame(
        [("u", "a", old[0], 1)], "user string, item string, ts timestamp, liked int"
    )
    frame.coalesce(1).write.parquet((tmp_path / "spark").as_uri())
    (written,) = (tmp_path / "spark").glob("*.parquet")

    def instants(name):
        micros = read(name).selectExpr("unix_micros(ts) AS t", "user").orderBy("user").collect()
        return [row.t for row in micros]

    epoch = datetime(1970, 1, 1)
    micros = [int((each - epoch).total_seconds()) * 10**6 + each.microsecond for each in old]
    assert instants("ns.parquet") == [-1, -2]
    assert instants("ms.parquet") == [1_500_000, -1_500_000]
    assert instants("int96.parquet") == [micros[0], -1]
    assert instants(str(written.relative_to(tmp_path))) == [micros[0]]


MIXED = {
    "user": ([1, 2**40], pa.int32(), pa.int64()),
    "liked": ([1, 0.5], pa.int8(), pa.float64()),
    "ts": ([NOON, NOON], pa.timestamp("ns"), pa.timestamp("ms", "UTC")),
    "item": ([Decimal("1.5"), Decimal("2")], pa.decimal128(5, 1), pa.int64()),
}


def test_parts_whose_types_can_be_one_are_read_together(read, tmp_path):
    for part in (0, 1):
        columns = {
            name: pa.array([values[part]]).cast(kinds[part], safe=False)
            for name, (values, *kinds) in MIXED.items()
        }
        columns |= {"only": pa.array([part])} if part else {}
        # A column that no value was ever in says nothing of its type.
        columns |= {"more": pa.nulls(1) if part else pa.array(["x"])}
        pq.write_table(pa.table(columns), tmp_path / f"p{part}.parquet")
    rows = read("p0.parquet", "p1.parquet").orderBy("user").collect()
    assert [(row.user, row.liked, row.more, row.only) for row in rows] == [
        (1, 1.0, "x", None),
        (2**40, 0.5, None, 1),
    ]
    assert [row.item for row in rows] == [Decimal("1.5"), Decimal("2.0")]
    assert [row.ts.microsecond for row in rows] == [123456, 123000]


def test_types_that_cannot_be_one_are_named_with_their_files(read, tmp_path):
    pq.write_table(table(), tmp_path / "p0.parquet")
    pq.write_table(table(user=[1], other=[[1]]), tmp_path / "p1.parquet")
    pq.write_table(table(user=["v"], other=["x"], ts=["2024"]), tmp_path / "p2.parquet")
    with pytest.raises(DataRefused) as refused:
        read("p0.parquet", "p1.parquet", "p2.parquet")
    text = str(refused.value)
    assert "p1.parquet has user as INT64, p0.parquet as string" in text
    assert "p2.parquet has ts as string, p0.parquet as TIMESTAMP(MICROS,false)" in text
    pq.write_table(table(other=["x"]), tmp_path / "p1.parquet")
    pq.write_table(table(other=[[1]]), tmp_path / "p2.parquet")
    rows = read("p0.parquet", "p1.parquet", "p2.parquet").collect()
    assert (len(rows), "other" in rows[0].__fields__) == (3, False)


def test_a_part_without_a_column_that_a_rule_or_the_mapping_needs_is_named(read, tmp_path):
    pq.write_table(table(seen=[1]), tmp_path / "p0.parquet")
    pq.write_table(table(), tmp_path / "p1.parquet")
    assert read("p0.parquet", "p1.parquet").count() == 2
    with pytest.raises(
        DataRefused, match=r"p1\.parquet has no column 'seen', which strength rule 2"
    ):
        read("p0.parquet", "p1.parquet", rules=("liked = 1", "SEEN = 1"))
    pq.write_table(table().drop_columns(["liked"]), tmp_path / "p1.parquet")
    with pytest.raises(DataRefused, match=r"p1\.parquet has no column 'liked', which source\.col"):
        read("p0.parquet", "p1.parquet")


def test_a_column_that_spark_cannot_read_is_refused_where_it_is_needed(read, tmp_path):
    odd = pa.array([1], pa.time64("ns"))
    pq.write_table(table(other=odd), tmp_path / "log.parquet")
    assert "other" not in read("log.parquet").columns
    pq.write_table(table(liked=odd), tmp_path / "log.parquet")
    with pytest.raises(
        DataRefused, match=r"log\.parquet has liked as TIME\(NANOS,false\), which c"
    ):
        read("log.parquet")


def test_names_with_separators_dots_and_ticks_are_columns_like_any_other(read, tmp_path):
    pq.write_table(
        table(**{"a.b": [1], "c, d;": [2], "e`f": [3], " ": [4]}), tmp_path / "l.parquet"
    )
    (row,) = read("l.parquet").collect()
    assert (row["a.b"], row["c, d;"], row["e`f"]) == (1, 2, 3)


def test_what_is_no_parquet_is_refused_and_what_is_cut_short_awaited(read, tmp_path):
    path = tmp_path / "log.parquet"
    path.write_text("user,item\n")
    with pytest.raises(DataRefused, match=r"log\.parquet is not Parquet: it doesn't begin with"):
        read("log.parquet")
    pq.write_table(table(), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DeliveryUnreadable, match=r"log\.parquet can't be read: .*cut short in"):
        read("log.parquet")


def test_dates_beside_instants_are_their_midnight(read, tmp_path):
    pq.write_table(table(), tmp_path / "p0.parquet")
    pq.write_table(table(ts=pa.array([date(2024, 3, 11)])), tmp_path / "p1.parquet")
    times = [row.ts for row in read("p0.parquet", "p1.parquet").orderBy("ts").collect()]
    assert times == [NOON, datetime(2024, 3, 11)]
