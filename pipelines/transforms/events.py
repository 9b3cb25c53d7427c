"""Raw rows → judged events → rows of `interactions` and `quarantine`.

An event is a raw row with the columns of `interactions`, every reason against it, and `_row`, its
place in the raw files. Refused rows stay in the frame: nothing is dropped before it is counted.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from feature_store.tables.interactions import INTERACTIONS
from pipelines.schema import typed
from pipelines.sources.interface import ROW

RAW_CHARS = 4096
"""Characters of a refused row that are kept."""
_NOT_OF_THE_EVENT = ("day", "source_file", "tie_order", "delivery_day", "also_delivered")
_LINE_BITS, _FILE_BITS = 40, 23
"""Of `tie_order`: places in files of up to 1 TiB, and what decides between files; with no sign."""

Reason = tuple[Column, str | Column]
"""A condition that, where true, speaks against a row, and its text, or a choice of texts; no text
holds a value of the row, so that reasons can be counted."""


def is_tolerable(refused: int, rows: int, largest_share: float) -> bool:
    """Whether so many refused rows say nothing against the others.

    Up to the share they don't, nor does a single row among few; where the share is 0, any does.

    Example:
        With a share of 0.05, one of three rows is tolerable, two of six are not.
    """
    return refused <= largest_share * rows or (refused == 1 < rows and largest_share > 0)


def judge_events(events: DataFrame, *, earliest: date) -> DataFrame:
    """The same events with the reasons that depend on when they were delivered.

    Args:
        events: as `parse_events` gives them. `_row.delivery_day` is null in a log of all days,
            whose later events are later runs' business.
        earliest: events before it are a default or a unit mistake.
    """
    time = F.col("event_time")
    end = F.date_add(f"{ROW}.delivery_day", 1).cast("timestamp")
    reasons: list[Reason] = [
        (time < _instant(date(1970, 1, 1)), "event_time is negative"),
        (
            (time >= _instant(date(1970, 1, 1))) & (time < _instant(earliest)),
            f"event_time is before {earliest}",
        ),
        (time >= end, "event_time is after the delivery's day"),
    ]
    return events.withColumn("reasons", with_reasons(F.col("reasons"), reasons))


def up_to(events: DataFrame, day: date) -> DataFrame:
    """The events before the end of the day, and those without a time that could be read."""
    return events.where(~is_after(day) | F.col("event_time").isNull())


def is_after(day: date) -> Column:
    """Whether an event happened after the end of the day; null where it has no time."""
    return F.col("event_time") >= _instant(day + timedelta(days=1))


def refuse_unknown_items(events: DataFrame, items: DataFrame) -> DataFrame:
    """The same events; one whose item isn't in `items` has a reason more.

    Args:
        events: judged.
        items: item_id, last_listed_day.

    Returns:
        The events; `of_withdrawn`: whether it happened after the item's last_listed_day, which
        speaks against nothing: what was shown before is still met.
    """
    known = items.select("item_id", "last_listed_day", F.lit(True).alias("_known"))
    unknown = F.col("_known").isNull() & F.col("item_id").isNotNull()
    joined = events.join(known, "item_id", "left")
    reasons = [(unknown, "item_id is not in the catalogue")]
    after = F.coalesce(F.to_date("event_time") > F.col("last_listed_day"), F.lit(False))
    judged = {"reasons": with_reasons(F.col("reasons"), reasons), "of_withdrawn": after}
    return joined.withColumns(judged).drop("_known", "last_listed_day")


def accepted(events: DataFrame) -> DataFrame:
    """Rows of `interactions`: the events without a reason against them, not yet de-duplicated."""
    return events.where(F.size("reasons") == 0).select(
        F.to_date("event_time").alias("day"),
        *(n for n in INTERACTIONS.column_names if n not in _NOT_OF_THE_EVENT),
        F.col(f"{ROW}.source_file").alias("source_file"),
        tie_order().alias("tie_order"),
        F.col(f"{ROW}.delivery_day").alias("delivery_day"),
        typed(F.create_map(), INTERACTIONS, "also_delivered"),
    )


def tie_order() -> Column:
    """What orders a user's events of the same time: `file · 2^40 + line`.

    `line` is the row's place in its file, because a source that writes one event after the other
    knows which came first. Files have no such order, and one that follows their names or lengths
    would be one of items where a source has a file per item: `file` is 23 bits of xxHash64 of
    source_file, user_id and event_time, another order for every user and time.
    """
    file = F.xxhash64(f"{ROW}.source_file", "user_id", "event_time")
    file = F.shiftleft(file.bitwiseAND(F.lit((1 << _FILE_BITS) - 1)), _LINE_BITS)
    return file.bitwiseOR(F.col(f"{ROW}.line").bitwiseAND(F.lit((1 << _LINE_BITS) - 1)))


def keep_text_of_refused(events: DataFrame) -> DataFrame:
    """The same events; `_row.raw` is null in accepted ones and cut to 4,096 characters in others.

    `_row.raw_chars` is its length before the cut. What isn't valid UTF-8 is replaced by U+FFFD.
    """
    text, is_refused = F.make_valid_utf8(f"{ROW}.raw"), F.size("reasons") > 0
    row = F.struct(
        F.col(f"{ROW}.source_file").alias("source_file"),
        F.col(f"{ROW}.line").alias("line"),
        F.when(is_refused, F.substring(text, 1, RAW_CHARS)).alias("raw"),
        F.when(is_refused, F.length(text).cast("long")).alias("raw_chars"),
        F.col(f"{ROW}.delivery_day").alias("delivery_day"),
    )
    return events.withColumn(ROW, row)


def refused(events: DataFrame, day: date) -> DataFrame:
    """Rows of `quarantine`: the events of `keep_text_of_refused` with a reason against them."""
    of_the_row = (f"{ROW}.{name}" for name in ("source_file", "line", "raw", "raw_chars"))
    return events.where(F.size("reasons") > 0).select(
        F.lit(day).alias("day"), *of_the_row, "reasons"
    )


def with_reasons(before: Column, more: Sequence[Reason]) -> Column:
    """The reasons before, and the texts of those that hold; no array is built for a good row."""
    holds = [F.coalesce(condition, F.lit(False)) for condition, _ in more]
    texts = F.array_compact(F.array(*(F.when(condition, text) for condition, text in more)))
    return F.when(reduce(lambda a, b: a | b, holds), F.concat(before, texts)).otherwise(before)


def _instant(day: date) -> Column:
    """The day's first instant, UTC."""
    return F.lit(datetime(day.year, day.month, day.day, tzinfo=UTC))
