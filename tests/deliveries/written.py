"""Raw files as bytes, by the writers that people use."""

import bz2
import gzip
import io
import json
import tempfile
from datetime import datetime
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

HEADER = ("user", "item", "ts", "liked")
PACK = {
    "gz": lambda plain: gzip.compress(plain, mtime=0),
    "bz2": bz2.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


def row(user, item="a", minute=0, liked=1, day="2024-03-10"):
    """Cells of one event at twelve o'clock and some minutes."""
    return (user, item, f"{day} 12:{minute:02}:00", liked)


def rows(*users, day="2024-03-10", liked=1):
    """One event per user, a minute apart."""
    return [row(user, minute=n, liked=liked, day=day) for n, user in enumerate(users)]


def csv(records, header=HEADER, *, separator=",", newline="\n", encoding="utf-8"):
    """A CSV file; a record is its cells, or a line as text."""
    lines = [separator.join(header)] if header else []
    lines += [r if isinstance(r, str) else separator.join(map(str, r)) for r in records]
    return "".join(line + newline for line in lines).encode(encoding)


def json_lines(records, header=HEADER):
    """JSON lines; a record is its cells, a mapping, or a line as text."""
    named = [dict(zip(header, r, strict=True)) if isinstance(r, tuple) else r for r in records]
    return "".join((n if isinstance(n, str) else json.dumps(n)) + "\n" for n in named).encode()


def events(*users, day=10, **columns):
    """A pyarrow table of one event per user; columns given by name replace or add.

    Types: user and item string, ts timestamp[us], liked int64.
    """
    times = [datetime(2024, 3, day, 12, minute) for minute in range(len(users))]
    made = {
        "user": pa.array(users, pa.string()),
        "item": pa.array(["a"] * len(users), pa.string()),
        "ts": pa.array(times, pa.timestamp("us")),
        "liked": pa.array([1] * len(users), pa.int64()),
    }
    made |= columns
    return pa.table({name: values for name, values in made.items() if values is not None})


def parquet(table, **options):
    """A Parquet file by pyarrow."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def pandas_parquet(frame, **options):
    """A Parquet file by pandas, index and nanoseconds included."""
    sink = io.BytesIO()
    pd.DataFrame(frame).to_parquet(sink, **options)
    return sink.getvalue()


def polars_parquet(frame, **options):
    """A Parquet file by Polars' own writer."""
    sink = io.BytesIO()
    pl.DataFrame(frame).write_parquet(sink, **options)
    return sink.getvalue()


def duckdb_parquet(query):
    """A Parquet file by DuckDB's COPY."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.parquet"
        duckdb.sql(query).write_parquet(str(path))
        return path.read_bytes()
