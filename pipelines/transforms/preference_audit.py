"""The audit of preference pairs: none knows what came after its context, each prefers something.

It looks at the rows that would be published, beside the tables they were made from, and uses
nothing of how they were made.
"""

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_KEY = ["day", "slate_id", "kind", "pair"]


def audit(pairs: DataFrame, slates: DataFrame, items: DataFrame, *, day: date) -> dict[str, int]:
    """Pairs that break a rule of time, by rule.

    Args:
        pairs: rows of `preference_pairs`.
        slates: rows of `slates`: those of the pairs, and the earlier ones of their users.
        items: rows of `items`.
        day: the run's; nothing may be of later.
    Returns:
        Rule in plain words → number of pairs; every rule is there, also those that hold.
    """
    end = F.lit(f"{day + timedelta(days=1)}T00:00:00Z").cast("timestamp")
    shown = F.col("item_indices")
    added = F.array_except("rejected", shown)
    strength_of = F.map_from_arrays("item_indices", "strengths")
    strengths = {
        side: F.transform(side, lambda item: F.try_element_at(strength_of, item))
        for side in ("chosen", "rejected")
    }
    rules = {
        "the slate isn't published": shown.isNull(),
        "the slate ends before it starts, or after the run's day": (
            (F.col("ended_at") < F.col("started_at")) | (F.col("ended_at") >= end)
        ),
        "the context goes on after the slate's start": (
            F.col("context_until") > F.col("started_at")
        ),
        "newest_source is after the slate's end": F.col("newest_source") > F.col("ended_at"),
        "a chosen item isn't in the slate": F.size(F.array_except("chosen", shown)) > 0,
        "a permutation holds other items": (
            (F.col("kind") == "ranking") & (F.array_sort("chosen") != F.array_sort("rejected"))
        ),
        "a permutation is as good as the chosen": (
            (F.col("kind") == "ranking") & (strengths["chosen"] == strengths["rejected"])
        ),
    }
    beside = pairs.join(
        slates.select(
            *("day", "slate_id", "user_id", "started_at", "ended_at"), "item_indices", "strengths"
        ),
        ["day", "slate_id", "user_id"],
        "left",
    )
    counted = beside.agg(*_counts(rules)).first()
    borrowed = beside.select(
        *_KEY, "user_id", "newest_source", F.explode(added).alias("item_index")
    )
    late = _borrowed_too_late(borrowed.where("kind = 'interest'"), slates)
    unknown = _unknown_then(borrowed.where("kind = 'diversity'"), items)
    return {
        **{rule: int(counted[number]) for number, rule in enumerate(rules)},
        "an item was borrowed from a slate after newest_source": late,
        "a similar item came into the catalogue later": unknown,
    }


def refusal(found: dict[str, int]) -> str | None:
    """What the audit has against the pairs; None: nothing."""
    broken = [f"  {pairs:,} pairs: {rule}" for rule, pairs in found.items() if pairs]
    if not broken:
        return None
    return "\n".join(
        [
            "the audit refused the preference pairs; what was published before stays:",
            *broken,
            "A model would learn from what it can't know when it recommends, or nothing at all. "
            "Look at `slates` of the day, run build_slates again, then build_preference_pairs",
        ]
    )


def _counts(rules: dict[str, Column]) -> list[Column]:
    return [F.count_if(broken).alias(f"rule {number}") for number, broken in
            enumerate(rules.values())]  # fmt: skip


def _borrowed_too_late(borrowed: DataFrame, slates: DataFrame) -> int:
    """Pairs with an item that the user was first shown after newest_source, or never."""
    shown = slates.select("user_id", "ended_at", F.explode("item_indices").alias("item_index"))
    first = shown.groupBy("user_id", "item_index").agg(F.min("ended_at").alias("first"))
    late = borrowed.join(first, ["user_id", "item_index"], "left").where(
        "first IS NULL OR first > newest_source"
    )
    return int(late.select(*_KEY).distinct().count())


def _unknown_then(borrowed: DataFrame, items: DataFrame) -> int:
    """Pairs with an item that a later delivery of the catalogue than the slate's day brought.

    The first delivery says nothing about since when its items had been there.
    """
    start = items.agg(F.min("first_day").alias("start"))
    since = items.crossJoin(F.broadcast(start)).select(
        "item_index", F.when(F.col("first_day") > F.col("start"), F.col("first_day")).alias("since")
    )
    unknown = borrowed.join(since, "item_index", "left").where("since > day")
    return int(unknown.select(*_KEY).distinct().count())
