r"""Raw ids as text: the one rule for events and the catalogue.

- Blanks, tabs, line breaks, non-breaking and zero-width spaces and byte order marks at both ends
  are no part of an id. Inside of it they are.
- What is left is brought to Unicode's normal form C, so that `é` is one id however it was typed.
- Nothing, `nan`, `null`, `none`, `\N` and `<NA>` in any case are how pandas and databases write an
  id that isn't there.
- Whole numbers in a column of floats or decimals are integers: 42.0 is `42`. Text stays: `42.0`.
"""

import re
from collections.abc import Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BinaryType,
    DataType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegralType,
    NullType,
    StringType,
)

from pipelines.errors import DataRefused
from pipelines.transforms.catalyst import composed

BLANKS = "".join(
    [
        "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680",
        *(chr(code) for code in range(0x2000, 0x200E)),  # spaces of all widths, zero included
        "\u2028\u2029\u202f\u205f\u2060\u3000\ufeff",
    ]
)
"""Characters that an id neither begins nor ends with."""
_FLOATS = re.compile(r"(user|item)_id: column .* holds floats", re.DOTALL)
_MISSING = ("", "nan", "null", "none", "\\n", "<na>")
_LONGEST_MISSING = max(map(len, _MISSING))
_EXACT_INTEGERS = {"double": 2**53, "float": 2**24}
"""Above it, not every integer has a float, so that two ids may have become one."""


def refuse_id_column(role: str, name: str, kind: DataType) -> None:
    """Refuse a raw column that can't hold ids, by its type; reads no row.

    Args:
        role: `user_id` or `item_id`.
        name: the raw column.
        kind: its type.

    Raises:
        DataRefused: it holds booleans, dates, times, lists, maps or structs.
    """
    if not isinstance(kind, _ID_TYPES):
        raise DataRefused(
            f"{role}: column {name!r} holds {in_words(kind)}; ids are text or whole numbers. "
            f"Nothing was published; name another column under {role}, or deliver ids"
        )


def identifier(column: Column, kind: DataType) -> Column:
    r"""A raw column as ids: text, null where there is none or where `holds_floats` is true.

    Args:
        column: the raw column.
        kind: its type, one that `refuse_id_column` accepts.

    Example:
        `'\ufeff42 '` and 42.0 are `'42'`; `'NaN'`, `'<NA>'` and `' '` are null.
    """
    if isinstance(kind, IntegralType):
        return column.cast("string")
    if isinstance(kind, DoubleType | FloatType):
        return F.when(_is_exact(column, kind), column.cast("long").cast("string"))
    if isinstance(kind, DecimalType):
        return F.when(_is_exact(column, kind), _floor(column, kind).cast("string"))
    return present_text(column.cast("string"))


def holds_floats(column: Column, kind: DataType) -> Column | None:
    """Whether a row's id is a number that is no integer, which speaks against the whole column.

    Infinite numbers, and those from 2^53 on (2^24 in a column of 32-bit floats), are such; NaN is a
    missing id.

    Returns:
        A condition; None where the type rules it out.
    """
    if isinstance(kind, DoubleType | FloatType):
        return column.isNotNull() & ~F.isnan(column) & ~_is_exact(column, kind)
    if isinstance(kind, DecimalType) and kind.scale > 0:
        return ~_is_exact(column, kind)
    return None


def floats_refused(role: str, name: str) -> str:
    """What is said of an id column in which `holds_floats` is true anywhere."""
    return f"{role}: column {name!r} holds floats"


def refused_columns(reasons: Iterable[str]) -> str | None:
    """Why a delivery is refused as a whole, by the reasons against its rows; None: it isn't.

    Which ids such a column held before they became floats can't be told, so that its whole
    numbers are no better than the rest.
    """
    columns = [reason for reason in reasons if _FLOATS.fullmatch(reason)]
    if not columns:
        return None
    return (
        f"{'; '.join(columns)}; ids are text or whole numbers below 2^53 (2^24 in 32-bit floats). "
        "The rows are in the quarantine; interactions stays as it was. Deliver the ids as text or "
        "integers and run the day again"
    )


def present_text(text: Column) -> Column:
    """Text without blanks around it, in normal form C; null where it says that nothing is there."""
    # Most ids begin and end with printable ASCII, and to see that costs less than to trim.
    last = F.substring(text, -1, 1)
    is_bare = text.between("!", "~") & last.between("!", "~")
    bare = F.when(is_bare, text).otherwise(F.trim(text, F.lit(BLANKS)))
    # Pure ASCII is as long in bytes as in characters, and in normal form C as it is.
    normal = F.when(F.length(text) == F.octet_length(text), bare).otherwise(composed(bare))
    return F.when(~is_missing(bare), normal)


def is_missing(bare: Column) -> Column:
    """Whether text without blanks around it says that nothing is there."""
    return (F.octet_length(bare) <= _LONGEST_MISSING) & F.lower(bare).isin(*_MISSING)


def in_words(kind: DataType) -> str:
    """The values of a raw column's type, in the plural."""
    return _WORDS.get(kind.typeName(), str(kind.typeName()))


def _is_exact(column: Column, kind: DataType) -> Column:
    if isinstance(kind, DecimalType):
        return column == _floor(column, kind)
    # NaN is greater than every number.
    return (F.abs(column) < _EXACT_INTEGERS[kind.typeName()]) & (column == F.rint(column))


def _floor(column: Column, kind: DecimalType) -> Column:
    return column.cast(DecimalType(kind.precision, 0)) if kind.scale else column


_ID_TYPES = (
    StringType,
    BinaryType,
    IntegralType,
    DoubleType,
    FloatType,
    DecimalType,
    NullType,
)
_WORDS = {
    "boolean": "booleans",
    "date": "dates",
    "timestamp": "timestamps",
    "timestamp_ntz": "timestamps",
    "array": "lists",
    "map": "maps",
    "struct": "structs",
    "variant": "values of any type",
    "binary": "bytes",
    "string": "text",
    "double": "floats",
    "float": "floats",
    "decimal": "decimals",
    **dict.fromkeys(("byte", "short", "integer", "long"), "integers"),
}
