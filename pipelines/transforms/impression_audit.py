"""The audit of impressions: codes of some users, made another way, and nothing of later.

It looks at the rows that would be published, beside the tables they were made from, and uses
nothing of how they were made: Spark joins each impression with the events before it and counts.
"""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from feature_store.features import Feature
from pipelines.config import Impressions

SAMPLED = 2_000
"""About as many impressions are made again: those of some users, by a hash of the id."""
_KEY = ("day", "impression_id")
_SECONDS = "floor(unix_micros({}) / 1000000)"


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What impressions were made from.

    Args:
        fields: of the codes, by group.
        config: how much of a history counts, and what an engagement is.
        utc_offset_hours: local time less UTC.
        sequences: rows of `user_sequences` of the run's day.
        items: rows of `items`.
        users: rows of `users`.
        vocabularies: rows of `feature_vocabularies`.
    """

    fields: tuple[Feature, ...]
    config: Impressions
    utc_offset_hours: float
    sequences: DataFrame
    items: DataFrame
    users: DataFrame
    vocabularies: DataFrame


def audit(impressions: DataFrame, beside: Beside) -> dict[str, int]:
    """Impressions of the sample whose code is another than what was known before them says.

    Args:
        impressions: rows of `impressions`.
        beside: what they were made from.
    Returns:
        Field → number of impressions; every field is there, also those that agree.
    """
    share = max(impressions.count() // SAMPLED, 1)
    sample = _with_values(_of_some(impressions, share), beside)
    counts = _counts(sample, _of_some(beside.sequences, share), beside)
    expected = sample.join(counts, list(_KEY), "left")
    wrong = [
        F.count_if(~_expected(each, n, beside).eqNullSafe(_published(beside.fields, each)))
        for n, each in enumerate(beside.fields)
    ]
    row = expected.agg(*wrong).collect()[0]
    return {each.name: int(row[n]) for n, each in enumerate(beside.fields)}


def refusal(found: dict[str, int]) -> str | None:
    """What the audit has against the impressions; None: nothing."""
    broken = [f"  {rows:,} of the sample: {field}" for field, rows in found.items() if rows]
    if not broken:
        return None
    return "\n".join(
        [
            "the audit refused the impressions; what was published before stays:",
            *broken,
            "Codes differ from what was known before each impression: a model would learn from "
            "what it can't know. Run build_user_sequences again, then build_impressions",
        ]
    )


def _of_some(rows: DataFrame, share: int) -> DataFrame:
    """One in so many users."""
    return rows.where(F.pmod(F.xxhash64("user_id"), F.lit(share)) == 0)


def _with_values(sample: DataFrame, beside: Beside) -> DataFrame:
    """The sample with what each field of values or bins has, as `code_N`, 0 where it has none.

    And with what items share where a field counts it, as `shared_N`.
    """
    attributes = F.col("attributes").alias("user_attributes")
    rows = sample.join(beside.users.select("user_id", attributes), "user_id", "left")
    attributes = F.col("attributes").alias("item_attributes")
    rows = rows.join(beside.items.select("item_index", "item_id", attributes), "item_index", "left")
    for n, each in enumerate(beside.fields):
        if each.kind == "value":
            rows = rows.withColumn(f"text_{n}", _text(each))
            rows = rows.join(_vocabulary(beside, each.name, n), f"text_{n}", "left")
        elif each.kind in ("met", "engaged") and each.attribute:
            rows = rows.withColumn(f"text_{n}", _text(each))
            rows = rows.join(_vocabulary(beside, each.of, n), f"text_{n}", "left")
            is_known = F.col(f"since_{n}") <= F.col("day")
            rows = rows.withColumn(f"shared_{n}", F.when(is_known, F.col(f"text_{n}")))
        elif each.kind == "bin":
            rows = rows.withColumn(f"number_{n}", _text(each).try_cast("double"))
    return rows


def _vocabulary(beside: Beside, field: str, number: int) -> DataFrame:
    """The codes of a field."""
    return beside.vocabularies.where(F.col("field") == field).select(
        F.col("value").alias(f"text_{number}"),
        F.col("code").alias(f"code_{number}"),
        F.col("first_day").alias(f"since_{number}"),
    )


def _text(field: Feature) -> Column:
    """The id or the attribute's text of the user, or of the item."""
    if field.attribute is None:
        return F.col(field.of)
    return F.col(f"{field.of.partition('.')[0]}_attributes")[field.attribute]


def _counts(sample: DataFrame, sequences: DataFrame, beside: Beside) -> DataFrame:
    """How many of the last events strictly before each impression's second count, as `count_N`."""
    events = sequences.select(
        "user_id",
        F.posexplode(F.arrays_zip("item_indices", "strengths", "event_times")).alias("at", "event"),
    ).select("user_id", "at", "event.*")
    told = beside.items.select(
        F.col("item_index").alias("item_indices"), F.col("attributes").alias("event_attributes")
    )
    events = events.join(told, "item_indices", "left")
    shared = [name for name in sample.columns if name.startswith("shared_")]
    asked = sample.select(*_KEY, "user_id", "item_index", "event_time", *shared)
    before = asked.join(events, "user_id").where(
        f"{_SECONDS.format('event_times')} < {_SECONDS.format('event_time')}"
    )
    newest = Window.partitionBy(*_KEY).orderBy(F.col("at").desc())
    counted = before.withColumn("_nth", F.row_number().over(newest)).where(
        F.col("_nth") <= beside.config.history_events
    )
    counts = [
        F.count_if(_is_alike(each, n) & _is_of_kind(each, beside)).alias(f"count_{n}")
        for n, each in enumerate(beside.fields)
    ]
    return counted.groupBy(*_KEY).agg(*counts)


def _is_alike(field: Feature, number: int) -> Column:
    """Whether an event before counts for a field."""
    if field.kind not in ("met", "engaged"):
        return F.lit(True)
    if field.attribute is None:
        return F.col("item_indices") == F.col("item_index")
    return F.col("event_attributes")[field.attribute] == F.col(f"shared_{number}")


def _is_of_kind(field: Feature, beside: Beside) -> Column:
    if field.kind in ("engaged", "engagements"):
        return F.col("strengths") >= beside.config.engaged_strength
    return F.lit(True)


def _expected(field: Feature, number: int, beside: Beside) -> Column:
    """The code that an impression should have."""
    if field.kind == "value":
        is_known = F.col(f"since_{number}") <= F.col("day")
        return F.when(is_known, F.col(f"code_{number}")).otherwise(0).cast("int")
    if field.kind == "bin":
        of = F.col("field") == field.name
        bounds = beside.vocabularies.where(of).select(F.col("value").cast("double")).collect()
        reached = [
            F.when(F.col(f"number_{number}") >= F.lit(row[0]), 1).otherwise(0) for row in bounds
        ]
        return sum(reached, start=F.lit(0)).cast("int")
    if field.kind in ("hour", "weekday"):
        local = F.timestamp_micros(
            F.unix_micros("event_time") + F.lit(round(beside.utc_offset_hours * 3600) * 10**6)
        )
        return F.hour(local) + 1 if field.kind == "hour" else F.weekday(local) + 1
    count = F.coalesce(F.col(f"count_{number}"), F.lit(0))
    # 0, 1, 2, 3 to 4, 5 to 8, …
    return F.when(count == 0, 1).otherwise(F.ceil(F.log2(count)) + 2).cast("int")


def _published(fields: tuple[Feature, ...], field: Feature) -> Column:
    place = [each.name for each in fields if each.group == field.group].index(field.name)
    return F.get(f"{field.group}_codes", F.lit(place))
