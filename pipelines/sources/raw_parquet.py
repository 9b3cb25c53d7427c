"""Parquet files of every writer as rows; what their footers say is compared before a row is read.

Files of equal columns are read together, each such group with its own types; then the groups' types
become one. What an instant is stored in (nanoseconds, INT96, without a zone) is no difference.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BinaryType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegralType,
    LongType,
    NullType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
    TimeType,
)

from pipelines.errors import DataRefused
from pipelines.sources.parts import FILE, LINE, PROBLEM, TEXT, Parts, RawRows, together
from pipelines.sources.raw_columns import named, resolved
from pipelines.sources.raw_files import RawFiles, literal

_LONG_DIGITS = 19
_MOST_DIGITS = 38


@dataclass(frozen=True)
class _Field:
    """A column of a Parquet file: its name, and what the footer declares."""

    name: str
    parquet: str
    declared: Any = field(compare=False, repr=False)

    @property
    def in_words(self) -> str:
        """The type in a message: `string`, `INT64`, `TIMESTAMP(NANOS,false)`."""
        _, physical, rest = self.parquet.split(" ", 2)
        logical = rest.removeprefix(self.name).strip()
        if physical == "group":
            return "nested values"
        if not logical:
            return physical.upper()
        return "string" if logical == "(STRING)" else logical[1:-1]

    @property
    def is_nanoseconds(self) -> bool:
        """Whether Spark reads a number where an instant is meant."""
        return "(TIMESTAMP(NANOS" in self.parquet

    @property
    def is_nothing(self) -> bool:
        """Whether no value was ever there, so that its type says nothing."""
        return "(UNKNOWN)" in self.parquet


@dataclass(frozen=True)
class _Group:
    """Files of equal columns, and those of their columns that are read, by the preset's names."""

    files: tuple[str, ...]
    fields: Mapping[str, _Field]


def parquet_rows(spark: SparkSession, raw_files: RawFiles, parts: Parts) -> RawRows:
    """Rows of Parquet files, each column with one type; instants in UTC, to the microsecond.

    Raises:
        DataRefused: a file isn't Parquet, lacks a needed column, or has one of another type.
        DeliveryUnreadable: a file can't be read to its end.
    """
    footers = together(lambda file: _footer(raw_files, file, parts.names[file]), parts.files)
    alike: dict[tuple[_Field, ...], list[str]] = {}
    for file, footer in footers.items():
        alike.setdefault(footer, []).append(file)
    needs = parts.needs.among(field.name for footer in alike for field in footer)
    types = _SparkTypes(spark)
    groups = []
    for footer, files in alike.items():
        columns = resolved(parts.names[files[0]], [field.name for field in footer], needs)
        groups.append(_Group(tuple(files), {n: footer[place] for place, n in columns.items()}))
    kinds = _common_types(groups, types, parts.names, needs)
    frames = [_group_rows(spark, group, kinds, types) for group in groups]
    return RawRows(frame=reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames))


class _SparkTypes:
    """Spark's own types of Parquet's, each asked for once."""

    def __init__(self, spark: SparkSession) -> None:
        jvm: Any = spark._jvm
        conf = spark._jsparkSession.sessionState().conf()
        package = jvm.org.apache.spark.sql.execution.datasources.parquet
        self._converter = package.ParquetToSparkSchemaConverter(conf)
        self._jvm = jvm
        self._known: dict[str, DataType | None] = {}

    def stored(self, field: _Field) -> DataType | None:
        """The type that Spark reads; None where it reads none."""
        if field.parquet not in self._known:
            self._known[field.parquet] = self._converted(field)
        return self._known[field.parquet]

    def _converted(self, field: _Field) -> DataType | None:
        alone = self._jvm.java.util.Collections.singletonList(field.declared)
        message = self._jvm.org.apache.parquet.schema.MessageType("alone", alone)
        try:
            schema = self._converter.convert(message).json()
        except (PySparkException, Py4JError):
            return None
        (only,) = StructType.fromJson(json.loads(schema)).fields
        # Spark knows the type, and refuses every plan that has it.
        return None if isinstance(only.dataType, TimeType) else only.dataType

    def meant(self, field: _Field) -> DataType | None:
        """The type of what is meant: instants in UTC, bytes as text; None where none is read."""
        stored = self.stored(field)
        if field.is_nothing:
            return NullType()
        if field.is_nanoseconds or isinstance(stored, TimestampNTZType):
            return TimestampType()
        return StringType() if isinstance(stored, BinaryType) else stored


