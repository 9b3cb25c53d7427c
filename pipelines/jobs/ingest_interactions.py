"""ingest_interactions: raw feedback → interactions, and what was refused → quarantine.

The raw files are read once: the judged events are kept (in memory, then on disk) while they are
counted, and both tables are written from them. The quarantine is published even when the
interactions are refused, so that what was wrong can be looked at; a rerun replaces it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from feature_store.tables.interactions import INTERACTIONS
from feature_store.tables.quarantine import QUARANTINE
from pipelines.config import Validation
from pipelines.errors import DataRefused, RowsUnaccounted
from pipelines.jobs.delivery import Before, Delivery, read_delivery, reason_counts, state_before
from pipelines.jobs.interface import Counts, Job, JobOutput, JobRun
from pipelines.sources import open_source
from pipelines.sources.raw_rows import one_split_per_task
from pipelines.transforms.events import (
    accepted,
    keep_text_of_refused,
    rank_copies,
    refuse_unknown_items,
    refused,
)
from pipelines.transforms.identifiers import refused_columns

ROWS_PER_FILE = 4_000_000
"""A day with more rows is written as several files, by user."""


def build(run: JobRun) -> JobOutput:
    """Judge the delivery and set what is accepted beside what is published."""
    source = open_source(run.spark, run.config, run.settings)
    before = state_before(run)
    delivery = read_delivery(run, source, before)
    items, events = None, delivery.events
    if source.has_catalogue and run.config.items.unknown_items == "quarantine":
        items = run.table("items")
        events = refuse_unknown_items(events, items)
    events = keep_text_of_refused(events).persist(StorageLevel.MEMORY_AND_DISK)
    with one_split_per_task(run.spark):
        tally = count_events(events)
    _refuse_empty(tally, run, delivery)
    published = run.table("interactions", partitions=tally.days)
    rows_published = published.count()
    largest_day = max(tally.rows_by_day.values(), default=0) + rows_published
    buckets = 1 + largest_day // ROWS_PER_FILE
    dropped = Observation()
    interactions = (
        rank_copies(accepted(events), published, buckets=buckets)
        .observe(dropped, F.count_if(F.col("_rank") > 1).alias("rows"))
        .where("_rank = 1")
        .drop("_rank")
    )
    return JobOutput(
        frames={"quarantine": refused(events, run.day), "interactions": interactions},
        always=frozenset({"quarantine"}),
        replace={"quarantine": [run.day]},
        facts=_facts(tally, run, delivery, bootstrap=not before.days),
        account=_accountant(tally, rows_published, lambda: int(dropped.get["rows"])),
        refusal=lambda: refused_columns(tally.reasons) or excess(tally, run.config.validation),
        known_items=items,
        trailing=_trailing(run, before),
        raw_files=delivery.files,
        release=lambda: events.unpersist(),
    )


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Raw rows of a run: how many, how many refused and why, and the days of the rest."""

    rows_in: int
    refused: int
    reasons: dict[str, int]
    rows_by_day: dict[date, int]

    @property
    def days(self) -> list[date]:
        """Days that accepted rows belong to."""
        return sorted(self.rows_by_day)


def count_events(events: DataFrame) -> Tally:
    """Count judged events, in one pass."""
    day = F.when(F.size("reasons") == 0, F.to_date("event_time")).alias("day")
    groups = events.groupBy(day, "reasons").agg(F.count(F.lit(1)).alias("rows")).collect()
    bad = [(list(group["reasons"]), int(group["rows"])) for group in groups if group["reasons"]]
    good = {group["day"]: int(group["rows"]) for group in groups if not group["reasons"]}
    refused_rows = sum(rows for _, rows in bad)
    return Tally(
        rows_in=refused_rows + sum(good.values()),
        refused=refused_rows,
        reasons=reason_counts(bad),
        rows_by_day=good,
    )


def balance(*, rows_in: int, published: int, duplicates: int, quarantined: int) -> dict[str, int]:
    """The account of a run's rows.

    Args:
        rows_in: raw rows, counted as they were read.
        published: rows the table has more than before, counted in the staged files.
        duplicates: rows dropped because another had the same key, counted as they were dropped.
        quarantined: refused rows, counted in the staged files.

    Raises:
        RowsUnaccounted: rows_in = published + duplicates + quarantined doesn't hold.
    """
    if rows_in != published + duplicates + quarantined:
        raise RowsUnaccounted(
            f"rows in {rows_in:,} ≠ published {published:,} + duplicates {duplicates:,} + "
            f"quarantined {quarantined:,}; nothing was published. This is a defect: please report "
            "it with the run record"
        )
    return {
        "rows_in": rows_in,
        "published": published,
        "duplicates": duplicates,
        "quarantined": quarantined,
    }


def excess(tally: Tally, limits: Validation) -> str | None:
    """Why a delivery that lost this many rows is refused as a whole; None: it isn't."""
    share = tally.refused / max(tally.rows_in, 1)
    if share <= limits.quarantine_share:
        return None
    listed = "".join(f"\n  {rows:,} × {reason}" for reason, rows in tally.reasons.items())
    return (
        f"{tally.refused:,} of {tally.rows_in:,} rows ({share:.1%}) were refused, more than "
        f"validation.quarantine_share allows ({limits.quarantine_share:.1%}):{listed}\n"
        "They are in the quarantine; interactions stays as it was. Correct the delivery and run "
        "the day again"
    )


def _accountant(
    tally: Tally, rows_before: int, dropped: Callable[[], int]
) -> Callable[[Counts], dict[str, Any]]:
    def account(staged: Counts) -> dict[str, Any]:
        return dict(
            balance(
                rows_in=tally.rows_in,
                published=staged["interactions"] - rows_before,
                duplicates=dropped(),
                quarantined=staged["quarantine"],
            )
        )

    return account


def _refuse_empty(tally: Tally, run: JobRun, delivery: Delivery) -> None:
    if tally.rows_in or run.config.validation.allow_empty_day:
        return
    raise DataRefused(
        f"no rows for {run.day} in {', '.join(delivery.files)}. If the day truly had no events, "
        "set validation.allow_empty_day; else deliver it again and run the day again"
    )


def _facts(tally: Tally, run: JobRun, delivery: Delivery, *, bootstrap: bool) -> dict[str, Any]:
    late = sum(rows for day, rows in tally.rows_by_day.items() if day < run.day)
    return {
        "reasons": tally.reasons,
        "bootstrap": bootstrap,
        "days_touched": len(tally.days),
        "late_rows": 0 if bootstrap else late,
        "raw_files": list(delivery.files),
    }


def _trailing(run: JobRun, before: Before) -> DataFrame | None:
    """Strength mix of the last published days before the run's: day, strength, n."""
    days = before.last(run.day, run.config.validation.trailing_days)
    if not days:
        return None
    files = run.store.files("interactions", at=before.snapshot, partitions=days)
    rows = run.read(INTERACTIONS, files)
    return rows.groupBy("day", "strength").agg(F.count(F.lit(1)).alias("n"))


JOB = Job(name="ingest_interactions", outputs=(QUARANTINE, INTERACTIONS), build=build)
