"""Parquet of every writer: types, encodings, packing, parts that differ."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa

from tests.deliveries.inputs.reading import TWO_OUT, WITH_ITEMS, D, one, read
from tests.deliveries.presets import own
from tests.deliveries.written import (
    duckdb_parquet,
    events,
    pandas_parquet,
    parquet,
    polars_parquet,
)

P = own(format="parquet")
NOON = [datetime(2024, 3, 10, 12), datetime(2024, 3, 10, 12, 1)]
FRAME = {"user": ["u1", "u2"], "item": ["a", "a"], "ts": pd.to_datetime(NOON), "liked": [1, 1]}


def file(name, content, preset=P, **expected):
    """Two rows of u1 and u2 in one file."""
    return read(name, {f"{D}/p0.parquet": content}, preset, **expected)


def typed(name, preset=P, **columns):
    """The same with columns of other types."""
    return file(name, parquet(events("u1", "u2", **columns)), preset)


def ids(name, values, *expected, **more):
    """Items of a type, and what they become."""
    return one(
        name,
        {f"{D}/p0.parquet": parquet(events(*(f"u{n}" for n in range(len(values))), item=values))},
        P,
        published=len(expected),
        table=[(f"u{n}", item, 2) for n, item in enumerate(expected)],
        **more,
    )


def refused_ids(name, values, *says, quarantined=0):
    """Items of a type that is none of ids, or numbers of which so many are no integers."""
    return one(
        name,
        {f"{D}/p0.parquet": parquet(events(*(f"u{n}" for n in range(len(values))), item=values))},
        P,
        exit_code=3,
        quarantined=quarantined,
        says=["item_id", "'item'", *says],
    )


def parts(name, first, second, **expected):
    """Two parts of one day."""
    return one(name, {f"{D}/p0.parquet": first, f"{D}/p1.parquet": second}, P, **expected)


WRITERS = [
    file("pandas: nanoseconds and an index", pandas_parquet(FRAME)),
    file(
        "pandas: a named index, categories and nullable integers",
        pandas_parquet(
            pd.DataFrame(FRAME)
            .astype({"user": "category", "item": "category", "liked": "Int64"})
            .set_index("user")
        ),
    ),
    file("Polars", polars_parquet(FRAME)),
    file(
        "Polars, without statistics, in zstd",
        polars_parquet(FRAME, statistics=False, compression="zstd"),
    ),
    file(
        "DuckDB",
        duckdb_parquet(
            "SELECT 'u' || i AS user, 'a' AS item, TIMESTAMP '2024-03-10 12:00:00' AS ts, "
            "1::UTINYINT AS liked FROM range(1, 3) t(i)"
        ),
    ),
    file(
        "DuckDB: timestamps with a zone, huge integers and enumerations",
        duckdb_parquet(
            "SELECT ('u' || i)::ENUM('u1', 'u2') AS user, 'a' AS item, "
            "TIMESTAMPTZ '2024-03-10 13:00:00+01' AS ts, 1::DECIMAL(18, 3) AS liked "
            "FROM range(1, 3) t(i)"
        ),
    ),
]

CODECS = ("none", "gzip", "zstd", "lz4", "snappy")
OPTIONS = {
    "pages": {"data_page_version": "2.0"},
    "format": {"version": "1.0"},
    "groups": {"row_group_size": 1},
    "dictionary": {"use_dictionary": ["user", "ts"]},
    "delta": {
        "use_dictionary": False,
        "column_encoding": {"user": "DELTA_BYTE_ARRAY", "liked": "DELTA_BINARY_PACKED"},
    },
    **{f"in {codec}": {"compression": codec} for codec in CODECS},
}


def alike(name, each, **expected):
    """A part for each of some tables of one event, which differ in how they are written."""
    return one(
        name,
        {f"{D}/{user}.parquet": content for user, content in each.items()},
        P,
        published=len(each),
        table=[(user, "a", 2) for user in each],
        **expected,
    )


WRITTEN = [
    alike(
        "packed and encoded in each way",
        {user: parquet(events(user), **options) for user, options in OPTIONS.items()},
    ),
    one(
        "packed as Spark can't read it",
        {
            f"{D}/p0.parquet": parquet(events("u1")),
            f"{D}/p1.parquet": parquet(events("u2"), compression="brotli"),
        },
        P,
        exit_code=3,
        says=["p1.parquet is packed with BROTLI", "zstd"],
    ),
]

UNITS = {
    f"{unit} {zone}": pa.timestamp(unit, zone)
    for unit in ("s", "ms", "us", "ns")
    for zone in (None, "UTC", "Asia/Tokyo")
}

TIMES = [
    file(
        "INT96",
        parquet(events("u1", "u2"), use_deprecated_int96_timestamps=True),
        look=lambda o: _times(o, *NOON),
    ),
    one(
        "a time of day alone",
        {f"{D}/p0.parquet": parquet(events("u1", ts=pa.array([time(12)])))},
        P,
        exit_code=3,
        says=["p0.parquet has ts as TIME(MICROS", "which can't be read"],
    ),
    one(
        "what is finer than a microsecond is cut",
        {
            f"{D}/p0.parquet": parquet(
                events("u1", ts=pa.array([1710072000123456789], pa.timestamp("ns")))
            )
        },
        P,
        published=1,
        table=[("u1", "a", 2)],
        look=lambda o: _times(o, datetime(2024, 3, 10, 12, 0, 0, 123456)),
    ),
    alike(
        "times in each unit, with and without a zone",
        {user: parquet(events(user, ts=pa.array(NOON[:1], kind))) for user, kind in UNITS.items()},
        look=lambda o: _times(o, *NOON[:1] * len(UNITS)),
    ),
    file(
        "dates are their midnight",
        parquet(events("u1", "u2", ts=pa.array([date(2024, 3, 10)] * 2))),
        look=lambda o: _times(o, datetime(2024, 3, 10), datetime(2024, 3, 10)),
    ),
    typed("ISO text", ts=pa.array(["2024-03-10T12:00:00Z", "2024-03-10 12:01"])),
    typed(
        "whole milliseconds",
        own(format="parquet", event_time={"column": "ts", "unit": "milliseconds"}),
        ts=pa.array([1710072000000, 1710072060000]),
    ),
    typed(
        "seconds as floats",
        own(format="parquet", event_time={"column": "ts", "unit": "seconds"}),
        ts=pa.array([1710072000.5, 1710072060.0]),
    ),
    one(
        "numbers without a unit",
        {f"{D}/p0.parquet": parquet(events("u1", ts=pa.array([1710072000])))},
        P,
        exit_code=2,
        says=["source.columns.event_time", "unit"],
    ),
    one(
        "times that are missing",
        {
            f"{D}/p0.parquet": parquet(
                events("u1", "u2", "u3", ts=pa.array([*NOON, None], pa.timestamp("ns")))
            )
        },
        P,
        published=2,
        quarantined=1,
        table=TWO_OUT,
        reasons=["event_time is missing"],
    ),
]

A = pa.array(["a"])
TEXTS = {
    "string": pa.string(),
    "large": pa.large_string(),
    "view": pa.string_view(),
    "category": pa.dictionary(pa.int8(), pa.string()),
    "large category": pa.dictionary(pa.int32(), pa.large_string()),
}

IDS = [
    alike(
        "text in each type",
        {
            user: parquet(events(user, user=pa.array([user]).cast(kind), item=A.cast(kind)))
            for user, kind in TEXTS.items()
        },
    ),
    typed(
        "binary without a mark of text",
        user=pa.array([b"u1", b"u2"], pa.binary()),
        item=pa.array([b"a", b"a"], pa.large_binary()),
    ),
    ids("whole numbers of 8 to 64 bits", pa.array([1, 127], pa.int8()), "1", "127"),
    ids(
        "unsigned whole numbers", pa.array([1, 2**63 + 1], pa.uint64()), "1", "9223372036854775809"
    ),
    ids("whole doubles", pa.array([42.0, 123456789.0, -1.0]), "42", "123456789", "-1"),
    ids(
        "whole doubles, of which pandas made one a NaN",
        pa.array([42.0, float("nan"), None]),
        "42",
        quarantined=2,
        reasons=["item_id is missing"],
    ),
    ids("whole decimals", pa.array([Decimal("42.00"), Decimal("7.00")]), "42", "7"),
    refused_ids("doubles with a fraction", pa.array([42.0, 1.5]), "floats", quarantined=1),
    refused_ids(
        "doubles that no longer are all integers",
        pa.array([42.0, float(2**53)]),
        "floats",
        quarantined=1,
    ),
    refused_ids(
        "floats of 32 bits with a fraction", pa.array([0.5], pa.float32()), "floats", quarantined=1
    ),
    refused_ids("decimals with a fraction", pa.array([Decimal("42.50")]), quarantined=1),
    refused_ids("booleans", pa.array([True, False]), "boolean"),
    refused_ids("lists", pa.array([["a"], ["b"]]), "list"),
    refused_ids("structs", pa.array([{"id": "a"}]), "struct"),
    refused_ids("maps", pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string())), "map"),
    refused_ids("dates", pa.array([date(2024, 3, 10)]), "date"),
    refused_ids("timestamps", pa.array(NOON), "timestamp"),
]

SIGNALS = [
    typed("a signal as a float", liked=pa.array([1.0, 1.0])),
    typed("a signal as a decimal", liked=pa.array([Decimal("1.0"), Decimal("1.0")])),
    typed("a signal as digits in text", liked=pa.array(["1", "1"])),
    one(
        "a signal as a boolean",
        {f"{D}/p0.parquet": parquet(events("u1", "u2", "u3", liked=pa.array([True, False, None])))},
        own(format="parquet", strength={"liked": 2, "TRUE": 0}),
        published=3,
        table=[("u1", "a", 2), ("u2", "a", 0), ("u3", "a", 0)],
    ),
    one(
        "a signal as a category",
        {
            f"{D}/p0.parquet": parquet(
                events("u1", "u2", liked=pa.array(["yes", "no"]).dictionary_encode())
            )
        },
        own(format="parquet", strength={"liked = 'yes'": 2, "TRUE": 0}),
        published=2,
        table=[("u1", "a", 2), ("u2", "a", 0)],
    ),
    one(
        "a text signal that a rule takes for a number",
        {f"{D}/p0.parquet": parquet(events("u1", "u2", "u3", liked=pa.array(["1", "one", "0"])))},
        P,
        published=2,
        quarantined=1,
        table=[("u1", "a", 2), ("u3", "a", 0)],
        reasons=["liked is not a number"],
    ),
]

SHAPES = [
    parts(
        "columns in another order",
        parquet(events("u1")),
        parquet(events("u2").select(["liked", "ts", "item", "user"])),
        published=2,
        table=TWO_OUT,
    ),
    parts(
        "columns in other letters",
        parquet(events("u1")),
        parquet(events("u2").rename_columns(["USER", "Item", "TS", "Liked"])),
        published=2,
        table=TWO_OUT,
    ),
    parts(
        "a column more in one part",
        parquet(events("u1")),
        parquet(events("u2", new=pa.array([1]))),
        published=2,
        table=TWO_OUT,
    ),
    parts(
        "whole numbers of two sizes",
        parquet(events("u1", liked=pa.array([1], pa.int32()))),
        parquet(events("u2")),
        published=2,
        table=TWO_OUT,
    ),
    parts(
        "floats of two sizes",
        parquet(events("u1", liked=pa.array([1.0], pa.float32()))),
        parquet(events("u2", liked=pa.array([1.0]))),
        published=2,
        table=TWO_OUT,
    ),
    parts(
        "times of two units",
        parquet(events("u1", ts=pa.array(NOON[:1], pa.timestamp("ms")))),
        parquet(events("u2", ts=pa.array(NOON[1:], pa.timestamp("ns")))),
        published=2,
        table=TWO_OUT,
    ),
    parts(
        "text and a dictionary of text",
        parquet(events("u1")),
        parquet(events("u2", user=pa.array(["u2"]).dictionary_encode())),
        published=2,
        table=TWO_OUT,
    ),
    parts(
        "ids as numbers and as text",
        parquet(events("u1")),
        parquet(events("u2", item=pa.array([7]))),
        exit_code=3,
        says=["p1.parquet has item as INT64, ", "p0.parquet as string"],
    ),
    parts(
        "a signal as a number and as text",
        parquet(events("u1")),
        parquet(events("u2", liked=pa.array(["1"]))),
        exit_code=3,
        says=["p1.parquet has liked as string, ", "p0.parquet as INT64"],
    ),
    parts(
        "a column that nobody needs, of two types",
        parquet(events("u1", note=pa.array([1]))),
        parquet(events("u2", note=pa.array(["x"]))),
        published=2,
        table=TWO_OUT,
    ),
    parts(
        "a part without the column of the users",
        parquet(events("u1")),
        parquet(events("u2", user=None)),
        exit_code=3,
        says=["p1.parquet", "'user'"],
    ),
    one(
        "two columns that differ in case, one of them needed",
        {f"{D}/p0.parquet": parquet(events("u1", User=pa.array(["x"])))},
        P,
        exit_code=3,
        says=["user", "User"],
    ),
    typed(
        "columns that nobody needs, of odd types",
        blob=pa.array([b"\x00", b"\xff"]),
        nested=pa.array([{"a": [1]}, {"a": []}]),
        clock=pa.array([time(12), time(13)], pa.time64("ns")),
        watch=pa.array([time(12), time(13)], pa.time64("us")),
        span=pa.array([timedelta(1), timedelta(2)], pa.duration("ns")),
        half=pa.array(np.array([1, 2], np.float16)),
        nothing=pa.nulls(2),
    ),
    one(
        "a catalogue of pandas with lists and categories",
        {
            f"{D}/p0.parquet": parquet(events("u1", "u2")),
            "items.parquet": pandas_parquet(
                {"id": pd.Categorical(["a", "b"]), "name": ["A", None], "tags": [["x", "y"], []]}
            ),
        },
        own(
            format="parquet",
            catalogue={
                "path": "items.parquet",
                "format": "parquet",
                "item_id": "id",
                "title": "name",
                "attributes": ["tags"],
            },
        ),
        steps=WITH_ITEMS,
        published=2,
        table=TWO_OUT,
        look=lambda o: _attributes(o, a={"tags": "x|y"}, b={}),
    ),
]


def _times(outcome, *expected):
    found = sorted(row["event_time"].replace(tzinfo=None) for row in outcome.table)
    assert found == list(expected)


def _attributes(outcome, **expected):
    found = {r["item_id"]: dict(r["attributes"]) for r in outcome.store.read("items").to_pylist()}
    assert found == expected


INPUTS = [*WRITERS, *WRITTEN, *TIMES, *IDS, *SIGNALS, *SHAPES]
