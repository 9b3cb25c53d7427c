"""The audit of preference lists: each tier holds what it says, and nothing of later.

It looks at the rows that would be published, beside the tables they were made from, and uses
nothing of how they were made.
"""

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.config import PreferenceLists

_KEY = ["day", "slate_id"]


def audit(
    lists: DataFrame, slates: DataFrame, items: DataFrame, config: PreferenceLists, *, day: date
) -> dict[str, int]:
    """Lists that break a rule, by rule.

    Args:
        lists: rows of `preference_lists`.
        slates: rows of `slates`, those of the lists among them.
        items: rows of `items`.
        config: strengths of tiers.
        day: the run's; nothing may be of later.
    Returns:
        Rule in plain words → number of lists; every rule is there, also those that hold.
    """
    end = F.lit(f"{day + timedelta(days=1)}T00:00:00Z").cast("timestamp")
    shown = F.col("shown")
    of_shown, unshown = (
        F.filter("entries", lambda entry: entry["tiers"] < 4),
        F.transform(F.filter("entries", lambda entry: entry["tiers"] >= 4), _item),
    )
    strength_of = F.map_from_arrays("shown", "strengths")

    def is_misplaced(entry: Column) -> Column:
        strength = F.try_element_at(strength_of, _item(entry))
        return entry["tiers"] != _tier(strength, config)

    rules = {
        "the slate isn't published": shown.isNull(),
        "the slate ends before it starts, or after the run's day": (
            (F.col("ended_at") < F.col("started_at")) | (F.col("ended_at") >= end)
        ),
        "the context goes on after the slate's start": (
            F.col("context_until") > F.col("started_at")
        ),
        "an item of tiers 1 to 3 isn't in the slate": (
            F.size(F.array_except(F.transform(of_shown, _item), shown)) > 0
        ),
        "an item's strength is of another tier": F.exists(of_shown, is_misplaced),
        "a pseudo-exposure is in the slate": F.arrays_overlap(unshown, shown),
    }
    beside = lists.withColumn("entries", F.arrays_zip("item_indices", "tiers")).join(
        slates.select(
            *(*_KEY, "user_id", "started_at", "ended_at"),
            *(F.col("item_indices").alias("shown"), "strengths"),
        ),
        [*_KEY, "user_id"],
        "left",
    )
    numbered = [
        F.count_if(broken).alias(f"rule {number}") for number, broken in enumerate(rules.values())
    ]
    counted = beside.agg(*numbered).first()
    return {
        **{rule: int(counted[number]) for number, rule in enumerate(rules)},
        **_of_the_catalogue(lists, items),
    }


def refusal(found: dict[str, int]) -> str | None:
    """What the audit has against the lists; None: nothing."""
    broken = [f"  {lists:,} lists: {rule}" for rule, lists in found.items() if lists]
    if not broken:
        return None
    return "\n".join(
        [
            "the audit refused the preference lists; what was published before stays:",
            *broken,
            "A model would learn from what it can't know when it recommends, or what nobody "
            "preferred. Look at `slates` of the day, run build_slates again, then "
            "build_preference_lists",
        ]
    )


def _item(entry: Column) -> Column:
    return entry["item_indices"]


def _tier(strength: Column, config: PreferenceLists) -> Column:
    return (
        F.when(strength >= config.first_strength, 1)
        .when(strength >= config.second_strength, 2)
        .when(strength.isNotNull(), 3)
    )


def _of_the_catalogue(lists: DataFrame, items: DataFrame) -> dict[str, int]:
    """Lists with a pseudo-exposure that the catalogue didn't hold on the slate's day.

    The first delivery says nothing about since when its items had been there.
    """
    start = items.agg(F.min("first_day").alias("start"))
    known = items.crossJoin(F.broadcast(start)).select(
        "item_index",
        F.when(F.col("first_day") > F.col("start"), F.col("first_day")).alias("since"),
        F.col("last_listed_day").alias("until"),
        F.lit(True).alias("is_known"),
    )
    unshown = F.filter(F.arrays_zip("item_indices", "tiers"), lambda entry: entry["tiers"] >= 4)
    drawn = lists.select(*_KEY, F.explode(F.transform(unshown, _item)).alias("item_index"))
    of_list = drawn.join(known, "item_index", "left")
    is_late = F.col("is_known").isNull() | (F.col("since") > F.col("day"))
    rules = {
        "a pseudo-exposure came into the catalogue later, or never": is_late,
        "a pseudo-exposure had been withdrawn": F.col("until") < F.col("day"),
    }
    return {
        rule: int(of_list.where(broken).select(*_KEY).distinct().count())
        for rule, broken in rules.items()
    }
