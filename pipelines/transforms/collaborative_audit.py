"""The leakage audit of collaborative vectors: nothing of one may come from an event held out.

It looks at the rows that would be published, beside the histories that they were made from, and
uses nothing of how they were made: it numbers each user's events from both ends.
"""

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from feature_store.held_out import LAST_EVENTS


def audit(vectors: DataFrame, sequences: DataFrame, *, until: date | None) -> dict[str, int]:
    """Vectors that know of an event that they may not know of, by rule.

    Args:
        vectors: rows of `collaborative_vectors`.
        sequences: the day's rows of `user_sequences`.
        until: the first day whose events are held out; None: each person's last two events are.
    Returns:
        Rule in plain words → number of vectors; every rule is there, also those that hold.
    """
    events = sequences.select(
        "user_id",
        F.size("item_indices").alias("length"),
        F.posexplode(F.arrays_zip("item_indices", "event_times")).alias("place", "event"),
    )
    from_end = F.col("length") - F.col("place")
    is_held_out = (
        (F.col("length") > LAST_EVENTS) & (from_end <= LAST_EVENTS)
        if until is None
        else F.col("event.event_times") >= F.lit(f"{until}T00:00:00Z").cast("timestamp")
    )
    known = (
        events.where(~is_held_out)
        .groupBy(F.col("event.item_indices").alias("item_index"))
        .agg(
            F.countDistinct("user_id").alias("most_users"),
            F.max("event.event_times").alias("latest"),
        )
    )
    rules = {
        "the newest event is held out": (
            F.col("latest").isNull() | (F.col("newest_event_time") > F.col("latest"))
        ),
        "more users took to the item than did before the border": (
            F.col("most_users").isNull() | (F.col("num_users") > F.col("most_users"))
        ),
    }
    beside = vectors.join(known, "item_index", "left")
    counted = beside.agg(
        *(F.count_if(broken).alias(f"rule {n}") for n, broken in enumerate(rules.values()))
    ).first()
    return {rule: int(counted[number]) for number, rule in enumerate(rules)}


def refusal(found: dict[str, int]) -> str | None:
    """What the audit has against the vectors; None: nothing."""
    broken = [f"  {vectors:,} vectors: {rule}" for rule, vectors in found.items() if vectors]
    if not broken:
        return None
    return "\n".join(
        [
            "the leakage audit refused the collaborative vectors; what was published before stays:",
            *broken,
            "Semantic IDs would know what models are asked. Look at `user_sequences` of the day, "
            "run build_user_sequences again, then build_collaborative_vectors",
        ]
    )
