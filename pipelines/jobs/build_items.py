"""build_items: the raw catalogue → items.

Where the source has no catalogue, or the preset adds unknown items, the items of the delivery's
valid rows are added without content.
"""

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from feature_store.tables.items import ITEMS
from pipelines.jobs.delivery import read_delivery, state_before
from pipelines.jobs.interface import Job, JobOutput, JobRun
from pipelines.sources import open_source
from pipelines.transforms.catalogue import extend_items, one_per_item, without_content


def build(run: JobRun) -> JobOutput:
    """Add what is new to the catalogue and update what is there."""
    source = open_source(run.spark, run.config, run.settings)
    raw = source.catalogue()
    listed = None if raw is None else one_per_item(raw)
    kept: list[DataFrame] = []
    files: tuple[str, ...] = ()
    if listed is None or run.config.items.unknown_items == "add":
        delivery = read_delivery(run, source, state_before(run))
        # Kept, because the join below reads it several times, and the raw files should be once.
        judged = delivery.events.select("item_id", "reasons").persist(StorageLevel.MEMORY_AND_DISK)
        listed, files = _with_delivered(judged, listed), delivery.files
        kept.append(judged)
    catalogue = listed.persist(StorageLevel.MEMORY_AND_DISK)
    kept.append(catalogue)
    items = run.table("items")
    return JobOutput(
        frames={"items": extend_items(items, catalogue, day=run.day)},
        known_items=items if run.snapshot("items") is not None else None,
        raw_files=files,
        release=lambda: _release(kept),
    )


def _with_delivered(judged: DataFrame, catalogue: DataFrame | None) -> DataFrame:
    """The catalogue, and the items that only valid events of the delivery have."""
    delivered = without_content(judged.where(F.size("reasons") == 0))
    if catalogue is None:
        return delivered
    unlisted = delivered.join(catalogue.select("item_id"), "item_id", "left_anti")
    return catalogue.unionByName(unlisted)


def _release(frames: list[DataFrame]) -> None:
    for frame in frames:
        frame.unpersist()


JOB = Job(name="build_items", outputs=(ITEMS,), build=build)
