"""build_items: the raw catalogue → items.

Where the source has no catalogue, or the preset adds unknown items, the items of the delivery's
valid rows are added without content. An item that the newest catalogue no longer lists is kept,
with its index, and marked as withdrawn.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from feature_store.snapshot import day_or_none
from pipelines.errors import DataRefused, DeliveryUnreadable
from pipelines.jobs.delivery import read_delivery
from pipelines.jobs.interface import Counts, Job, JobOutput, JobRun
from pipelines.jobs.ledger import Ledger
from pipelines.sources import open_source
from pipelines.sources.interface import Catalogue, Source
from pipelines.transforms.catalogue import (
    LISTED_ON,
    Listing,
    extend_items,
    listed,
    one_per_item,
    without_content,
)
from pipelines.transforms.events import accepted

NAMED = 5
"""Items of a kind that the run record names."""


def build(run: JobRun) -> JobOutput:
    """Add what is new to the catalogue, update what is there, mark what is withdrawn.

    Raises:
        DataRefused: the catalogue lists no item.
        DeliveryUnreadable: the catalogue should be there and isn't.
    """
    source = open_source(run.spark, run.config, run.settings)
    read = read_catalogues(run, source)
    catalogue = None if read is None else read.kept
    files = () if read is None else read.files
    if catalogue is None or run.config.items.unknown_items == "add":
        catalogue, delivered = _with_delivered(run, source, catalogue)
        files += delivered
    items = run.table("items")
    listing = None if read is None else read.listing
    counted = Observation()
    made = extend_items(items, catalogue, day=run.day, listing=listing)
    withdrawn = F.count_if(F.col("last_listed_day").isNotNull()).alias("withdrawn_items")
    known = items if run.snapshot("items") is not None else None
    return JobOutput(
        frames={"items": made.observe(counted, withdrawn)},
        facts={} if read is None else read.facts,
        account=lambda rows: _account(rows, dict(counted.get)),
        known_items=known,
        raw_files=files,
        release=lambda: read.kept.unpersist() if read else None,
    )


@dataclass(frozen=True, kw_only=True)
class Catalogues:
    """The catalogues that a run reads: the newest, and those that no run has seen.

    Args:
        kept: one row per item, persisted.
        listing: what the newest one means for the items that it doesn't list.
        files: their names.
        facts: for the run record.
    """

    kept: DataFrame
    listing: Listing
    files: tuple[str, ...]
    facts: dict[str, Any]


def read_catalogues(run: JobRun, source: Source) -> Catalogues | None:
    """The catalogues of a run, newest first; None where the source has none.

    Of catalogues that are delivered per day, those since the last run's are read, too: an item
    that was listed for a day that was missed is no unknown one.

    Raises:
        DataRefused: the newest catalogue lists no item.
        DeliveryUnreadable: the catalogue should be there and isn't.
    """
    newest = source.catalogue(run.day)
    if newest is None:
        return None
    days = _days_built(run)
    before = max((day for day in days if day < run.day), default=None)
    after = max((day for day in days if day > run.day), default=None)
    catalogues = [newest, *_unseen(source, newest, before)]
    raw = reduce(DataFrame.unionByName, (listed(c.rows, c.day or run.day) for c in catalogues))
    kept = one_per_item(raw).persist(StorageLevel.MEMORY_AND_DISK)
    facts = _counted(raw, kept, newest)
    _refuse_empty(facts, newest)
    listing = Listing(
        newest=newest.day or run.day,
        previous=before,
        withdraws=newest.holds == "one" or after is None or not _is_older(source, newest, after),
    )
    files = tuple(sorted(_name(file) for c in catalogues for file in c.files))
    return Catalogues(kept=kept, listing=listing, files=files, facts=facts)


def _days_built(run: JobRun) -> list[date]:
    """Days whose run published the items, or found them as they were."""
    if run.snapshot("items") is None:
        return []
    tags = {tag for info in run.store.history("items") if info.is_ancestor for tag in info.tags}
    return sorted(day for day in map(day_or_none, tags) if day is not None)


def _unseen(source: Source, newest: Catalogue, before: date | None) -> list[Catalogue]:
    """The catalogues of the days since the last run's, newest first; to begin with, all."""
    found: list[Catalogue] = []
    oldest = newest
    while oldest.day is not None:
        until = oldest.day - timedelta(days=1)
        older = None if before is not None and until <= before else _at(source, until)
        if older is None or older.day is None or (before is not None and older.day <= before):
            break
        found.append(older)
        oldest = older
    return found


