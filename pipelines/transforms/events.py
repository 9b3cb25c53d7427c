"""Raw rows → judged events → one row per event.

An event is a raw row with the columns of `interactions`, every reason against it, and `_row`, its
place in the raw files. Refused rows stay in the frame: nothing is dropped before it is counted.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from feature_store.tables.interactions import INTERACTIONS
from pipelines.sources.raw_rows import ROW

RAW_CHARS = 4096
"""Characters of a refused row that are kept."""

Reason = tuple[Column, str]
"""A condition that, where true, speaks against a row, and its text; the text holds no value of the
row, so that reasons can be counted."""


def judge_events(
    events: DataFrame, *, day: date, earliest: date, future_is_refused: bool
) -> DataFrame:
    """The same events with the reasons that depend on the run.

    Args:
        events: as `parse_events` gives them.
        day: the run's day.
        earliest: events before it are a default or a unit mistake.
        future_is_refused: whether an event after the day speaks against its row (in a delivery
            of one day) or isn't this run's business (in a dump of all days).
    """
    end = _instant(day + timedelta(days=1))
    time = F.col("event_time")
    reasons: list[Reason] = [
        (time < _instant(date(1970, 1, 1)), "event_time is negative"),
        (
            (time >= _instant(date(1970, 1, 1))) & (time < _instant(earliest)),
            f"event_time is before {earliest}",
        ),
    ]
    if future_is_refused:
        reasons.append((time >= end, "event_time is after the run's day"))
    return events.withColumn("reasons", with_reasons(F.col("reasons"), reasons))


def of_the_run(events: DataFrame, *, day: date, after: date | None) -> DataFrame:
    """Those events of a dump that are this run's: after the days already taken, up to its day.

    Args:
        events: of a dump.
        day: the run's day.
        after: the last day that earlier runs took; None: there is none, and rows without a
            readable time are this run's, too.
    """
    time = F.col("event_time")
    until = time < _instant(day + timedelta(days=1))
    if after is None:
        return events.where(until | time.isNull())
    return events.where(until & (time >= _instant(after + timedelta(days=1))))


def refuse_unknown_items(events: DataFrame, items: DataFrame) -> DataFrame:
    """The same events; one whose item isn't in `items` (column item_id) has a reason more."""
    known = items.select("item_id", F.lit(True).alias("_known"))
    unknown = F.col("_known").isNull() & F.col("item_id").isNotNull()
    joined = events.join(known, "item_id", "left")
    reasons = [(unknown, "item_id is not in the catalogue")]
    return joined.withColumn("reasons", with_reasons(F.col("reasons"), reasons)).drop("_known")


def accepted(events: DataFrame) -> DataFrame:
    """Rows of `interactions`: the events without a reason against them, not yet de-duplicated."""
    return events.where(F.size("reasons") == 0).select(
        F.to_date("event_time").alias("day"),
        *(n for n in INTERACTIONS.column_names if n not in ("day", "source_file")),
        F.col(f"{ROW}.source_file").alias("source_file"),
    )


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
    )
    return events.withColumn(ROW, row)


def refused(events: DataFrame, day: date) -> DataFrame:
    """Rows of `quarantine`: the events of `keep_text_of_refused` with a reason against them."""
    return events.where(F.size("reasons") > 0).select(
        F.lit(day).alias("day"), f"{ROW}.*", "reasons"
    )


def rank_copies(fresh: DataFrame, published: DataFrame, *, buckets: int = 1) -> DataFrame:
    """Rows of `interactions` that arrive and that are there, ranked among those of equal key.

    Rank 1 is the one to keep: the strongest, then the one with the longest dwell (none is
    shortest), then the published one, then by signals and source_file, which leaves no tie
    between rows that differ. Null request_id and position are equal to null.

    Args:
        fresh: rows of `interactions`.
        published: the published rows of the same days.
        buckets: parts (by user) of a day that are worked on apart; each becomes a file.

    Returns:
        Rows of `interactions`, and `_rank` from 1. A day's rows lie together, or in as many
        places as there are buckets.
    """
    both = fresh.withColumn("_published", F.lit(False)).unionByName(
        published.withColumn("_published", F.lit(True))
    )
    # One shuffle serves the ranking and the files: a key lies within a day and a bucket.
    bucket = F.pmod(F.xxhash64("user_id"), F.lit(buckets))
    both = both.withColumn("_bucket", bucket).repartition("day", "_bucket")
    best_first = Window.partitionBy("day", "_bucket", *_key_in_order()).orderBy(
        F.col("strength").desc(),
        F.col("dwell_seconds").desc_nulls_last(),
        F.col("_published").desc(),
        F.map_entries("signals"),
        F.col("source_file"),
    )
    ranked = both.withColumn("_rank", F.row_number().over(best_first))
    return ranked.drop("_published", "_bucket")


def _key_in_order() -> list[str]:
    """The key, led by the order within a file, so that one sort serves both."""
    rest = [name for name in INTERACTIONS.key if name not in INTERACTIONS.order]
    return [*INTERACTIONS.order, *rest]


def with_reasons(before: Column, more: Sequence[Reason]) -> Column:
    """The reasons before, and the texts of those that hold; no array is built for a good row."""
    holds = [F.coalesce(condition, F.lit(False)) for condition, _ in more]
    texts = F.array_compact(F.array(*(F.when(condition, text) for condition, text in more)))
    return F.when(reduce(lambda a, b: a | b, holds), F.concat(before, texts)).otherwise(before)


def _instant(day: date) -> Column:
    """The day's first instant, UTC."""
    return F.lit(datetime(day.year, day.month, day.day, tzinfo=UTC))
