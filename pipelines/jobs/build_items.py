"""build_items: the raw catalogue → items.

Where the source has no catalogue, or the preset adds unknown items, the items of the delivery's
valid rows are added without content.
"""

from pyspark.sql import DataFrame

from feature_store.tables.items import ITEMS
from pipelines.jobs.delivery import read_delivery
from pipelines.jobs.interface import Job, JobOutput, JobRun
from pipelines.jobs.ledger import Ledger
from pipelines.sources import open_source
from pipelines.sources.interface import Source
from pipelines.transforms.catalogue import extend_items, one_per_item, without_content
from pipelines.transforms.events import accepted


def build(run: JobRun) -> JobOutput:
    """Add what is new to the catalogue and update what is there."""
    source = open_source(run.spark, run.config, run.settings)
    raw = source.catalogue(run.day)
    catalogue = None if raw is None else one_per_item(raw.rows)
    files = () if raw is None else tuple(sorted(map(_name, raw.files)))
    if catalogue is None or run.config.items.unknown_items == "add":
        catalogue, delivered = _with_delivered(run, source, catalogue)
        files += delivered
    items = run.table("items")
    made = extend_items(items, catalogue, day=run.day)
    known = items if run.snapshot("items") is not None else None
    return JobOutput(frames={"items": made}, known_items=known, raw_files=files)


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


JOB = Job(name="build_items", outputs=(ITEMS,), build=build)