def _at(source: Source, day: date) -> Catalogue | None:
    """The newest catalogue of up to a day; None where there is none so old."""
    try:
        return source.catalogue(day)
    except DeliveryUnreadable:
        return None


def _is_older(source: Source, catalogue: Catalogue, after: date) -> bool:
    """Whether a later day's run saw a newer catalogue."""
    later = _at(source, after)
    return (
        later is not None
        and later.day is not None
        and catalogue.day is not None
        and later.day > catalogue.day
    )


def _counted(raw: DataFrame, kept: DataFrame, newest: Catalogue) -> dict[str, Any]:
    """What the catalogues hold, with some names of what they shouldn't."""
    no_id = F.col("item_id").isNull()
    row = raw.agg(
        F.count(F.lit(1)).alias("rows"),
        F.count_if(no_id).alias("without_id"),
    ).collect()[0]
    items = kept.count()
    in_newest = F.col(LISTED_ON) == F.lit(newest.day) if newest.day else F.lit(True)
    facts: dict[str, Any] = {
        "catalogue_day": None if newest.day is None else newest.day.isoformat(),
        "catalogue_rows": int(row["rows"]),
        "catalogue_items": items,
        "listed_items": kept.where(in_newest).count() if newest.day else items,
        "rows_without_id": int(row["without_id"]),
        "rows_of_an_item_again": int(row["rows"]) - int(row["without_id"]) - items,
        "left_out": [f"{left.file}: {left.why}" for left in newest.left_out],
    }
    if facts["rows_without_id"]:
        told = F.coalesce("title", "text", F.to_json("attributes"))
        titles = raw.where(no_id).select(F.substring(told, 1, 80).alias("told"))
        facts["without_id"] = [each["told"] for each in titles.limit(NAMED).collect()]
    if facts["rows_of_an_item_again"]:
        again = raw.where(~no_id).groupBy("item_id", LISTED_ON).count().where("count > 1")
        names = again.select("item_id").distinct().orderBy("item_id").limit(NAMED).collect()
        facts["again"] = [each["item_id"] for each in names]
    return facts


def _refuse_empty(facts: dict[str, Any], newest: Catalogue) -> None:
    if not facts["listed_items"]:
        raise DataRefused(
            f"catalogue {', '.join(map(_name, newest.files))} lists no item: "
            f"{facts['catalogue_rows']:,} rows, {facts['rows_without_id']:,} without an id. "
            "Nothing was published; deliver it again, or correct source.catalogue"
        )


def _account(rows: Counts, counts: dict[str, Any]) -> dict[str, Any]:
    return {"withdrawn_items": int(counts["withdrawn_items"] or 0)}


def _with_delivered(
    run: JobRun, source: Source, catalogue: DataFrame | None
) -> tuple[DataFrame, tuple[str, ...]]:
    """The catalogue, and the items that only the delivery has."""
    delivery = read_delivery(run, source, Ledger.of(run))
    delivered = without_content(accepted(delivery.events))
    if catalogue is None:
        return delivered, delivery.files
    unlisted = delivered.join(catalogue.select("item_id"), "item_id", "left_anti")
    return catalogue.unionByName(unlisted), delivery.files


def _name(address: str) -> str:
    """A file without its folder."""
    return address.rpartition("/")[2]


JOB = Job(name="build_items", build=build)
