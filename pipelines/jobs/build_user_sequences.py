"""build_user_sequences: interactions × items → user_sequences, as of the end of the day.

Where lineage shows which of the last days changed since the last build, its rows of before those
days and the days from there on are enough: a log that is cut at local midnight adds to yesterday
(UTC) every night. Otherwise all days are read. Both ways lead to the same rows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from feature_store.errors import SnapshotNotFound
from feature_store.stage import Stage
from feature_store.steps import run_first
from pipelines.config import Sequences
from pipelines.errors import DataRefused
from pipelines.jobs.interface import Job, JobOutput, JobRun
from pipelines.transforms.histories import HistoriesTooShort
from pipelines.transforms.sequences import SequenceBuild, SequenceFiles, buckets_for

SETTINGS = "sidereal.sequences"
"""Snapshot property with the settings that shaped the rows."""


REACH = timedelta(days=7)
"""How far back changed days may lie for a build to start from the last one's rows."""


@dataclass(frozen=True)
class Base:
    """What a build starts from.

    Args:
        day: the histories of this day; None: nothing, all days are read.
        reason: why.
        before: of the histories only the events before this day; None: all of them.
    """

    day: date | None
    reason: str
    before: date | None = None

    @property
    def reads_from(self) -> date:
        """The first day whose events are read."""
        if self.day is None:
            return date.min
        return self.before or self.day + timedelta(days=1)

    def facts(self, days_read: int) -> dict[str, Any]:
        """For the run record."""
        start = "all days" if self.day is None else f"the histories of {self.day}"
        if self.before is not None:
            start += f" before {self.before}"
        return {
            "built_from": start, "built_from_reason": self.reason, "days_read": days_read
        }  # fmt: skip


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
            f"interactions hold no event up to {run.day}; {run_first('interactions')}"
        )
    items = run.table("items")
    buckets = buckets_for(run.store.row_count("interactions", at=at))
    used: list[Base] = []

    def days(base: Base) -> list[date]:
        return [day for day in known if day >= base.reads_from]

    def write(stage: Stage) -> int:
        for base in (reusable_base(run), None):
            used.append(base or Base(None, "the last histories were cut too short to be added to"))
            read, sequences = days(used[-1]), run.config.sequences
            files = SequenceFiles(
                events=run.store.files("interactions", at=at, partitions=read) if read else [],
                histories=_files(run, used[-1].day),
                histories_before=used[-1].before,
                items=run.store.files("items", at=run.snapshot("items")),
            )
            built = SequenceBuild(
                files=files,
                folder=stage.folder,
                day=run.day,
                max_events=sequences.max_events,
                minimum_strength=sequences.minimum_strength,
                buckets=buckets,
            )
            try:
                return built.run(run.spark)
            except HistoriesTooShort:
                if base is None:
                    raise
        raise AssertionError("the last build reads all days and can't be short")

    return JobOutput(
        writers={"user_sequences": write},
        replace={"user_sequences": [run.day]},
        known_items=items,
        account=lambda rows: used[-1].facts(len(days(used[-1]))),
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
    changed = None
    # A data file never changes, so other events always come in other files.
    if before != _events_until(run, day, at=run.snapshot("interactions")):
        changed = _first_changed(run, day, inputs["interactions"])
        if changed is None:
            return Base(None, f"events of more than a week before {day} changed since it was built")
    if not items.is_ancestor:
        return Base(None, f"items was rolled back since {day} was built")
    if changed is not None:
        return Base(day, f"events from {changed} on changed since {day} was built", changed)
    return Base(day, f"no event up to {day} changed since it was built")


def _first_changed(run: JobRun, day: date, then: int) -> date | None:
    """The first day up to `day` with other files now than then; None where it is too long ago."""
    now = run.snapshot("interactions")
    oldest = day - REACH
    if _events_until(run, oldest, at=then) != _events_until(run, oldest, at=now):
        return None
    recent = [oldest + timedelta(days=number + 1) for number in range(REACH.days)]
    return next(
        each
        for each in recent
        if run.store.files("interactions", at=then, partitions=[each])
        != run.store.files("interactions", at=now, partitions=[each])
    )


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


JOB = Job(name="build_user_sequences", build=build)
