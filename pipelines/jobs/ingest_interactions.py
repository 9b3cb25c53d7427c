"""ingest_interactions: raw feedback → interactions, and what was refused → quarantine.

The raw files are read once (a log of all days twice, to find out what is new in it): the judged
events are kept (in memory, then on disk) while they are counted, and both tables are written from
them. The quarantine is published even when the interactions are refused, so that what was wrong
can be looked at; a rerun replaces it. What was taken is noted in `deliveries` last: a run that is
killed before that is run again as if it were the first.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from feature_store.stage import Stage
from feature_store.tables.interactions import INTERACTIONS
from pipelines.errors import DataRefused
from pipelines.files import fit_open_files
from pipelines.jobs.account import Tally, balance, count_events, excess, refuse_imbalance, withheld
from pipelines.jobs.delivery import (
    Before,
    Beyond,
    Delivery,
    read_delivery,
    state_before,
)
from pipelines.jobs.interface import Counts, Job, JobOutput, JobRun
from pipelines.jobs.ledger import Entry, Ledger, Piece
from pipelines.jobs.log_days import LogDays, days_of_log
from pipelines.sources import open_source
from pipelines.sources.raw_rows import one_split_per_task
from pipelines.transforms.events import (
    accepted,
    keep_text_of_refused,
    refuse_unknown_items,
    refused,
)
from pipelines.transforms.identifiers import refused_columns
from pipelines.transforms.redelivery import FATES, holds, merge_deliveries

ROWS_PER_FILE = 4_000_000
"""A day with more rows is written as several files, by user."""
LISTED = 20
"""Names or days of a kind that a run record lists; the rest is counted."""


def build(run: JobRun) -> JobOutput:
    """Judge the delivery and put what it says in the place of what it said before."""
    source = open_source(run.spark, run.config, run.settings)
    before, ledger = state_before(run), Ledger.of(run)
    delivery = read_delivery(run, source, ledger)
    log = days_of_log(run, ledger, delivery.events) if delivery.is_log else None
    events, items = delivery.events if log is None else log.events, None
    if source.has_catalogue and run.config.items.unknown_items == "quarantine":
        _refuse_without_items(run)
        items = run.table("items")
        events = refuse_unknown_items(events, items)
    else:
        events = events.withColumn("of_withdrawn", F.lit(False))
    events = keep_text_of_refused(events).persist(StorageLevel.MEMORY_AND_DISK)
    with one_split_per_task(run.spark):
        tally = count_events(events, is_log=delivery.is_log)
    beyond = delivery.beyond_the_day()
    _refuse_empty(tally, run, delivery, log, beyond)
    days = sorted({*tally.days, *_days_held(run, delivery, log)})
    published = run.table("interactions", partitions=days)
    rows_before = published.count()
    largest_day = max(tally.rows_by_day.values(), default=0) + rows_before
    counted = Observation()
    merged = merge_deliveries(
        accepted(events),
        published,
        replaced=_replaced(delivery, tally.first_micros if log is None else log.first_micros),
        buckets=1 + largest_day // ROWS_PER_FILE,
        is_alone=not rows_before and len(delivery.days) + delivery.has_log == 1,
        by_day=not fit_open_files(len(days)),
    )
    interactions = merged.observe(counted, *_changes()).where("_fate <> 'withdrawn'")
    return JobOutput(
        frames={
            "quarantine": refused(events, run.day),
            "interactions": interactions.drop("_fate", "_copies"),
        },
        writers={"deliveries": lambda stage: _note(stage, ledger, _taken(tally, delivery, log))},
        always=frozenset({"quarantine"}),
        replace={"quarantine": [run.day], "interactions": days, "deliveries": [run.day]},
        facts=_facts(tally, run, delivery, ledger, log) | _log_facts(log, beyond),
        account=_accountant(tally, rows_before, lambda: dict(counted.get)),
        uncommitted=withheld,
        refusal=lambda: refused_columns(tally.reasons) or excess(tally, run.config.validation),
        known_items=items,
        trailing=_trailing(run, before),
        raw_files=delivery.files,
        release=lambda: events.unpersist(),
    )


def _days_held(run: JobRun, delivery: Delivery, log: LogDays | None) -> list[date]:
    """Published days with events that the run's deliveries held before."""
    at = run.snapshot("interactions")
    if at is None:
        return []
    if log is not None:
        there = run.store.partitions("interactions", at=at)
        return [day for day in there if isinstance(day, date) and day in log.pieces]
    first, last = min(delivery.days), max(delivery.days)
    reaching = run.store.partitions_reaching("interactions", "delivery_day", first, at=at)
    # Nothing is delivered before it happens, and the last delivery of an event is its row's.
    candidates = [day for day in reaching if isinstance(day, date) and day <= last]
    if not candidates:
        return []
    rows = run.table("interactions", partitions=candidates)
    held = rows.where(holds(tuple(map(str, sorted(delivery.days))))).select("day").distinct()
    return [row["day"] for row in held.collect()]


def _replaced(delivery: Delivery, first_micros: int | None) -> Column:
    """What published deliveries said that the run's say anew.

    A log speaks for the time since its first event: what is older has left its window.
    """
    replaced = F.col("delivery_day").isin(sorted(delivery.days))
    if delivery.has_log and first_micros is not None:
        since = F.timestamp_micros(F.lit(first_micros))
        of_log = F.col("delivery_day").isNull() & (F.col("event_time") >= since)
        replaced = F.coalesce(replaced, F.lit(False)) | of_log
    return replaced


