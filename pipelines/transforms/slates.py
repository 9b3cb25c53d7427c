"""interactions × items → slates: what was shown together, in order, with the feedback on it.

A *group* is what one request showed, or one session: events of a user without a request, up to a
pause or for a whole day. Groups never cross local midnight, so that the run of a day sees all of
its groups and no other run sees any of them: rows depend on the day's events alone.
"""

from collections.abc import Iterable
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.config import Slates

MINIMUM_ITEMS = 2
_EVENT = (
    "user_id", "item_index", "event_time", "request_id", "position", "tie_order", "strength",
    "dwell_seconds",
)  # fmt: skip
_GROUP = ["user_id", "day", "source", "group"]
_SECONDS_PER_DAY = 86_400
_NO_POSITION = 2**31 - 1
_SEPARATOR = "\x1f"


def days_read(days: Iterable[date], config: Slates) -> list[date]:
    """UTC days that hold the events of these days' slates: the days, and the one before if cut.

    Example:
        >>> [day.day for day in days_read([date(2024, 5, 7)], Slates(utc_offset_hours=8))]
        [6, 7]
    """
    needed = set(days)
    if _shift_seconds(config):
        needed |= {day - timedelta(days=1) for day in needed}
    return sorted(needed)


def day_of(time: Column, config: Slates) -> Column:
    """The day whose slates an event belongs to.

    East of Greenwich it is the local date, which ends before the UTC day of that name does. West
    of it a local date ends in the UTC day after, and belongs to that day's run.
    """
    seconds = F.unix_micros(time) + F.lit(_shift_seconds(config) * 10**6)
    return F.to_date(F.timestamp_micros(seconds))


def group_events(events: DataFrame, config: Slates) -> DataFrame:
    """Events with the group that each belongs to.

    Args:
        events: user_id, item_index, event_time, request_id, position, tie_order, strength,
            dwell_seconds; other columns are dropped.
        config: how sessions are cut.
    Returns:
        These, and `day`, `source` and `group` (text; with user, day and source it is the
        group's identity).
    """
    is_request = F.col("request_id").isNotNull()
    events = events.select(
        *_EVENT,
        day_of(F.col("event_time"), config).alias("day"),
        F.when(is_request, "request").otherwise(config.session).alias("source"),
    )
    session = F.lit("")
    if config.session == "gap":
        so_far = Window.partitionBy("user_id", "day", "source").orderBy("event_time")
        before = F.lag("event_time").over(so_far)
        pause = F.unix_micros("event_time") - F.unix_micros(before)
        # The first event has none before, and a pause of null begins nothing: hence coalesce.
        begins = F.coalesce(pause > F.lit(int(config.gap_minutes * 60 * 10**6)), F.lit(True))
        events = events.withColumn("_begins", F.when(begins, F.col("event_time")))
        start = F.last("_begins", ignorenulls=True).over(
            so_far.rowsBetween(Window.unboundedPreceding, Window.currentRow)
        )
        session = F.unix_micros(start).cast("string")
    group = F.when(is_request, F.col("request_id")).otherwise(session)
    return events.withColumn("group", group).drop("_begins")


def gather_groups(events: DataFrame) -> DataFrame:
    """One row per group: its distinct items in the order shown.

    An item that comes again keeps its first place, and gets its strongest feedback (a dislike is
    stronger than an exposure, any interest is stronger than a dislike) and its longest dwell.
    Order: within a request by position, then time; in a session by time, then position; ties by
    tie_order.

    Args:
        events: as `group_events` returns them.
    Returns:
        user_id, day, source, group, shown: list of (first, second, tie_order, item_index,
        strength, dwell_seconds, started_at, ended_at).
    """
    time = F.unix_micros("event_time")
    position = F.coalesce(F.col("position"), F.lit(_NO_POSITION)).cast("long")
    by_position = F.col("source") == "request"
    strongest = F.max("strength")
    items = events.groupBy(*_GROUP, "item_index").agg(
        F.min(
            F.struct(
                F.when(by_position, position).otherwise(time).alias("first"),
                F.when(by_position, time).otherwise(position).alias("second"),
                "tie_order",
            )
        ).alias("place"),
        F.when(strongest > 0, strongest).otherwise(F.min("strength")).alias("strength"),
        F.max("dwell_seconds").alias("dwell_seconds"),
        F.min("event_time").alias("started_at"),
        F.max("event_time").alias("ended_at"),
    )
    shown = F.struct(
        "place.first", "place.second", "place.tie_order", "item_index", "strength",
        "dwell_seconds", "started_at", "ended_at",
    )  # fmt: skip
    return items.groupBy(*_GROUP).agg(F.array_sort(F.collect_list(shown)).alias("shown"))


def parts_of(config: Slates) -> Column:
    """Into how many slates a group of `shown` items is cut; 0 where it is too short for one."""
    size = F.size("shown")
    parts = F.ceil(size / config.maximum_items).cast("int")
    return F.when(size >= MINIMUM_ITEMS, parts).otherwise(0)


def cut_groups(groups: DataFrame, config: Slates) -> DataFrame:
    """Rows of `slates`: groups of at least two items, the long ones in parts of about equal length.

    Args:
        groups: as `gather_groups` returns them.
        config: `maximum_items`; 3 or more, so that no part has a single item.
    """
    size = F.size("shown")
    parts = parts_of(config)
    begin = F.floor(F.col("part") * size / parts).cast("int")
    end = F.floor((F.col("part") + 1) * size / parts).cast("int")
    cut = (
        groups.where(parts > 0)
        .withColumn("part", F.explode(F.sequence(F.lit(0), parts - 1)))
        .withColumn("shown", F.slice("shown", begin + 1, end - begin))
    )
    identity = F.concat_ws(_SEPARATOR, *_GROUP, "part")
    not_known = F.lit(float("nan")).cast("float")
    dwell = F.transform("shown.dwell_seconds", lambda seconds: F.coalesce(seconds, not_known))
    return cut.select(
        "day",
        F.md5(identity).alias("slate_id"),
        "user_id",
        F.array_min("shown.started_at").alias("started_at"),
        F.array_max("shown.ended_at").alias("ended_at"),
        F.col("shown.item_index").alias("item_indices"),
        F.col("shown.strength").alias("strengths"),
        dwell.alias("dwell_seconds"),
        "source",
    )


def _shift_seconds(config: Slates) -> int:
    """What to add to a UTC time so that its date is the day of its slate; 0 to a day, less 1 s."""
    return round(config.utc_offset_hours * 3600) % _SECONDS_PER_DAY
