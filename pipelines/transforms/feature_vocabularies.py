"""What was met in events, day by day → the codes of values and bins, appended.

Codes are given by field, the day a value was first met, and its text: rows depend on nothing else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from feature_store.features import NUM_BINS, NUMBER, Feature
from feature_store.tables.feature_vocabularies import FEATURE_VOCABULARIES
from pipelines.schema import typed
from pipelines.transforms.ragged import longs

MICROS_PER_DAY = 86_400 * 10**6


@dataclass(frozen=True)
class FirstMet:
    """The first day of each item in each batch of histories, for `mapInArrow`.

    Args:
        shift_seconds: what to add to a UTC time so that its date is its day.
    """

    shift_seconds: int

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Histories → item_index, met_day; an item at most once a batch."""
        for batch in batches:
            items_E = longs(batch["item_indices"].flatten())
            micros_E = longs(batch["event_times"].flatten().cast(pa.int64()))
            day_E = (micros_E + self.shift_seconds * 10**6) // MICROS_PER_DAY
            order = np.lexsort((day_E, items_E))
            items_E, day_E = items_E[order], day_E[order]
            is_first_E = np.append(True, items_E[1:] != items_E[:-1])[: len(items_E)]
            yield pa.record_batch(
                {
                    "item_index": pa.array(items_E[is_first_E], pa.int32()),
                    "met_day": pa.array(day_E[is_first_E], pa.int32()).cast(pa.date32()),
                }
            )


@dataclass(frozen=True, kw_only=True)
class Met:
    """Who and what was met, each with the day of the first event.

    Args:
        users: user_id, met_day.
        items: item_index, met_day.
    """

    users: DataFrame
    items: DataFrame


def met(sequences: DataFrame, shift_seconds: int) -> Met:
    """Users and items of histories.

    Args:
        sequences: rows of `user_sequences` of one day.
        shift_seconds: what to add to a UTC time so that its date is its day.
    """
    first = F.unix_micros(F.get("event_times", 0)) + F.lit(shift_seconds * 10**6)
    items = sequences.select("item_indices", "event_times").mapInArrow(
        FirstMet(shift_seconds).run, "item_index int, met_day date"
    )
    return Met(
        users=sequences.select("user_id", F.to_date(F.timestamp_micros(first)).alias("met_day")),
        items=items.groupBy("item_index").agg(F.min("met_day").alias("met_day")),
    )


def extend_vocabularies(
    known: DataFrame,
    fields: Sequence[Feature],
    found: Met,
    *,
    items: DataFrame,
    users: DataFrame,
    bounds: DataFrame,
    start: date,
) -> DataFrame:
    """The vocabularies, and after them what was met for the first time.

    Args:
        known: rows of `feature_vocabularies` as published.
        fields: those of values that the preset asks for.
        found: who and what was met.
        items: rows of `items`.
        users: rows of `users`.
        bounds: as `bin_bounds` makes them.
        start: the first day of impressions.
    Returns:
        Rows of `feature_vocabularies`. What was first met on a day counts from the next; where the
        field is new, what the first day of impressions met counts at once, or it would know
        nobody. No code counts from an earlier
        day than a smaller one, so that what counts on a day are the codes up to one.
    """
    values = _values(fields, found, items=items, users=users).unionByName(
        bounds.withColumn("met_day", F.lit(start))
    )
    new = values.join(known.select("field", "value"), ["field", "value"], "left_anti")
    last = known.groupBy("field").agg(
        F.max("code").alias("_last"), F.max("first_day").alias("_newest")
    )
    place = F.row_number().over(Window.partitionBy("field").orderBy("_place", "met_day", "value"))
    numbered = new.withColumn("_row", place).join(F.broadcast(last), "field", "left")
    is_of_the_first_day = F.col("_last").isNull() & (F.col("met_day") == F.lit(start))
    first_day = F.when(is_of_the_first_day, F.col("met_day")).otherwise(F.date_add("met_day", 1))
    appended = numbered.select(
        "field",
        "value",
        typed(F.col("_row") + F.coalesce("_last", F.lit(0)), FEATURE_VOCABULARIES, "code"),
        "met_day",
        F.greatest(first_day, "_newest").alias("first_day"),
    )
    return known.unionByName(appended).select(*FEATURE_VOCABULARIES.column_names)


def bin_bounds(
    known: DataFrame, fields: Sequence[Feature], *, items: DataFrame, users: DataFrame
) -> DataFrame:
    """Bounds of the bins of numbers that have none yet: quantiles of what the tables say.

    They are fitted once. Nothing of them is an event's.

    Args:
        known: rows of `feature_vocabularies` as published.
        fields: those of bins.
        items: rows of `items`.
        users: rows of `users`.
    Returns:
        field, value (the first is -inf), _place.
    """
    fitted = {row["field"] for row in known.select("field").distinct().collect()}
    rows: list[tuple[str, str, int]] = []
    shares = [n / NUM_BINS for n in range(1, NUM_BINS)]
    for whose, table in (("user", users), ("item", items)):
        of = [f for f in fields if f.group == whose and f.name not in fitted]
        if of:
            columns = [F.percentile(_number(each), shares).alias(each.name) for each in of]
            quantiles = table.agg(*columns).collect()[0]
            for each in of:
                found = sorted(set(quantiles[each.name] or ()))
                texts = ["-inf", *map(repr, found)] if found else []
                rows += [(each.name, text, place) for place, text in enumerate(texts)]
    return items.sparkSession.createDataFrame(rows, "field string, value string, _place int")


def _number(field: Feature) -> Column:
    text = F.trim(F.col("attributes")[field.attribute or ""])
    return F.when(text.rlike(NUMBER), text.cast("double"))


def _values(
    fields: Sequence[Feature], found: Met, *, items: DataFrame, users: DataFrame
) -> DataFrame:
    """field, value, met_day, _place: each value of each field once."""
    of_items = found.items.join(items.select("item_index", "item_id", "attributes"), "item_index")
    attributes = [f for f in fields if f.group == "user" and f.attribute]
    of_users = found.users.withColumn("attributes", F.create_map().cast("map<string,string>"))
    if attributes:
        told = users.select("user_id", "attributes")
        of_users = found.users.join(told, "user_id", "left")
    frames = [
        _pairs(frame, [f for f in fields if f.group == group])
        for frame, group in ((of_users, "user"), (of_items, "item"))
    ]
    both = frames[0].unionByName(frames[1])
    return (
        both.where("value IS NOT NULL")
        .groupBy("field", "value")
        .agg(F.min("met_day").alias("met_day"))
        .withColumn("_place", F.lit(0))
    )


def _pairs(frame: DataFrame, fields: Sequence[Feature]) -> DataFrame:
    pairs = [
        F.struct(
            F.lit(each.name).alias("field"),
            (F.col("attributes")[each.attribute] if each.attribute else F.col(each.of)).alias(
                "value"
            ),
        )
        for each in fields
    ]
    empty = F.array().cast("array<struct<field:string,value:string>>")
    exploded = frame.select("met_day", F.explode(F.array(*pairs) if pairs else empty).alias("_"))
    return exploded.select("_.field", "_.value", "met_day")