def _changes() -> list[Column]:
    """What is counted of the merged events as they are written."""
    is_the_runs, copies = F.col("_copies") > 0, F.col("_copies")
    counts = [F.count_if(F.col("_fate") == fate).alias(fate) for fate in FATES]
    return [
        F.count_if(is_the_runs).alias("published"),
        F.sum(F.when(copies > 1, copies - 1).otherwise(0)).alias("duplicates"),
        *counts,
    ]


def _accountant(
    tally: Tally, rows_before: int, changes: Callable[[], Mapping[str, Any]]
) -> Callable[[Counts], dict[str, Any]]:
    def account(staged: Counts) -> dict[str, Any]:
        counts = {name: int(number or 0) for name, number in changes().items()}
        refuse_imbalance(
            staged=staged["interactions"],
            before=rows_before,
            added=counts["added"],
            withdrawn=counts["withdrawn"],
        )
        account = balance(
            rows_in=tally.rows_in,
            published=counts["published"],
            duplicates=counts["duplicates"],
            quarantined=staged["quarantine"],
        )
        return account | {fate: counts[fate] for fate in FATES}

    return account


def _note(stage: Stage, ledger: Ledger, taken: Mapping[Piece, Entry]) -> int:
    """Stage what the run took; returns the rows."""
    rows = ledger.rows(stage.day, taken)
    stage.write(rows)
    return len(rows)


def _taken(tally: Tally, delivery: Delivery, log: LogDays | None) -> dict[Piece, Entry]:
    """What the run took, by delivered day or by day of the log."""
    if log is not None:
        return {piece: replace(e, digest=log.pieces[piece]) for piece, e in tally.taken.items()}
    # A day may be delivered without rows; rows of a log beside the days are of no day's delivery.
    none = Entry(rows=0, quarantined=0)
    return {day: tally.taken.get(day, none) for day in delivery.days}


def _refuse_empty(
    tally: Tally, run: JobRun, delivery: Delivery, log: LogDays | None, beyond: Beyond | None
) -> None:
    """Refuse a delivery without rows, and a log without any of the run's day.

    Raises:
        DataRefused: it is so, and the preset allows no empty day.
    """
    if run.config.validation.allow_empty_day:
        return
    spans = [log.span if log else None, beyond.span if beyond else None]
    held = [day for span in spans if span for day in span]
    if log is not None and held and (log.span is None or log.span[1] < run.day):
        days = " to ".join(map(str, dict.fromkeys((min(held), max(held)))))
        raise DataRefused(
            f"no event of {run.day} in {', '.join(delivery.files)}: its events are of {days}. "
            "Nothing was published; run one of these days, or, if the day truly had no events, set "
            "validation.allow_empty_day"
        )
    if tally.rows_in:
        return
    places = delivery.files or tuple(f"{each.file} ({each.why})" for each in delivery.left_out)
    raise DataRefused(
        f"no rows for {run.day} in {', '.join(places)}. If the day truly had no events, "
        "set validation.allow_empty_day; else deliver it again and run the day again"
    )


def _refuse_without_items(run: JobRun) -> None:
    """Refuse to judge events by a catalogue that nobody took in.

    Raises:
        DataRefused: `items` was never published.
    """
    if run.snapshot("items") is None:
        raise DataRefused(
            "items holds nothing yet, so that every event would be of an unknown item. Take the "
            f"catalogue in first: sidereal step build_items ingest_interactions --preset "
            f"{run.config.name} --day {run.day}"
        )


def _facts(
    tally: Tally, run: JobRun, delivery: Delivery, ledger: Ledger, log: LogDays | None
) -> dict[str, Any]:
    missing = [] if log else ledger.missing(run.day, delivery.days)
    facts = {
        "reasons": tally.reasons,
        "bootstrap": not delivery.is_log and ledger.begins_at(run.day),
        "days_touched": len(tally.days),
        "late_rows": tally.late_rows if log is None else log.late_rows,
        "rows_of_withdrawn_items": tally.of_withdrawn,
        "raw_files": list(delivery.files),
        "left_out": [f"{left.file}: {left.why}" for left in delivery.left_out[:LISTED]],
        "num_left_out": len(delivery.left_out),
        "num_files": len(delivery.files),
        "header_repeats": delivery.header_repeats,
        "missing_days": [day.isoformat() for day in missing],
    }
    return facts


def _log_facts(log: LogDays | None, beyond: Beyond | None) -> dict[str, Any]:
    """Of a log: what of it is this run's, and what later runs'."""
    found = log.facts() if log is not None else {}
    if beyond is not None:
        found |= {"rows_after": beyond.rows, "last_day": str(beyond.span[1])}
    return {"log": found} if found else {}


def _trailing(run: JobRun, before: Before) -> DataFrame | None:
    """Strength mix of the last published days before the run's: day, strength, n."""
    days = before.last(run.day, run.config.validation.trailing_days)
    if not days:
        return None
    files = run.store.files("interactions", at=before.snapshot, partitions=days)
    rows = run.read(INTERACTIONS, files)
    return rows.groupBy("day", "strength").agg(F.count(F.lit(1)).alias("n"))


JOB = Job(
    name="ingest_interactions",
    main="interactions",
    build=build,
)
