"""Records of delimited text as rows; a record may span lines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import groupby, islice

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.errors import DataRefused
from pipelines.sources.csv_records import fields, records
from pipelines.sources.interface import Delimited
from pipelines.sources.parts import FILE, LINE, PROBLEM, TEXT, Parts, RawRows, together
from pipelines.sources.raw_columns import resolved
from pipelines.sources.raw_files import RawFiles, literal
from pipelines.sources.raw_lines import (
    BROKEN,
    is_given,
    line_number,
    lines_of,
    parsable,
    problem_of,
    text_schema,
    unpacked,
)
from pipelines.sources.text_heads import BOM, header_of

_JOINED_AT_ONCE = 4096
_SEPARATORS = (",", ";", "\t", "|")


def delimited_rows(spark: SparkSession, raw_files: RawFiles, parts: Parts) -> RawRows:
    """Records of delimited text as text columns; headers and blank lines are no rows.

    Most files are read line by line. One that has a line with an odd number of quotes is read in
    one piece and in order, because only then can its lines be joined.

    Raises:
        DataRefused: a file has no header, or its header lacks a needed column.
        DeliveryUnreadable: a file can't be opened.
    """
    layout = parts.format
    assert isinstance(layout, Delimited)
    headers = dict.fromkeys(parts.files, "")
    if layout.names is None:
        headers = together(
            lambda file: header_of(raw_files, file, parts.names[file], layout), parts.files
        )
    names = {header: _column_names(layout, header) for header in set(headers.values())}
    needs = parts.needs.among(name for each in names.values() for name in each)
    survey = _survey(spark, raw_files, parts, layout, headers)
    frames = []
    for header in sorted(names):
        files = [file for file in parts.files if headers[file] == header]
        _refuse_other_separator(parts.names[files[0]], names[header], layout)
        columns = resolved(parts.names[files[0]], names[header], needs)
        kind = _Kind(layout, header, len(names[header]), columns, parts.longest)
        joined = [file for file in files if file in survey.spanning]
        whole = [file for file in files if file not in survey.spanning]
        broken = [file for file in whole if file in survey.broken]
        sound = [file for file in whole if file not in survey.broken]
        frames += [_by_line(spark, sound, kind, is_sound=True)] if sound else []
        frames += [_by_line(spark, broken, kind, is_sound=False)] if broken else []
        frames += [_by_record(spark, joined, kind)] if joined else []
    return RawRows(
        frame=reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames),
        header_repeats=survey.header_repeats,
    )


@dataclass(frozen=True)
class _Kind:
    """What files with one header have in common."""

    layout: Delimited
    header: str
    num_fields: int
    columns: Mapping[int, str]
    longest: int

    @property
    def field_names(self) -> list[str]:
        """What fields are called while they are parsed: by place, since names may be alike."""
        return [f"_{place}" for place in range(self.num_fields)]

    def parsed(self, text: Column) -> Column:
        """A record as a struct of text."""
        options = {
            "sep": self.layout.separator,
            "quote": '"' if self.layout.quoted else "",
            "escape": '"' if self.layout.quoted else "\\",
            "mode": "PERMISSIVE",
            "columnNameOfCorruptRecord": BROKEN,
        }
        return F.from_csv(text, text_schema(self.field_names), options)

    def rows(self, lines: DataFrame) -> DataFrame:
        """Lines with their fields as rows; headers and blank lines are none."""
        text = F.col(TEXT)
        lines = lines.where(is_given(text))
        if self.header:
            lines = lines.where(~text.isin(self.header, BOM + self.header))
        columns = {f"_{place}": name for place, name in self.columns.items()}
        return unpacked(lines, columns, f"line does not have {self.num_fields} fields")


def _by_line(
    spark: SparkSession, files: Sequence[str], kind: _Kind, *, is_sound: bool
) -> DataFrame:
    """Records that are lines; `is_sound` says that each of them can be parsed."""
    longest = None if is_sound else kind.longest
    parsed = kind.parsed(parsable(longest))
    return kind.rows(lines_of(spark, files, longest, parsed, has_header=bool(kind.header)))


def _by_record(spark: SparkSession, files: Sequence[str], kind: _Kind) -> DataFrame:
    """Records of files that have to be read in order: each of them as one piece."""
    lines = spark.read.text([literal(file) for file in files]).select(
        F.col("_metadata.file_path").alias(FILE),
        line_number(has_header=bool(kind.header)).alias(LINE),
        # Arrow takes no text that isn't UTF-8.
        F.col("value").cast("binary").alias(TEXT),
    )
    join = partial(_joined, separator=kind.layout.separator, longest=kind.longest)
    schema = f"{FILE} string, {LINE} bigint, {TEXT} binary, {PROBLEM} string"
    together_in_order = lines.repartition(len(files), FILE).sortWithinPartitions(FILE, LINE)
    text = F.col(TEXT)
    joined = (
        together_in_order.mapInArrow(join, schema)
        .withColumn(TEXT, text.cast("string"))
        .withColumn(PROBLEM, F.coalesce(PROBLEM, problem_of(text, kind.longest)))
        .withColumn("fields", kind.parsed(F.when(F.col(PROBLEM).isNull(), text)))
    )
    return kind.rows(joined)


def _joined(
    batches: Iterator[pa.RecordBatch], *, separator: str, longest: int
) -> Iterator[pa.RecordBatch]:
    """Lines of files, each whole and in order, as records."""
    lines = (
        (file, line, text.decode(errors="surrogateescape"))
        for batch in batches
        for file, line, text in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    )
    for file, of_file in groupby(lines, key=lambda line: line[0]):
        found = records(
            ((line, text) for _, line, text in of_file), separator=separator, longest=longest
        )
        while some := list(islice(found, _JOINED_AT_ONCE)):
            yield pa.RecordBatch.from_pydict(
                {
                    FILE: pa.array([file] * len(some), pa.string()),
                    LINE: pa.array([each.line for each in some], pa.int64()),
                    TEXT: pa.array(
                        [each.text.encode(errors="surrogateescape") for each in some], pa.binary()
                    ),
                    PROBLEM: pa.array([each.problem for each in some], pa.string()),
                }
            )


@dataclass(frozen=True)
class _Survey:
    """What one look at every line tells about files.

    Args:
        spanning: those that have a line with an odd number of quotes.
        broken: those that have a line which isn't text, or is too long.
        header_repeats: lines that repeat their file's header.
    """

    spanning: frozenset[str]
    broken: frozenset[str]
    header_repeats: int


def _survey(
    spark: SparkSession,
    raw_files: RawFiles,
    parts: Parts,
    layout: Delimited,
    headers: Mapping[str, str],
) -> _Survey:
    """Look at every line, so that most files need not be looked at closely when they are parsed."""
    if not layout.quoted:
        return _Survey(frozenset(), frozenset(headers), 0)
    value, lone = F.col("value"), [header for header in set(headers.values()) if header]
    is_header = value.isin(*lone, *(BOM + header for header in lone)) if lone else F.lit(False)
    quotes = F.octet_length(value) - F.octet_length(F.replace(value, F.lit('"'), F.lit("")))
    is_broken = problem_of(value, parts.longest).isNotNull()
    lines = spark.read.text([literal(file) for file in headers])
    counts = (
        lines.where(F.contains(value, F.lit('"')) | is_header | is_broken)
        .groupBy(F.col("_metadata.file_path").alias(FILE))
        .agg(
            F.bool_or(quotes % 2 == 1).alias("is_odd"),
            F.bool_or(is_broken).alias("is_broken"),
            F.count_if(is_header).alias("headers"),
        )
        .collect()
    )
    by_uri = {uri: file for file in headers for uri in raw_files.uris(file)}
    return _Survey(
        spanning=frozenset(by_uri[each[FILE]] for each in counts if each["is_odd"]),
        broken=frozenset(by_uri[each[FILE]] for each in counts if each["is_broken"]),
        header_repeats=sum(max(int(each["headers"]) - 1, 0) for each in counts),
    )


def _column_names(layout: Delimited, header: str) -> tuple[str, ...]:
    if layout.names is not None:
        return layout.names
    called = dict(layout.rename)
    cells = [cell.strip() for cell in fields(header, layout.separator, quoted=layout.quoted)]
    return tuple(called.get(cell, cell) for cell in cells)


def _refuse_other_separator(file: str, names: Sequence[str], layout: Delimited) -> None:
    if len(names) > 1:
        return
    others = [each for each in _SEPARATORS if each in names[0] and each != layout.separator]
    if others:
        raise DataRefused(
            f"{file}: its header {names[0]!r} has one column by the separator "
            f"{layout.separator!r}, and more by {others[0]!r}. Set source.separator (of a "
            "catalogue: source.catalogue.separator) to the one that is delivered"
        )