def _footer(raw_files: RawFiles, file: str, name: str) -> tuple[_Field, ...]:
    if not raw_files.head(file, 4).startswith(b"PAR1"):
        raise DataRefused(
            f"{name} is not Parquet: it doesn't begin with PAR1. Nothing was published; deliver "
            "Parquet, or set the format to what is delivered"
        )
    columns, foreign = raw_files.parquet_footer(file)
    if foreign:
        raise DataRefused(
            f"{name} is packed with {' and '.join(foreign)}, which Spark can't unpack here. "
            "Nothing was published; write it with zstd, snappy, gzip or lz4"
        )
    return tuple(_Field(*column) for column in columns)


def _common_types(
    groups: Sequence[_Group],
    types: _SparkTypes,
    names: Mapping[str, str],
    needs: Mapping[str, str],
) -> dict[str, DataType]:
    """The type of each column that all files can be read as; a needed one has to have it."""
    kinds: dict[str, DataType] = {}
    problems = []
    for name in dict.fromkeys(name for group in groups for name in group.fields):
        there = [(group.fields[name], group.files[0]) for group in groups if name in group.fields]
        meant = [types.meant(field) for field, _ in there]
        common = reduce(_common, meant)
        if common is not None:
            kinds[name] = common
        elif name in needs:
            problems.append(_conflict(name, there, meant, names))
    if problems:
        raise DataRefused(
            "; ".join(problems) + ". Nothing was published; deliver a column with one type, one "
            "that Spark reads"
        )
    return kinds


def _conflict(
    name: str,
    there: Sequence[tuple[_Field, str]],
    meant: Sequence[DataType | None],
    names: Mapping[str, str],
) -> str:
    unread = [place for place, kind in enumerate(meant) if kind is None]
    if unread:
        field, file = there[unread[0]]
        return f"{names[file]} has {name} as {field.in_words}, which can't be read"
    odd = next(n for n in range(1, len(there)) if reduce(_common, meant[: n + 1]) is None)
    first = next(n for n in range(odd) if _common(meant[n], meant[odd]) is None)
    return (
        f"{names[there[odd][1]]} has {name} as {there[odd][0].in_words}, "
        f"{names[there[first][1]]} as {there[first][0].in_words}"
    )


def _common(one: DataType | None, other: DataType | None) -> DataType | None:
    """A type that holds the values of both; None where there is none."""
    if one is None or other is None or one == other or isinstance(other, NullType):
        return one if other is not None else None
    if isinstance(one, NullType):
        return other
    both = (one, other)
    if all(isinstance(each, IntegralType) for each in both):
        return LongType()
    if all(isinstance(each, IntegralType | DecimalType) for each in both):
        return _common_decimal(*both)
    if all(isinstance(each, IntegralType | DecimalType | FloatType | DoubleType) for each in both):
        return DoubleType()
    if all(isinstance(each, DateType | TimestampType) for each in both):
        return TimestampType()
    return None


def _common_decimal(*both: DataType) -> DecimalType:
    sizes = [
        (kind.precision, kind.scale) if isinstance(kind, DecimalType) else (_LONG_DIGITS, 0)
        for kind in both
    ]
    scale = max(scale for _, scale in sizes)
    whole = max(precision - scale for precision, scale in sizes)
    return DecimalType(min(whole + scale, _MOST_DIGITS), scale)


def _group_rows(
    spark: SparkSession, group: _Group, kinds: Mapping[str, DataType], types: _SparkTypes
) -> DataFrame:
    stored = {name: types.stored(field) for name, field in group.fields.items()}
    there = {name: kind for name, kind in stored.items() if kind is not None}
    schema = StructType(
        [
            StructField(group.fields[name].name, kind)
            for name, kind in there.items()
            if not group.fields[name].is_nothing
        ]
    )
    frame = spark.read.schema(schema).parquet(*(literal(file) for file in group.files))
    values = {name: _value(group.fields[name]) for name in there}
    rows = frame.select(
        *(value.alias(name) for name, value in values.items()),
        F.col("_metadata.file_path").alias(FILE),
        F.col("_metadata.row_index").alias(LINE),
    )
    everything = F.struct(*(named(name) for name in there))
    return rows.select(
        *(named(name).cast(kinds[name]).alias(name) for name in there if name in kinds),
        FILE,
        LINE,
        F.to_json(everything, {"ignoreNullFields": "false"}).alias(TEXT),
        F.lit(None).cast("string").alias(PROBLEM),
    )


def _value(field: _Field) -> Column:
    """A column as it is meant."""
    if field.is_nothing:
        return F.lit(None)
    column = named(field.name)
    if field.is_nanoseconds:
        # Towards the past, as an instant is cut, also before 1970.
        past = column - F.pmod(column, F.lit(1000))
        return F.timestamp_micros(F.call_function("div", past, F.lit(1000)))
    return column
