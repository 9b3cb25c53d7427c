"""Raw rows → judged events → one row per event.

An event is a raw row with the columns of `interactions`, every reason against it, and `_row`, its
place in the raw files. Refused rows stay in the frame: nothing is dropped before it is counted.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import NumericType

from feature_store.preset import PresetError
from feature_store.tables.interactions import INTERACTIONS
from pipelines.config import ColumnMapping, EventTime, StrengthRule
from pipelines.sources.raw_rows import ROW, named
from pipelines.transforms.strength import check_rules, strength_of

RAW_CHARS = 4096
"""Characters of a refused row that are kept."""
_NO_ID = ("", "nan", "null", "none")
"""What pandas and databases write for an id that isn't there."""
_PER_SECOND = {"seconds": 1, "milliseconds": 1_000, "microseconds": 10**6, "nanoseconds": 10**9}

Reason = tuple[Column, str]
"""A condition that, where true, speaks against a row, and its text; the text holds no value of the
row, so that reasons can be counted."""


def parse_events(
    rows: DataFrame, columns: ColumnMapping, rules: Sequence[StrengthRule]
) -> DataFrame:
    """Raw rows as events; what can't be read is null and has a reason.

    Args:
        rows: raw columns and `_row`, as `read_rows` gives them.
        columns: which raw column means what.
        rules: signals → strength.

    Returns:
        user_id, item_id, event_time, request_id, position, signals, dwell_seconds, strength,
        reasons, `_row`; one row per raw row.

    Raises:
        PresetError: a strength rule can't be evaluated on the raw columns, or event_time is a
            number without a unit.
    """
    _refuse_unitless(rows, columns.event_time)
    typed = _typed(rows, columns)
    check_rules(rules, typed)
    strength = strength_of(rules)
    reasons = [*_parse_reasons(columns), (strength.isNull(), "no strength rule holds")]
    # A row that has no columns has that one reason: the others would only follow from it.
    problem = F.col(f"{ROW}.problem")
    return typed.select(
        "_event.*",
        _signals(columns.signals).alias("signals"),
        strength.alias("strength"),
        F.when(problem.isNotNull(), F.array(problem))
        .otherwise(_with_reasons(F.array().cast("array<string>"), reasons))
        .alias("reasons"),
        ROW,
    )


def _typed(rows: DataFrame, columns: ColumnMapping) -> DataFrame:
    """Every value read once: what comes after looks at the results.

    Returns:
        The raw columns, signals as numbers; `_event`, what else could be read; `_given`, whether
        there was anything to read; `_row`.
    """
    numbers = [_number(named(name)).alias(name) for name in columns.signals]
    others = [named(name) for name in rows.columns if name not in (*columns.signals, ROW)]
    event = F.struct(
        _id(columns.user_id).alias("user_id"),
        _id(columns.item_id).alias("item_id"),
        _event_time(columns.event_time).alias("event_time"),
        _optional_text(columns.request_id).alias("request_id"),
        _position(columns).alias("position"),
        _dwell_seconds(columns).alias("dwell_seconds"),
    )
    checked = [columns.event_time.column, columns.dwell_seconds, columns.position]
    names = dict.fromkeys([*(name for name in checked if name), *columns.signals])
    given = F.struct(*(_is_given(name).alias(name) for name in names))
    return rows.select(*others, *numbers, event.alias("_event"), given.alias("_given"), ROW)


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
    return events.withColumn("reasons", _with_reasons(F.col("reasons"), reasons))


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
    return joined.withColumn("reasons", _with_reasons(F.col("reasons"), reasons)).drop("_known")


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


def _refuse_unitless(rows: DataFrame, how: EventTime) -> None:
    # Spark would take the number for seconds.
    if how.unit == "timestamp" and isinstance(rows.schema[how.column].dataType, NumericType):
        raise PresetError(
            f"source.columns.event_time: raw column {how.column!r} is a number; set its unit "
            f"({', '.join(_PER_SECOND)} or order). pandas writes nanoseconds"
        )


def _key_in_order() -> list[str]:
    """The key, led by the order within a file, so that one sort serves both."""
    rest = [name for name in INTERACTIONS.key if name not in INTERACTIONS.order]
    return [*INTERACTIONS.order, *rest]


