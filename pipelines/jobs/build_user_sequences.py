"""build_user_sequences: interactions × items → user_sequences, as of the end of the day.

Where lineage shows that no older day changed since the last build, the last build's rows and the
days after it are enough; otherwise all days are read. Both ways lead to the same rows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from feature_store.errors import SnapshotNotFound
from feature_store.stage import Stage
from feature_store.tables.user_sequences import USER_SEQUENCES
from pipelines.config import Sequences
from pipelines.errors import DataRefused
from pipelines.jobs.interface import Job, JobOutput, JobRun
from pipelines.transforms.sequences import SequenceBuild, SequenceFiles, buckets_for

SETTINGS = "sidereal.sequences"
"""Snapshot property with the settings that shaped the rows."""


@dataclass(frozen=True)
class Base:
    """What a build starts from: the histories of `day`, or nothing (None); and why."""

    day: date | None
    reason: str


def build(run: JobRun) -> JobOutput:
    """Histories of all users with an event before the end of the day.

    Raises:
        DataRefused: no event before the end of the day is published.
    """
    at = run.snapshot("interactions")
    published = [] if at is None else run.store.partitions("interactions", at=at)
    known = [day for day in published if isinstance(day, date) and day <= run.day]
    if not known:
        raise DataRefused(
            f"interactions hold no event up to {run.day}; run ingest_interactions for the day first"
        )
    items = run.table("items")
    base = reusable_base(run)
    days = [day for day in known if base.day is None or day > base.day]
    files = SequenceFiles(
        events=run.store.files("interactions", at=at, partitions=days) if days else [],
        histories=_files(run, base.day),
        items=run.store.files("items", at=run.snapshot("items")),
    )
    buckets = buckets_for(run.store.row_count("interactions", at=at))

    def write(stage: Stage) -> int:
        sequences = run.config.sequences
        return SequenceBuild(
            files=files,
            folder=stage.folder,
            day=run.day,
            max_events=sequences.max_events,
            minimum_strength=sequences.minimum_strength,
            buckets=buckets,
        ).run(run.spark)

    return JobOutput(
        writers={"user_sequences": write},
        replace={"user_sequences": [run.day]},
        known_items=items,
        facts={
            "built_from": "all days" if base.day is None else f"the histories of {base.day}",
            "built_from_reason": base.reason,
            "days_read": len(days),
        },
        properties={SETTINGS: _settings(run.config.sequences)},
    )


def reusable_base(run: JobRun) -> Base:
    """The newest earlier build whose rows still say the truth, by lineage; and why or why not."""
    name = "user_sequences"
    head = run.store.snapshot_id(name)
    built = [] if head is None else run.store.partitions(name, at=head)
    earlier = [day for day in built if isinstance(day, date) and day < run.day]
    if not earlier:
        return Base(None, "no earlier day was built")
    day = max(earlier)
    made = [
        info
        for info in run.store.history(name)
        if info.is_ancestor and info.day == day and info.job == JOB.name
    ]
    if not made:
        return Base(None, f"the snapshot that built {day} has expired")
    last = made[0]  # history is newest first
    if last.properties.get(SETTINGS) != _settings(run.config.sequences):
        return Base(None, f"{day} was built under other `sequences` settings")
    return _unless_changed(run, day, last.inputs)


def _unless_changed(run: JobRun, day: date, inputs: Mapping[str, Any]) -> Base:
    """The base, unless what it was built from isn't a past of what is published now."""
    try:
        before = _events_until(run, day, at=inputs["interactions"])
        items = run.store.describe("items", inputs["items"])
    except SnapshotNotFound:
        return Base(None, f"what {day} was built from has expired")
    # A data file never changes, so other events always come in other files.
    if before != _events_until(run, day, at=run.snapshot("interactions")):
        return Base(None, f"events up to {day} changed since it was built")
    if not items.is_ancestor:
        return Base(None, f"items was rolled back since {day} was built")
    return Base(day, f"no event up to {day} changed since it was built")


def _events_until(run: JobRun, day: date, *, at: int | None) -> list[str]:
    published = run.store.partitions("interactions", at=at)
    days = [each for each in published if isinstance(each, date) and each <= day]
    return run.store.files("interactions", at=at, partitions=days)


def _files(run: JobRun, day: date | None) -> list[str]:
    if day is None:
        return []
    return run.store.files("user_sequences", at=run.snapshot("user_sequences"), partitions=[day])


def _settings(sequences: Sequences) -> str:
    return json.dumps(sequences.model_dump(), sort_keys=True)


JOB = Job(name="build_user_sequences", outputs=(USER_SEQUENCES,), build=build)
