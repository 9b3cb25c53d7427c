"""Raw files as rows: the columns as they came, and where each row came from."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import reduce
from itertools import groupby

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.config import ColumnMapping
from pipelines.errors import DataRefused
from pipelines.sources.interface import Delimited, RawLog
from pipelines.sources.raw_files import RawFiles, literal

ROW = "_row"
"""Struct of every raw row: source_file, delivery_day (null in a dump), line, raw (its text),
problem (why it has no columns)."""
LONGEST_LINE = 65_536
"""Characters; a longer line is refused unparsed. No feedback event is that long."""
_BROKEN = "_broken"
_FILE = "_row_file"
_INDEX_BITS = 33  # monotonically_increasing_id: the row within its Spark partition
_SAMPLED_LINES = 1000
_SPLIT_BYTES = 128 << 20


def read_rows(spark: SparkSession, raw_files: RawFiles, log: RawLog) -> DataFrame:
    """One row per raw row: the raw columns and `_row`; blank lines and headers are no rows.

    Text formats give text columns, Parquet its own types. `_row.line` is the 0-based row in the
    file (Parquet, and text files that Spark doesn't split) or the row in the split plus the
    split's first byte: unique in the file, and the same in every run (`one_split_per_task`).

    Raises:
        DataRefused: a column that the mapping names is not there.
        DeliveryUnreadable: a file can't be opened.
    """
    if log.format == "parquet":
        return _parquet_rows(spark, raw_files, log)
    if log.format == "json":
        return _json_rows(spark, raw_files, log)
    headers = ((_header(raw_files, file, log.format), file) for file in log.files)
    parts = [
        _delimited_rows(spark, raw_files, log, header, [file for _, file in group])
        for header, group in groupby(sorted(headers), key=lambda pair: pair[0])
    ]
    return reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), parts)


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


def named(name: str) -> Column:
    """A raw column by its literal name, which may hold dots."""
    return F.col(f"`{name}`")


def _header(raw_files: RawFiles, file: str, layout: Delimited) -> str:
    if layout.names is not None:
        return ""
    line = raw_files.first_line(file)
    if line is None or not line.strip():
        raise DataRefused(
            f"raw file {file} is empty: not even a header. Nothing was published; deliver it "
            "again. For a day without events, deliver the header alone"
        )
    return line


def _delimited_rows(
    spark: SparkSession, raw_files: RawFiles, log: RawLog, header: str, files: list[str]
) -> DataFrame:
    layout = log.format
    assert isinstance(layout, Delimited)
    names = _column_names(layout, header)
    _refuse_missing(names, log.columns, files)
    options = {
        "sep": layout.separator,
        "quote": '"' if layout.quoted else "",
        "escape": '"' if layout.quoted else "\\",
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": _BROKEN,
    }
    fields = F.from_csv(_parsable(), _text_schema(names), options)
    lines = _placed(_lines(spark, files, header, fields), raw_files, log)
    return _unpacked(lines, names, f"line does not have {len(names)} fields")


def _column_names(layout: Delimited, header: str) -> tuple[str, ...]:
    if layout.names is not None:
        return layout.names
    called = dict(layout.rename)
    cells = [cell.strip().strip('"') for cell in header.split(layout.separator)]
    return tuple(called.get(cell, cell) for cell in cells)


def _json_rows(spark: SparkSession, raw_files: RawFiles, log: RawLog) -> DataFrame:
    files = list(log.files)
    found = _json_keys(spark, files)
    # A signal may be absent from many rows, an id or a time may not.
    essential = ColumnMapping(
        user_id=log.columns.user_id, item_id=log.columns.item_id, event_time=log.columns.event_time
    )
    if found:
        _refuse_missing(found, essential, files)
    names = sorted({*found, *mapped_columns(log.columns)})
    options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": _BROKEN}
    fields = F.from_json(_parsable(), _text_schema(names), options)
    lines = _placed(_lines(spark, files, "", fields), raw_files, log)
    return _unpacked(lines, names, "line is not a JSON object")


def _json_keys(spark: SparkSession, files: list[str]) -> list[str]:
    """Keys that the first lines have."""
    lines = _text(spark, files).where(F.length("value") <= LONGEST_LINE).limit(_SAMPLED_LINES)
    keys = lines.select(F.explode(F.json_object_keys("value")).alias("key")).distinct()
    return sorted(row["key"] for row in keys.collect())


def _parquet_rows(spark: SparkSession, raw_files: RawFiles, log: RawLog) -> DataFrame:
    frame = spark.read.parquet(*map(literal, log.files))
    names = frame.columns
    _refuse_missing(names, log.columns, log.files)
    everything = F.struct(*(named(name) for name in names))
    rows = frame.select(
        *(named(name) for name in names),
        F.col("_metadata.file_path").alias(_FILE),
        F.col("_metadata.row_index").alias("_row_line"),
    )
    row = F.struct(
        *_place(),
        F.col("_row_line").alias("line"),
        F.to_json(everything, {"ignoreNullFields": "false"}).alias("raw"),
        F.lit(None).cast("string").alias("problem"),
    )
    return _placed(rows, raw_files, log).select(*(named(name) for name in names), row.alias(ROW))


def _text(spark: SparkSession, files: Iterable[str]) -> DataFrame:
    return spark.read.text([literal(file) for file in files])


def _lines(spark: SparkSession, files: list[str], header: str, fields: Column) -> DataFrame:
    """Lines with file, number, problem (as text) and fields.

    The row counter makes this one select a barrier: Spark would otherwise push filters over the
    columns below the parser, and parse a line anew for each column that they name.
    """
    start = F.col("_metadata.file_block_start")
    index = F.monotonically_increasing_id().bitwiseAND(F.lit((1 << _INDEX_BITS) - 1))
    after_header = F.when(start == 0, 1).otherwise(0) if header else F.lit(0)
    lines = _text(spark, files).select(
        F.col("value"),
        F.col("_metadata.file_path").alias(_FILE),
        (start + index - after_header).alias("line"),
        _line_problem().alias("problem"),
        fields.alias("fields"),
    )
    return lines.where((F.trim("value") != "") & (F.col("value") != header))


def _placed(rows: DataFrame, raw_files: RawFiles, log: RawLog) -> DataFrame:
    """The same rows, with what `_place` needs of their files."""
    days = log.days or (None,) * len(log.files)
    places = [
        (uri, log.name(file), day)
        for file, day in zip(log.files, days, strict=True)
        for uri in dict.fromkeys(raw_files.uris(file))
    ]
    schema = f"{_FILE} string, _source_file string, _delivery_day date"
    by_file = rows.sparkSession.createDataFrame(places, schema)
    return rows.join(F.broadcast(by_file), _FILE, "left")


def _place() -> tuple[Column, Column]:
    """The first fields of `_row`."""
    file, day = F.col("_source_file"), F.col("_delivery_day")
    return file.alias("source_file"), day.alias("delivery_day")


def _line_problem() -> Column:
    return F.when(~F.is_valid_utf8("value"), "line is not valid UTF-8").when(
        F.length("value") > LONGEST_LINE, f"line is longer than {LONGEST_LINE:,} characters"
    )


def _parsable() -> Column:
    return F.when(_line_problem().isNull(), F.col("value"))


def _text_schema(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}` STRING" for name in [*names, _BROKEN])


def _unpacked(lines: DataFrame, names: Iterable[str], unparsable: str) -> DataFrame:
    broken = F.when(F.col(f"fields.{_BROKEN}").isNotNull(), unparsable)
    row = F.struct(
        *_place(),
        "line",
        F.col("value").alias("raw"),
        F.coalesce("problem", broken).alias("problem"),
    )
    columns = [F.col(f"fields.`{name}`").alias(name) for name in names]
    return lines.select(*columns, row.alias(ROW))


def mapped_columns(columns: ColumnMapping) -> list[str]:
    """Raw columns that a mapping names."""
    single = (
        columns.user_id,
        columns.item_id,
        columns.event_time.column,
        columns.request_id,
        columns.position,
        columns.dwell_seconds,
    )
    return list(dict.fromkeys([*(name for name in single if name), *columns.signals]))


def _refuse_missing(found: Iterable[str], columns: ColumnMapping, files: Iterable[str]) -> None:
    """Refuse a delivery that lost or renamed a column; all of them at once.

    Raises:
        DataRefused: with what was found and what resembles the missing.
    """
    there = list(found)
    folded = [name.lower() for name in there]
    twice = sorted({name for name in folded if folded.count(name) > 1})
    missing = [name for name in mapped_columns(columns) if name.lower() not in folded]
    problems = [f"column {name!r} is there more than once" for name in twice]
    problems += [f"column {name!r} is missing" + _near(name, there) for name in missing]
    if problems:
        raise DataRefused(
            f"raw file {next(iter(files))}: " + "; ".join(problems) + f". Found {there}, expected "
            f"{mapped_columns(columns)}. Nothing was published; deliver the columns again, or name "
            "the new ones in the preset's source"
        )


def _near(name: str, there: list[str]) -> str:
    close = difflib.get_close_matches(name, there, n=1, cutoff=0.5)
    return f" (renamed to {close[0]!r}?)" if close else ""
