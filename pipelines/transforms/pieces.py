"""A log of all days in pieces, one per day of its events, so that a changed day can be told."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.sources.interface import ROW

_HALF = 32


def piece_of_log() -> Column:
    """UTC date of an event; null where it has no time, or one before 1970."""
    time = F.col("event_time")
    return F.when(time >= F.timestamp_seconds(F.lit(0)), F.to_date(time))


def sum_up_pieces(events: DataFrame) -> DataFrame:
    """What a log says of each day, in a row.

    Args:
        events: of a log, judged, with `_row.raw` where a reason speaks against them.

    Returns:
        piece (null: rows without a usable time), rows, digest (equal for equal rows in any
        order), first_micros: the earliest time without a reason against it, microseconds since
        1970. No row is shuffled.
    """
    said = F.xxhash64(
        "user_id",
        "item_id",
        "event_time",
        "request_id",
        "position",
        F.map_entries("signals"),
        "strength",
        "dwell_seconds",
    )
    is_good = F.size("reasons") == 0
    row_hash = F.when(is_good, said).otherwise(F.xxhash64("reasons", f"{ROW}.raw"))
    # Sums of halves: 2^31 rows fit a long. An exclusive or would not see a row that came twice.
    halves = row_hash.bitwiseAND(F.lit((1 << _HALF) - 1)), F.shiftrightunsigned(row_hash, _HALF)
    low, high = (F.sum(half) for half in halves)
    return events.groupBy(piece_of_log().alias("piece")).agg(
        F.count(F.lit(1)).alias("rows"),
        F.format_string("%d-%x-%x", F.count(F.lit(1)), low, high).alias("digest"),
        F.unix_micros(F.min(F.when(is_good, F.col("event_time")))).alias("first_micros"),
    )