def _parse_reasons(columns: ColumnMapping) -> list[Reason]:
    """What speaks against a row of `_typed` before its run is known."""
    event, time = F.col("_event"), columns.event_time
    reasons: list[Reason] = [
        (event.user_id.isNull(), "user_id is missing"),
        (event.item_id.isNull(), "item_id is missing"),
        (~_given(time.column), "event_time is missing"),
        (_given(time.column) & event.event_time.isNull(), f"event_time is not {_words(time.unit)}"),
    ]
    for name in columns.signals:
        reasons += _number_reasons(name, named(name))
    if columns.dwell_seconds:
        reasons += _number_reasons(columns.dwell_seconds, event.dwell_seconds)
        reasons.append((event.dwell_seconds < 0, f"{columns.dwell_seconds} is negative"))
    if columns.position:
        is_place = F.coalesce(event.position >= 0, F.lit(False))
        reasons.append((_given(columns.position) & ~is_place, f"{columns.position} is not a place"))
    # A column may be a signal and a dwell.
    return list({text: (condition, text) for condition, text in reasons}.values())


def _number_reasons(name: str, number: Column) -> list[Reason]:
    infinite = number.isin(float("inf"), float("-inf"))
    return [
        (_given(name) & number.isNull(), f"{name} is not a number"),
        (F.isnan(number) | infinite, f"{name} is NaN or infinite"),
    ]


def _words(unit: str) -> str:
    return {"timestamp": "a timestamp", "order": "a place from 0"}.get(unit, f"{unit} since 1970")


def _with_reasons(before: Column, more: Sequence[Reason]) -> Column:
    """The reasons before, and the texts of those that hold; no array is built for a good row."""
    holds = [F.coalesce(condition, F.lit(False)) for condition, _ in more]
    texts = F.array_compact(F.array(*(F.when(condition, text) for condition, text in more)))
    return F.when(reduce(lambda a, b: a | b, holds), F.concat(before, texts)).otherwise(before)


def _given(name: str) -> Column:
    return F.col(f"_given.`{name}`")


def _is_given(name: str) -> Column:
    return F.coalesce(F.trim(named(name).cast("string")) != "", F.lit(False))


def _id(name: str) -> Column:
    text = F.trim(named(name).cast("string"))
    return F.when(~F.lower(text).isin(*_NO_ID), text)


def _optional_text(name: str | None) -> Column:
    if name is None:
        return F.lit(None).cast("string")
    text = F.trim(named(name).cast("string"))
    return F.when(text != "", text)


def _number(column: Column) -> Column:
    """A number, or 1 and 0 for true and false; null for any other text."""
    text = column.cast("string")
    return F.coalesce(text.try_cast("double"), text.try_cast("boolean").cast("int").cast("double"))


def _position(columns: ColumnMapping) -> Column:
    if columns.position is None:
        return F.lit(None).cast("int")
    return named(columns.position).cast("string").try_cast("int")


def _dwell_seconds(columns: ColumnMapping) -> Column:
    if columns.dwell_seconds is None:
        return F.lit(None).cast("float")
    return (_number(named(columns.dwell_seconds)) / _PER_SECOND[columns.dwell_unit]).cast("float")


def _signals(names: Sequence[str]) -> Column:
    """Map of the signals that the row has."""
    if not names:
        return F.create_map().cast("map<string,double>")
    pairs = [part for name in names for part in (F.lit(name), named(name))]
    complete = reduce(lambda a, b: a & b, [named(name).isNotNull() for name in names])
    signals = F.create_map(*pairs)
    return F.when(complete, signals).otherwise(F.map_filter(signals, lambda _, v: v.isNotNull()))


def _event_time(how: EventTime) -> Column:
    """UTC timestamp, to the microsecond; null where the raw value can't be read."""
    raw = named(how.column)
    if how.unit == "timestamp":
        return raw.try_cast("timestamp")
    if how.unit == "order":
        origin = datetime.combine(how.origin, time.min, UTC)
        place = raw.cast("string").try_cast("long")
        start = F.lit(int(origin.timestamp()) * 10**6)
        micros = F.try_add(start, F.try_multiply(place, F.lit(10**6)))
        return F.when(place >= 0, F.timestamp_micros(micros))
    text = raw.cast("string")
    whole = _scaled(text.try_cast("long"), how.unit)
    # Fractions, and whole numbers written as `8.8E8`: 19 digits before the point are a long's.
    exact = text.try_cast("decimal(25,6)") * F.lit(10**6).cast("decimal(7,0)")
    fractional = (exact / _PER_SECOND[how.unit]).try_cast("long")
    return F.timestamp_micros(F.coalesce(whole, fractional))


def _scaled(number: Column, unit: str) -> Column:
    """Microseconds from a whole number of `unit`; null on overflow."""
    per_second = _PER_SECOND[unit]
    if per_second > 10**6:
        return F.call_function("div", number, F.lit(per_second // 10**6))
    return F.try_multiply(number, F.lit(10**6 // per_second))


def _instant(day: date) -> Column:
    """The day's first instant, UTC."""
    return F.lit(datetime(day.year, day.month, day.day, tzinfo=UTC))
