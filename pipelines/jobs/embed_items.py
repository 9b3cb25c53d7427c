"""embed_items: items → item_embeddings of the preset's encoder.

Only new items and items whose content changed are encoded; the other vectors are carried over.
"""

from typing import Any

from pyspark.sql import functions as F

from feature_store.steps import run_first
from pipelines.errors import DataRefused
from pipelines.jobs.interface import Job, JobOutput, JobRun
from pipelines.transforms.embeddings import encoded, encoder_for, lacks_content, pending

ITEMS_PER_FILE = 200_000
"""Carried-over vectors written to one file: some 300 MB at MiniLM's width."""

MOST_WITHOUT_CONTENT = 0.1
"""Share of the items that may be embedded by their ids before that is an alarm."""


def build(run: JobRun) -> JobOutput:
    """Vectors of all items under the preset's encoder.

    Raises:
        DataRefused: there is no catalogue.
    """
    encoder = encoder_for(run.config.embedding)
    items = run.table("items")
    if run.snapshot("items") is None:
        raise DataRefused(f"there is no item to embed; {run_first('items')}")
    previous = run.table("item_embeddings", partitions=[encoder.identity])
    kept, missing = pending(items, previous, encoder)
    missing = missing.cache()
    num_missing = missing.count()
    counted: dict[str, Any] = (
        items.agg(
            F.count(F.lit(1)).alias("items"),
            F.coalesce(F.sum(lacks_content(encoder).cast("long")), F.lit(0)).alias("lacking"),
        )
        .first()
        .asDict()
    )
    vectors = kept.coalesce(max(1, counted["items"] // ITEMS_PER_FILE))
    if num_missing:
        vectors = vectors.unionByName(encoded(missing, encoder, num_missing=num_missing))
    return JobOutput(
        frames={"item_embeddings": vectors},
        known_items=items,
        replace={"item_embeddings": [encoder.identity]},
        facts={
            "encoder": encoder.identity,
            "items_encoded": num_missing,
            "items_carried_over": counted["items"] - num_missing,
            "items_without_content": counted["lacking"],
            "alarms": _alarms(counted["lacking"], counted["items"], run.config.embedding.encoder),
        },
        release=missing.unpersist,
    )


def _alarms(num_lacking: int, num_items: int, encoder: str) -> list[str]:
    if num_lacking <= MOST_WITHOUT_CONTENT * num_items:
        return []
    lacks, key = ("text", "text") if encoder == "text" else ("attribute", "attributes")
    return [
        f"{num_lacking:,} of {num_items:,} items have no {lacks}: their ids are embedded, which "
        f"say nothing of what is alike (alarm above {MOST_WITHOUT_CONTENT:.0%}); name columns in "
        f"source.catalogue.{key}"
    ]


JOB = Job(name="embed_items", build=build)
