"""What a delivery says now, in place of what it said before.

A row of `interactions` is one event, whoever delivered it. Several days' deliveries may hold the
event: the last of them stands, and what the others say is kept beside it, so that the event
outlives the correction of any one delivery and the table doesn't depend on the order of the runs.
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from feature_store.tables.interactions import INTERACTIONS
from pipelines.schema import spark_type

LOG = "log"
"""What stands for the day of a delivery in `also_delivered`, where a log of all days is one."""
FATES = ("added", "corrected", "unchanged", "withdrawn", "kept")
_VERSION = ("source_file", "tie_order", "signals", "strength", "dwell_seconds")
"""What two deliveries may say differently of one event."""
_EPOCH_DAY = "1970-01-01"


def merge_deliveries(
    fresh: DataFrame,
    published: DataFrame,
    *,
    replaced: Column,
    buckets: int = 1,
    is_alone: bool = False,
    by_day: bool = False,
) -> DataFrame:
    """Every event of the days at hand once, and what becomes of it.

    Of the rows of one delivery with equal key the strongest counts, then the one with the longest
    dwell (none is shortest), then by signals, source_file and tie_order, which leaves no tie
    between rows that differ. Of several deliveries the last day's stands; a log stands behind all
    of them. Null request_id and position are equal to null.

    Args:
        fresh: rows of `interactions` as the run's deliveries hold them, with copies; their
            also_delivered is empty.
        published: the published rows of the same days.
        replaced: condition on delivery_day and event_time: what a published delivery said that the
            run's deliveries say anew.
        buckets: parts (by user) of a day that are worked on apart; each becomes a file.
        is_alone: whether `fresh` is of one delivery and nothing is published, as on most nights:
            no delivery stands behind another.
        by_day: whether rows come sorted by day, too, before the table's own order; where not, days
            that lie together are mixed.

    Returns:
        Rows of `interactions`; `_fate`: `added`, `corrected` or `unchanged` for an event that the
        run's deliveries hold, `kept` for another, `withdrawn` for one that no delivery holds any
        more (to be dropped once it is counted); `_copies`: the rows of the run's deliveries that
        say it. A day's rows lie together, or in as many places as there are buckets.
    """
    versions = _versions(fresh, published, replaced)
    # One shuffle and one sort serve the ranking and the files: a key lies in a day and a bucket. A
    # sort that is led by the user is fast, because Spark compares first bytes where they differ.
    bucket = F.pmod(F.xxhash64("user_id"), F.lit(buckets))
    versions = versions.withColumn("_bucket", bucket).repartition("day", "_bucket")
    led = ("day", *_key_in_order()) if by_day else (*_key_in_order(), "day")
    event = (*led, "_bucket")
    best_first = (
        F.col("strength").desc(),
        F.col("dwell_seconds").desc_nulls_last(),
        F.map_entries("signals"),
        F.col("source_file"),
        F.col("tie_order"),
    )
    newest_first = Window.partitionBy(*event).orderBy("_replaced", "_age", *best_first)
    all_of_event = newest_first.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    ranked = versions.select(
        *INTERACTIONS.column_names,
        "_bucket",
        "_replaced",
        "_age",
        F.row_number().over(newest_first).alias("_place"),
        F.lag("_age").over(newest_first).alias("_age_of_the_one_before"),
        F.count_if("_fresh").over(all_of_event).alias("_copies"),
        F.max(F.when(F.col("_stood"), _content())).over(all_of_event).alias("_content_before"),
    )
    if not is_alone:
        is_best = F.col("_age") != F.col("_age_of_the_one_before")
        stands_behind = (F.col("_place") > 1) & is_best & ~F.col("_replaced")
        behind = F.collect_list(F.when(stands_behind, F.struct(_delivery(), _said())))
        ranked = ranked.withColumn(
            "also_delivered",
            F.when(F.col("_place") == 1, F.map_from_entries(behind.over(all_of_event))),
        )
    return ranked.where("_place = 1").select(
        *INTERACTIONS.column_names, _fate().alias("_fate"), "_copies"
    )


def holds(days: tuple[str, ...]) -> Column:
    """Whether one of these deliveries (ISO days, or `LOG`) holds a row of `interactions`."""
    others = F.arrays_overlap(F.map_keys("also_delivered"), F.array(*map(F.lit, days)))
    return _delivery().isin(*days) | others


def _versions(fresh: DataFrame, published: DataFrame, replaced: Column) -> DataFrame:
    """What each delivery says of each event: `fresh`, and `published` with what stands behind.

    Returns:
        Rows of `interactions`; `_fresh`; `_stood`: whether readers see it now; `_replaced`;
        `_age`: smaller for a later delivery.
    """
    flags = (F.lit(True), F.lit(False)), (F.lit(False), F.lit(True)), (F.lit(False), F.lit(False))
    behind = published.where(F.size("also_delivered") > 0).select(
        "*", F.explode("also_delivered").alias("_delivery", "_json")
    )
    said = F.from_json("_json", _version_schema())
    behind = behind.withColumn("_said", said).select(
        *(
            _of_behind(name).alias(name) if name in (*_VERSION, "delivery_day") else name
            for name in INTERACTIONS.column_names
        )
    )
    frames = [
        frame.withColumns({"_fresh": is_fresh, "_stood": stood})
        for frame, (is_fresh, stood) in zip((fresh, published, behind), flags, strict=True)
    ]
    both = frames[0].unionByName(frames[1]).unionByName(frames[2])
    is_replaced = ~F.col("_fresh") & F.coalesce(replaced, F.lit(False))
    # A log has no day: it is older than any.
    age = F.coalesce(-F.date_diff("delivery_day", F.lit(_EPOCH_DAY)), F.lit(2**31 - 1))
    return both.withColumns({"_replaced": is_replaced, "_age": age})


def _of_behind(name: str) -> Column:
    if name == "delivery_day":
        return F.when(F.col("_delivery") != LOG, F.col("_delivery").cast("date"))
    return F.col(f"_said.{name}")


def _version_schema() -> StructType:
    return StructType(
        [StructField(name, spark_type(INTERACTIONS.column(name))) for name in _VERSION]
    )


def _delivery() -> Column:
    return F.coalesce(F.col("delivery_day").cast("string"), F.lit(LOG))


def _said() -> Column:
    return F.to_json(F.struct(*_VERSION))


def _content() -> Column:
    """A hash of what models learn from."""
    return F.xxhash64("strength", "dwell_seconds", F.map_entries("signals"))


def _fate() -> Column:
    before, is_the_runs = F.col("_content_before"), F.col("_copies") > 0
    return (
        F.when(F.col("_replaced"), "withdrawn")
        .when(before.isNull(), "added")
        .when(~is_the_runs, "kept")
        .when(before == _content(), "unchanged")
        .otherwise("corrected")
    )


def _key_in_order() -> list[str]:
    """The key, led by the order within a file, so that one sort serves both."""
    rest = [name for name in INTERACTIONS.key if name not in INTERACTIONS.order]
    return [*INTERACTIONS.order, *rest]
