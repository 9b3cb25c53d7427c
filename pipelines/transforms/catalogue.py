"""Raw catalogues → items, with a dense index that is only ever appended to."""

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from feature_store.tables.items import ITEMS
from pipelines.schema import null, typed

CONTENT = ("title", "text", "attributes")


def extend_items(items: DataFrame, catalogue: DataFrame, *, day: date) -> DataFrame:
    """The items with the catalogue's content, and the catalogue's new items after them.

    Args:
        items: rows of `items` as published; empty to begin with.
        catalogue: item_id, title, text, attributes; one row per item, as `one_per_item` gives.
        day: the run's day: when its new items were first seen.

    Returns:
        Rows of `items`. An item keeps its index and first_day for ever, and its content while the
        catalogue leaves it out; new ones follow in the order of item_id.
    """
    fresh = catalogue.select("item_id", *(F.col(c).alias(f"_{c}") for c in CONTENT))
    fresh = fresh.withColumn("_listed", F.lit(True))
    updated = items.join(fresh, "item_id", "left").select(
        "item_id",
        "item_index",
        "first_day",
        *(F.when(F.col("_listed"), F.col(f"_{c}")).otherwise(F.col(c)).alias(c) for c in CONTENT),
    )
    return updated.unionByName(_appended(items, catalogue, day)).select(*ITEMS.column_names)


def _appended(items: DataFrame, catalogue: DataFrame, day: date) -> DataFrame:
    new = catalogue.join(items.select("item_id"), "item_id", "left_anti")
    # Dense and append-only: the number of items is the next index.
    start = items.agg(F.count(F.lit(1)).alias("_start"))
    # One task numbers the new items, ids alone; their content is joined to that.
    numbered = new.select("item_id").withColumn(
        "_place", F.row_number().over(Window.orderBy("item_id")) - 1
    )
    numbered = numbered.crossJoin(F.broadcast(start)).join(new, "item_id")
    return numbered.select(
        "item_id",
        typed(F.col("_place") + F.col("_start"), ITEMS, "item_index"),
        typed(F.lit(day), ITEMS, "first_day"),
        *CONTENT,
    )


def one_per_item(catalogue: DataFrame) -> DataFrame:
    """The catalogue without rows that lack an id and with one row per item.

    Of several rows of an item the one with the most text stays, then the first in the order of
    title, text and attributes: the same one whatever the order of the file.
    """
    best = Window.partitionBy("item_id").orderBy(
        F.length(F.coalesce("text", "title", F.lit(""))).desc(),
        "title",
        "text",
        F.map_entries("attributes"),
    )
    with_id = catalogue.withColumn("item_id", F.trim("item_id")).where("item_id <> ''")
    ranked = with_id.withColumn("_rank", F.row_number().over(best))
    return ranked.where(F.col("_rank") == 1).drop("_rank")


def without_content(item_ids: DataFrame) -> DataFrame:
    """Catalogue rows for items that are known by their id alone."""
    return (
        item_ids.select("item_id")
        .distinct()
        .select(
            "item_id",
            null(ITEMS, "title"),
            null(ITEMS, "text"),
            typed(F.create_map(), ITEMS, "attributes"),
        )
    )
