"""slates → item_cooccurrence: which items are engaged with in the same slates."""

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipelines.config import Cooccurrence


def count_cooccurrence(slates: DataFrame, config: Cooccurrence, *, day: date) -> DataFrame:
    """Rows of `item_cooccurrence`: each item with the others that it is most often engaged with.

    `score = together / √(slates of the one · slates of the other)`, the cosine of the two items'
    columns in the slate × item matrix; ties go to the lower other_index. Linear in events, because
    of a slate only its `maximum_items` strongest engaged items count (ties: those shown first).

    Args:
        slates: rows of `slates`, of the days that count, as they were within the training span.
        config: what counts as engaged, and how many others are kept.
        day: of the result's rows.
    """
    weakest_last = F.transform(
        "item_indices",
        lambda item, place: F.struct(
            F.negate(F.get("strengths", place)).alias("weakness"),
            place.alias("place"),
            item.alias("item_index"),
        ),
    )
    engaged = F.filter(weakest_last, lambda item: item["weakness"] <= -config.positive_strength)
    kept = F.slice(F.array_sort(engaged)["item_index"], 1, config.maximum_items)
    together = slates.select(kept.alias("items"))
    alone = (
        together.select(F.explode("items").alias("item_index"))
        .groupBy("item_index")
        .agg(F.count(F.lit(1)).alias("slates"))
    )
    both = (
        together.select("items", F.explode("items").alias("item_index"))
        .select("item_index", F.explode("items").alias("other_index"))
        .where("item_index <> other_index")
        .groupBy("item_index", "other_index")
        .agg(F.count(F.lit(1)).alias("together"))
        .where(F.col("together") >= config.minimum_together)
    )
    others = alone.select(
        F.col("item_index").alias("other_index"), F.col("slates").alias("other_slates")
    )
    scored = both.join(alone, "item_index").join(others, "other_index")
    score = F.col("together") / F.sqrt(F.col("slates") * F.col("other_slates"))
    best = Window.partitionBy("item_index").orderBy(F.desc("score"), "other_index")
    return (
        scored.withColumn("score", F.least(score, F.lit(1.0)))
        .withColumn("rank", F.row_number().over(best))
        .where(F.col("rank") <= config.neighbours)
        .select(F.lit(day).alias("day"), "item_index", "other_index", "together", "score")
    )
