"""build_impressions: user_sequences × users × items → feature_vocabularies and impressions.

Days before that have events and no impressions yet are built with the day, and so is, once more,
the last day that has some: a log that is cut at midnight brings the end of a day a night later.
Where `impressions` of the preset says something else than when the table was built, all of its days
are built anew.
"""

import json
from datetime import date
from typing import Any

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from feature_store.features import Feature, features, vocabularies
from feature_store.stage import Stage
from feature_store.steps import run_first
from feature_store.tables.feature_vocabularies import FEATURE_VOCABULARIES
from feature_store.tables.impressions import IMPRESSIONS
from pipelines.config import PipelineConfig
from pipelines.errors import DataRefused
from pipelines.files import write_staged
from pipelines.jobs.interface import Counts, Job, JobOutput, JobRun
from pipelines.jobs.missing_days import missing_days, spread_over_files
from pipelines.transforms.feature_vocabularies import bin_bounds, extend_vocabularies, met
from pipelines.transforms.impression_audit import Beside, audit, refusal
from pipelines.transforms.impressions import Coding, coded, shift_seconds
from pipelines.transforms.listed_items import TableFiles

SETTINGS = "sidereal.impressions"
"""Snapshot property: what the codes are, as JSON: `fields` in their order, and how events count."""


def build(run: JobRun) -> JobOutput:
    """Impressions of the day, and of days before that were never built, or built otherwise.

    Raises:
        DataRefused: the day has no histories, or no event was ever published.
    """
    if not run.store.row_count(
        "user_sequences", at=run.snapshot("user_sequences"), partition=run.day
    ):
        raise DataRefused(
            f"user_sequences hold no history of {run.day}; {run_first('user_sequences')}"
        )
    settings = settings_of(run.config)
    is_anew = _built_with(run) not in (None, settings)
    days = _days(run, is_anew)
    made = _Made(run, days)
    counted = Observation()

    def write(stage: Stage) -> int:
        rows = made.impressions().observe(counted, *_counts(made.fields))
        rows = spread_over_files(run, rows, of="interactions")
        return write_staged(rows, IMPRESSIONS, stage.directory, num_partitions=len(days) or None)

    def account(staged: Counts) -> dict[str, Any]:
        unknown = {name: int(count or 0) for name, count in counted.get.items()}
        return {"unknown": unknown, "codes": staged["feature_vocabularies"]}

    return JobOutput(
        writers={"feature_vocabularies": made.write_vocabularies, "impressions": write},
        replace={"impressions": [*days, *(_others(run, days) if is_anew else ())]},
        audits={"impressions": lambda staged: refusal(audit(staged, made.beside()))},
        known_items=run.table("items"),
        facts={"days_built": len(days), "built_anew": is_anew},
        account=account,
        properties={SETTINGS: settings},
    )


def settings_of(config: PipelineConfig) -> str:
    """What the codes of rows are, for whoever reads them."""
    said = config.impressions
    return json.dumps(
        {
            "fields": [each.name for each in features(said.fields)],
            "since": None if said.since is None else said.since.isoformat(),
            "history_events": said.history_events,
            "engaged_strength": said.engaged_strength,
            "utc_offset_hours": config.slates.utc_offset_hours,
        }
    )


class _Made:
    """The rows of a run, made from the same tables wherever they are asked for."""

    def __init__(self, run: JobRun, days: list[date]) -> None:
        self.run, self.days = run, days
        self.config, self.offset = run.config.impressions, run.config.slates.utc_offset_hours
        self.fields = features(self.config.fields)
        self.sequences = run.table("user_sequences", partitions=[run.day])
        self.items, self.users = run.table("items"), run.table("users")
        self.known = run.table("feature_vocabularies")
        self._vocabularies: TableFiles | None = None

    def write_vocabularies(self, stage: Stage) -> int:
        """The vocabularies with what was met by the day."""
        needed = vocabularies(self.fields)
        tables = {"items": self.items, "users": self.users}
        bins = [each for each in needed if each.kind == "bin"]
        rows = extend_vocabularies(
            self.known,
            [each for each in needed if each.kind == "value"],
            met(self.sequences, shift_seconds(self.offset)),
            **tables,
            bounds=bin_bounds(self.known, bins, **tables),
            start=self.days[0] if self.days else self.run.day,
        )
        written = write_staged(
            rows.repartitionByRange("field", "code"), FEATURE_VOCABULARIES, stage.directory
        )
        self._vocabularies = TableFiles(stage.folder, tuple(stage.files()))
        return written

    def impressions(self) -> DataFrame:
        """Rows of the days, with the codes of the vocabularies as staged."""
        if not self.days or self._vocabularies is None:
            return self.run.read(IMPRESSIONS, [])
        items = self.run.store.files("items", at=self.run.snapshot("items"))
        coding = Coding(
            config=self.config,
            utc_offset_hours=self.offset,
            days=(self.days[0], self.days[-1]),
            vocabularies=self._vocabularies,
            items=TableFiles(self.run.store.folder("items"), tuple(items)),
        )
        codes = self.run.read(FEATURE_VOCABULARIES, self._vocabularies.uris)
        user_ids = codes.where(F.col("field") == "user_id")
        return coded(self.sequences, self.users, user_ids, coding)

    def beside(self) -> Beside:
        """What the audit looks at: the vocabularies are published by then."""
        files = self.run.store.files("feature_vocabularies")
        return Beside(
            fields=self.fields,
            config=self.config,
            utc_offset_hours=self.offset,
            sequences=self.sequences,
            items=self.items,
            users=self.users,
            vocabularies=self.run.read(FEATURE_VOCABULARIES, files),
        )


def _built_with(run: JobRun) -> str | None:
    """What the codes of the published rows are; None where there are none."""
    if run.store.snapshot_id("impressions") is None:
        return None
    return run.store.describe("impressions").properties.get(SETTINGS, "")


def _days(run: JobRun, is_anew: bool) -> list[date]:
    days = missing_days(run, of="interactions", built="impressions", anew=is_anew)
    if not is_anew:
        days = [*_built(run, before=days[0])[-1:], *days]
    since = run.config.impressions.since
    return [day for day in days if since is None or day >= since]


def _others(run: JobRun, days: list[date]) -> list[date]:
    """Days of codes that mean something else: those after the run's are built by their own runs."""
    return [day for day in _built(run, before=date.max) if day not in days]


def _built(run: JobRun, *, before: date) -> list[date]:
    built = run.store.partitions("impressions")
    return [day for day in built if isinstance(day, date) and day < before]


def _counts(fields: tuple[Feature, ...]) -> list[Column]:
    """Impressions whose value of a field isn't known, by field."""
    places: dict[str, int] = {}
    counts = []
    for each in fields:
        place = places.get(each.group, 0)
        places[each.group] = place + 1
        if each.kind in ("value", "bin"):
            code = F.get(f"{each.group}_codes", F.lit(place))
            counts.append(F.count_if(code == 0).alias(each.name))
    return counts or [F.count(F.lit(1)).alias("impressions")]


JOB = Job(name="build_impressions", build=build)
