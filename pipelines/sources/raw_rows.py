"""Raw files as rows: the columns as they came, and where each row came from."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.sources.interface import ROW, RawLog
from pipelines.sources.parts import FILE, LINE, PROBLEM, TEXT, Parts, RawRows
from pipelines.sources.raw_columns import named as named
from pipelines.sources.raw_columns import needs_of_log
from pipelines.sources.raw_delimited import delimited_rows
from pipelines.sources.raw_files import RawFiles
from pipelines.sources.raw_json import json_rows
from pipelines.sources.raw_parquet import parquet_rows

LONGEST_LINE = 65_536
"""Characters; a longer line is refused unparsed. No feedback event is that long."""
_SPLIT_BYTES = 32 << 20


def read_rows(spark: SparkSession, raw_files: RawFiles, log: RawLog) -> RawRows:
    """One row per raw row: the raw columns and `_row`; blank lines and headers are no rows.

    Text formats give text columns, Parquet its own types; a column that the preset names has its
    spelling there. `_row.line` is the 0-based row in the file (Parquet, and text files that Spark
    doesn't split) or the row in the split plus the split's first byte: unique in the file, and the
    same in every run (`one_split_per_task`).

    Raises:
        DataRefused: a file isn't of the format, or what the preset needs of it is not there.
        DeliveryUnreadable: a file can't be opened.
    """
    parts = Parts(
        files=log.files,
        names={file: log.name(file) for file in log.files},
        format=log.format,
        needs=needs_of_log(log.columns, log.rules),
        longest=LONGEST_LINE,
    )
    return read_parts(spark, raw_files, parts, days=log.days)


def read_parts(
    spark: SparkSession, raw_files: RawFiles, parts: Parts, *, days: Sequence[date] = ()
) -> RawRows:
    """Rows of files of one format, as `read_rows` gives them.

    Args:
        spark: the session.
        raw_files: where the files are.
        parts: the files.
        days: of each file, whose delivery it is; empty where it is no day's.

    Raises:
        DataRefused: a file isn't of the format, or what the preset needs of it is not there.
        DeliveryUnreadable: a file can't be opened.
    """
    if not parts.files:
        text = [F.lit(None).cast("string").alias(name) for name in parts.needs.columns]
        row = F.lit(None).cast(
            "struct<source_file string, delivery_day date, line bigint, raw string, problem string>"
        )
        return RawRows(frame=spark.range(0).select(*text, row.alias(ROW)))
    if parts.format == "parquet":
        rows = parquet_rows(spark, raw_files, parts)
    elif parts.format == "json":
        rows = json_rows(spark, raw_files, parts)
    else:
        rows = delimited_rows(spark, raw_files, parts)
    return replace(rows, frame=_placed(rows.frame, raw_files, parts, days))


@contextmanager
def one_split_per_task(spark: SparkSession) -> Iterator[None]:
    """Within it, Spark plans reads with one piece of one file per task, whatever the cores.

    This is what makes `_row.line` the same on every machine. Reading many small files that way
    is slower, so that it's not the session's setting.
    """
    keys = ("spark.sql.files.openCostInBytes", "spark.sql.files.maxPartitionBytes")
    before = {key: spark.conf.get(key) for key in keys}
    try:
        for key in keys:
            spark.conf.set(key, str(_SPLIT_BYTES))
        yield
    finally:
        for key, value in before.items():
            spark.conf.set(key, value)


def _placed(rows: DataFrame, raw_files: RawFiles, parts: Parts, days: Sequence[date]) -> DataFrame:
    """The rows of a reader with `_row` in place of what says where they stood."""
    of = dict(zip(parts.files, days, strict=True)) if days else {}
    name, day = "_row_source_file", "_row_day"
    if len(parts.files) == 1:
        (file,) = parts.files
        there = F.lit(parts.names[file]).alias(name), F.lit(of.get(file)).cast("date").alias(day)
        rows = rows.select("*", *there)
    else:
        places: list[Any] = [
            (uri, parts.names[file], of.get(file))
            for file in parts.files
            for uri in dict.fromkeys(raw_files.uris(file))
        ]
        schema = f"{FILE} string, {name} string, {day} date"
        by_file = F.broadcast(rows.sparkSession.createDataFrame(places, schema))
        rows = rows.join(by_file, FILE, "left")
    row = F.struct(
        F.col(name).alias("source_file"),
        F.col(day).alias("delivery_day"),
        F.col(LINE).alias("line"),
        F.col(TEXT).alias("raw"),
        F.col(PROBLEM).alias("problem"),
    )
    ours = (FILE, LINE, TEXT, PROBLEM, name, day)
    raw = [named(column) for column in rows.columns if column not in ours]
    return rows.select(*raw, row.alias(ROW))
