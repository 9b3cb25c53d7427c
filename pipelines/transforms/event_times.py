"""Raw times as UTC timestamps; nothing is completed from the clock.

- Text needs a full date, year to day: `2024-03-10`, which is its midnight, or with a time after a
  blank or `T`, a fraction and a zone; without a zone it is UTC. `12:30`, `2024-03` and `today` are
  no times.
- Timestamps and dates of Parquet are read as they are, those without a zone as UTC.
- Numbers count from 1970 in the mapping's unit, or are places of an order.
- All are cut to microseconds.
"""

from datetime import UTC, datetime, time

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import (
    DataType,
    DateType,
    IntegralType,
    NullType,
    NumericType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from feature_store.preset import PresetError
from pipelines.config import EventTime
from pipelines.errors import DataRefused
from pipelines.transforms.identifiers import in_words

PER_SECOND = {"seconds": 1, "milliseconds": 1_000, "microseconds": 10**6, "nanoseconds": 10**9}
_TIMES = (TimestampType, TimestampNTZType, DateType)
_CALENDAR = (-62_135_596_800, 253_402_300_800)
"""Seconds since 1970 at the beginning of the years 1 and 10000."""


def refuse_time_column(how: EventTime, kind: DataType) -> None:
    """Refuse a raw column that can't be the event's time, by its type; reads no row.

    Raises:
        PresetError: a number without a unit, or a time with one.
        DataRefused: it holds booleans, lists or other values that are no times.
    """
    # Spark would take the number for seconds.
    if how.unit == "timestamp" and isinstance(kind, NumericType):
        raise PresetError(
            f"source.columns.event_time: raw column {how.column!r} is a number; set its unit "
            f"({', '.join(PER_SECOND)} or order). pandas writes nanoseconds"
        )
    if how.unit != "timestamp" and isinstance(kind, _TIMES):
        raise PresetError(
            f"source.columns.event_time: raw column {how.column!r} holds {in_words(kind)}, whose "
            f"unit can't be {how.unit}; leave the unit out"
        )
    if not isinstance(kind, (StringType, NumericType, NullType, *_TIMES)):
        raise DataRefused(
            f"event_time: column {how.column!r} holds {in_words(kind)}; expected times as text, "
            "numbers or timestamps. Nothing was published; name another column under "
            "source.columns.event_time, or deliver times"
        )


def event_time(raw: Column, how: EventTime, kind: DataType) -> Column:
    """UTC timestamp, to the microsecond; null where the raw value can't be read.

    Args:
        raw: the raw column.
        how: its unit.
        kind: its type, one that `refuse_time_column` accepts.
    """
    if isinstance(kind, _TIMES):
        return raw.cast("timestamp")
    if how.unit == "timestamp":
        text = F.trim(raw.cast("string"))
        return F.when(_has_date(text), text.try_cast("timestamp"))
    if how.unit == "order":
        origin = datetime.combine(how.origin, time.min, UTC)
        place = F.coalesce(_long(raw, kind), _whole(_decimal(raw)))
        start = F.lit(int(origin.timestamp()) * 10**6)
        micros = F.try_add(start, F.try_multiply(place, F.lit(10**6)))
        return F.when(place >= 0, F.timestamp_micros(micros))
    whole = _scaled(_long(raw, kind), how.unit)
    # Fractions, and whole numbers written as `8.8E8`: 19 digits before the point are a long's.
    exact = _decimal(raw) * F.lit(10**6).cast("decimal(7,0)")
    fractional = (exact / PER_SECOND[how.unit]).try_cast("long")
    return F.timestamp_micros(F.coalesce(whole, fractional))


def lacks_date(raw: Column, how: EventTime, kind: DataType) -> Column:
    """Whether text is a time to Spark alone, which completes it: from the clock, or with a 1."""
    if how.unit != "timestamp" or isinstance(kind, _TIMES):
        return F.lit(False)
    text = F.trim(raw.cast("string"))
    return ~_has_date(text) & text.try_cast("timestamp").isNotNull()


def is_in_calendar(time: Column) -> Column:
    """Whether a timestamp lies in the years 1 to 9999; what lies beyond is a mistaken unit."""
    first, beyond = (F.timestamp_seconds(F.lit(seconds)) for seconds in _CALENDAR)
    return (time >= first) & (time < beyond)


def in_unit(unit: str) -> str:
    """What a time of this unit is called."""
    return {"timestamp": "a timestamp", "order": "a place from 0"}.get(unit, f"{unit} since 1970")


def _has_date(text: Column) -> Column:
    """Whether text begins like 2024-03-10 or 2024-3-1, by the places of its hyphens."""
    second = F.locate("-", text, 6)
    return (F.substring(text, 5, 1) == "-") & second.isin(7, 8)


def _long(raw: Column, kind: DataType) -> Column:
    return (
        raw.cast("long") if isinstance(kind, IntegralType) else raw.cast("string").try_cast("long")
    )


def _decimal(raw: Column) -> Column:
    return raw.cast("string").try_cast("decimal(25,6)")


def _whole(number: Column) -> Column:
    return F.when(number == F.floor(number), number.try_cast("long"))


def _scaled(number: Column, unit: str) -> Column:
    """Microseconds from a whole number of `unit`; null on overflow."""
    per_second = PER_SECOND[unit]
    if per_second > 10**6:
        return F.call_function("div", number, F.lit(per_second // 10**6))
    return F.try_multiply(number, F.lit(10**6 // per_second))
