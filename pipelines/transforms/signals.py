"""Raw signals as text, the way `interactions` keeps them."""

from collections.abc import Iterable, Mapping
from functools import reduce

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DataType,
    DecimalType,
    FractionalType,
    MapType,
    StringType,
    StructType,
)

_EXACT = 2**53


def signals_of(columns: Mapping[str, tuple[Column, DataType]]) -> Column:
    """Map of the signals that a row has: name → text; blank text and null are none.

    Args:
        columns: raw columns and their types, by the signal's name.
    """
    if not columns:
        return F.create_map().cast("map<string,string>")
    there = [is_there(column, kind) for column, kind in columns.values()]
    texts = [as_text(column, kind) for column, kind in columns.values()]
    some = [F.when(each, text) for each, text in zip(there, texts, strict=True)]
    complete = reduce(lambda a, b: a & b, there)
    return F.when(complete, _map(columns, texts)).otherwise(
        F.map_filter(_map(columns, some), lambda _, value: value.isNotNull())
    )


def _map(names: Iterable[str], values: Iterable[Column]) -> Column:
    return F.create_map(
        *(part for name, value in zip(names, values, strict=True) for part in (F.lit(name), value))
    )


def is_there(column: Column, kind: DataType) -> Column:
    """Whether a raw column holds anything: not null, and not blank."""
    if isinstance(kind, StringType):
        return F.coalesce(F.trim(column) != "", F.lit(False))
    return column.isNotNull()


def as_text(column: Column, kind: DataType) -> Column:
    """A raw value as it came: text itself, numbers in their shortest text, lists as JSON.

    Example:
        5.0 is `'5'`, 0.10 of a decimal(3,2) is `'0.1'`, TRUE is `'true'`.
    """
    text = column.cast("string")
    if isinstance(kind, DecimalType):
        short = F.rtrim(F.rtrim(text, F.lit("0")), F.lit(".")) if kind.scale else text
        # Zero with many places is written 0E-18.
        return F.when(column == 0, "0").otherwise(short)
    if isinstance(kind, FractionalType):
        is_whole = (F.abs(column) < _EXACT) & (column == F.rint(column))
        return F.when(is_whole, column.cast("long").cast("string")).otherwise(text)
    if isinstance(kind, ArrayType | MapType | StructType):
        return F.to_json(column)
    return text
