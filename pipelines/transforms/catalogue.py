"""Raw catalogues → items, with a dense index that is only ever appended to."""

from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from feature_store.tables.items import ITEMS
from pipelines.schema import null, typed

CONTENT = ("title", "text", "attributes")
LISTED_ON = "_listed_on"
"""Of a row of several catalogues: the day of the one that it is from."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What being in the catalogue, or not, means for an item.

    Args:
        newest: the day that the newest catalogue stands for.
        previous: the last day whose run saw a catalogue before it; None: there was none.
        withdraws: whether the catalogue is the newest that was ever taken, so that an item which
            it doesn't list is withdrawn; an older one only adds the items that nobody has seen.
    """

    newest: date
    previous: date | None = None
    withdraws: bool = True


def extend_items(
    items: DataFrame, catalogue: DataFrame, *, day: date, listing: Listing | None
) -> DataFrame:
    """The items with the catalogue's content, and the catalogue's new items after them.

    Args:
        items: rows of `items` as published; empty to begin with.
        catalogue: item_id, title, text, attributes and `LISTED_ON` (null: known from events
            alone); one row per item, as `one_per_item` gives.
        day: the run's day: when its new items were first seen.
        listing: None: there is no catalogue, and nothing is withdrawn.

    Returns:
        Rows of `items`. An item keeps its index and first_day for ever, and its content while the
        catalogue leaves it out; new ones follow in the order of item_id.
    """
    names = (*CONTENT, LISTED_ON)
    fresh = catalogue.select("item_id", *(F.col(name).alias(f"_new_{name}") for name in names))
    joined = items.join(fresh.withColumn("_is_there", F.lit(True)), "item_id", "left")
    is_there, listed_on = F.col("_is_there").isNotNull(), F.col(f"_new_{LISTED_ON}")
    takes = is_there & F.lit(listing is None or listing.withdraws)
    updated = joined.select(
        "item_id",
        "item_index",
        "first_day",
        F.least("first_listed_day", listed_on).alias("first_listed_day"),
        typed(_last_listed(listing, listed_on), ITEMS, "last_listed_day"),
        *(F.when(takes, F.col(f"_new_{c}")).otherwise(F.col(c)).alias(c) for c in CONTENT),
    )
    appended = _appended(items, catalogue, day, listing)
    return updated.unionByName(appended).select(*ITEMS.column_names)


def _last_listed(listing: Listing | None, listed_on: Column) -> Column:
    """`last_listed_day` of an item that was there before."""
    if listing is None:
        return F.lit(None)
    if not listing.withdraws:
        return F.col("last_listed_day")
    before = F.lit(listing.previous) if listing.previous else F.col("first_listed_day")
    # An item that no catalogue ever listed can't be withdrawn from one.
    was_listed = F.col("first_listed_day").isNotNull()
    left = F.when(was_listed, F.coalesce("last_listed_day", before))
    return F.when(listed_on.isNotNull(), _if_withdrawn(listing, listed_on)).otherwise(left)


def _if_withdrawn(listing: Listing, listed_on: Column) -> Column:
    """The day of the catalogue that lists an item; null where it is the newest."""
    return F.when((listed_on < F.lit(listing.newest)) | F.lit(not listing.withdraws), listed_on)


def _appended(
    items: DataFrame, catalogue: DataFrame, day: date, listing: Listing | None
) -> DataFrame:
    new = catalogue.join(items.select("item_id"), "item_id", "left_anti")
    # Dense and append-only: the number of items is the next index.
    start = items.agg(F.count(F.lit(1)).alias("_start"))
    # One task numbers the new items, ids alone; their content is joined to that.
    numbered = new.select("item_id").withColumn(
        "_place", F.row_number().over(Window.orderBy("item_id")) - 1
    )
    numbered = numbered.crossJoin(F.broadcast(start)).join(new, "item_id")
    withdrawn = F.lit(None) if listing is None else _if_withdrawn(listing, F.col(LISTED_ON))
    return numbered.select(
        "item_id",
        typed(F.col("_place") + F.col("_start"), ITEMS, "item_index"),
        typed(F.lit(day), ITEMS, "first_day"),
        F.col(LISTED_ON).alias("first_listed_day"),
        typed(withdrawn, ITEMS, "last_listed_day"),
        *CONTENT,
    )


def listed(rows: DataFrame, on: date) -> DataFrame:
    """Catalogue rows with the catalogue's day."""
    return rows.withColumn(LISTED_ON, F.lit(on))


def one_per_item(catalogue: DataFrame) -> DataFrame:
    """The catalogue without rows that lack an id and with one row per item.

    Of several rows of an item the newest catalogue's stay, of those the one with the most text,
    then the first in the order of title, text and attributes: the same one whatever the order of
    the file.

    Args:
        catalogue: rows of one or more catalogues, as `listed` gives them.
    """
    best = Window.partitionBy("item_id").orderBy(
        F.col(LISTED_ON).desc(),
        F.length(F.coalesce("text", "title", F.lit(""))).desc(),
        "title",
        "text",
        F.map_entries("attributes"),
    )
    ranked = catalogue.where(F.col("item_id").isNotNull())
    ranked = ranked.withColumn("_rank", F.row_number().over(best))
    return ranked.where(F.col("_rank") == 1).drop("_rank")


def without_content(item_ids: DataFrame) -> DataFrame:
    """Catalogue rows for items that are known by their id alone, in no catalogue."""
    return (
        item_ids.select("item_id")
        .distinct()
        .select(
            "item_id",
            null(ITEMS, "title"),
            null(ITEMS, "text"),
            typed(F.create_map(), ITEMS, "attributes"),
            F.lit(None).cast("date").alias(LISTED_ON),
        )
    )
