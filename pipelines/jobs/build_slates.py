"""build_slates: interactions × items → slates of the day.

Only the events of the day are read, and of the day before where local days begin in it. Days
before that have events and no slates yet (the first run, a day that was left out) are built with
it; the rows of a day are the same either way.
"""

from typing import Any

from pyspark.sql import Column, Observation
from pyspark.sql import functions as F

from pipelines.config import Slates
from pipelines.errors import DataRefused
from pipelines.jobs.interface import Counts, Job, JobOutput, JobRun
from pipelines.jobs.missing_days import missing_days, spread_over_files
from pipelines.transforms.slates import (
    MINIMUM_ITEMS,
    cut_groups,
    day_of,
    days_read,
    gather_groups,
    group_events,
    parts_of,
)


def build(run: JobRun) -> JobOutput:
    """Slates of the day, and of days before that were never built.

    Raises:
        DataRefused: no event was ever published, or an event's item isn't in the catalogue.
    """
    config = run.config.slates
    days = missing_days(run, of="interactions", built="slates")
    read = days_read(days, config)
    events = run.table("interactions", partitions=read)
    events = events.where(day_of(F.col("event_time"), config).between(days[0], days[-1]))
    items = run.table("items")
    known = events.join(items.select("item_id", "item_index"), "item_id", "left")
    unknown, grouped = Observation(), Observation()
    known = known.observe(unknown, F.count_if(F.col("item_index").isNull()).alias("events"))
    groups = gather_groups(group_events(known, config)).observe(grouped, *_counts(config))
    slates = spread_over_files(run, cut_groups(groups, config), of="interactions")

    def account(rows: Counts) -> dict[str, Any]:
        if unknown.get["events"]:
            raise DataRefused(
                f"{unknown.get['events']:,} events are of items that `items` doesn't have; run "
                "build_items and ingest_interactions for the day again"
            )
        return {name: int(count or 0) for name, count in grouped.get.items()}

    return JobOutput(
        frames={"slates": slates},
        replace={"slates": days},
        known_items=items,
        facts={"days_built": len(days), "days_read": len(read)},
        account=account,
    )


def _counts(config: Slates) -> list[Column]:
    """Groups, those too short for a slate, and those that were cut."""
    parts = parts_of(config)
    return [
        F.count(F.lit(1)).alias("groups"),
        F.count_if(parts == 0).alias(f"groups_shorter_than_{MINIMUM_ITEMS}"),
        F.count_if(parts > 1).alias("groups_cut"),
    ]


JOB = Job(name="build_slates", build=build)
