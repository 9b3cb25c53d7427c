"""What a preset makes of the first rows of a delivery, by the reader and the rules of a real run.

Nothing is published. It reads so few rows that it says nothing of the rest: whether columns and
types are as the preset thinks, what each strength rule matches, and how rows will look.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import reduce
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from feature_store.settings import Settings
from feature_store.tables import CATALOG
from pipelines.config import PipelineConfig, StrengthRule
from pipelines.errors import DataRefused
from pipelines.jobs.delivery import reason_counts
from pipelines.places import source_place
from pipelines.session import build_session
from pipelines.sources import open_source
from pipelines.sources.file_names import is_never_data
from pipelines.sources.interface import ROW, LeftOut, RawLog
from pipelines.sources.raw_files import RawFiles, readable
from pipelines.sources.raw_rows import read_rows
from pipelines.transforms.events import (
    accepted,
    is_tolerable,
    judge_events,
    refuse_unknown_items,
)
from pipelines.transforms.parsing import parse_events
from pipelines.validation.own_rules import check_own_rules

ROWS = 1000
"""Rows that are read of each log."""
SHOWN = 10
_OF_THE_DELIVERY = ("source_file", "tie_order", "delivery_day", "also_delivered")
"""Rows that are shown as they will be published."""
_DAY = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What the first rows of a delivery become.

    Args:
        day: whose delivery it is; None: a log of all days.
        days: UTC dates of the first and the last event that was read; None where none has a time.
        files: raw files of the delivery, all of them.
        left_out: what lies beside them and isn't read.
        columns: raw columns with their types, as Spark calls them.
        rows: raw rows that were read.
        matches: by strength rule its condition, strength, and the rows that it is the first for.
        reasons: rows by what speaks against them.
        published: up to ten rows of `interactions`.
        catalogue: columns and first rows of the items; None where the preset has no catalogue.
    """

    day: date | None
    days: tuple[date, date] | None
    files: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    columns: dict[str, str]
    rows: int
    matches: list[dict[str, Any]]
    reasons: dict[str, int]
    published: list[dict[str, Any]]
    catalogue: list[dict[str, Any]] | None = field(default=None)

    def refusal(self, largest_share: float) -> str | None:
        """Why so many rows would be refused; None: they would not.

        Args:
            largest_share: of the rows, as `validation.quarantine_share`.
        """
        refused = self.rows - sum(match["accepted"] for match in self.matches)
        if self.rows and is_tolerable(refused, self.rows, largest_share):
            return None
        return f"{refused:,} of the first {self.rows:,} rows would be refused"


def newest_day(config: PipelineConfig, settings: Settings) -> date | None:
    """The newest day that names of files at the preset's source have; None where none has one.

    Looks at local folders only: an address of elsewhere needs a day.
    """
    place = source_place(config, settings)
    if place is None or not place.is_dir():
        return None
    names = (entry.name for entry in place.rglob("*") if not is_never_data(entry.name))
    named = (match[0] for name in names for match in _DAY.finditer(name))
    return max((day for text in named if (day := _day(text))), default=None)


def preview(config: PipelineConfig, settings: Settings, day: date) -> Preview:
    """Read the first rows of a day's delivery and transform them as a run would.

    Raises:
        DataRefused: the delivery can't be read as the preset says.
        DeliveryUnreadable: it isn't there, or a file is broken.
        PresetError: a rule can't be evaluated on the columns that there are.
    """
    spark = build_session(settings, name="sidereal presets check")
    check_own_rules(spark, list(CATALOG.values()), config.validation)
    with readable():
        source = open_source(spark, config, settings)
        logs = source.logs(day, bootstrap=False)
        catalogue = source.catalogue(day) if source.has_catalogue else None
        items = catalogue.rows if catalogue is not None else None
        return _preview(spark, config, settings, day, logs, items)


def _preview(
    spark: SparkSession,
    config: PipelineConfig,
    settings: Settings,
    day: date,
    logs: Sequence[RawLog],
    items: DataFrame | None,
) -> Preview:
    log = logs[-1]
    files = RawFiles(spark, settings.data_path)
    rows = read_rows(spark, files, log).frame.limit(ROWS).cache()
    try:
        events = _judged(rows, log, config, items).cache()
        found = events.groupBy("reasons").agg(F.count(F.lit(1)).alias("rows")).collect()
        counts = [(list(group["reasons"]), int(group["rows"])) for group in found]
        if not counts:
            raise DataRefused(f"no rows for {day} in {', '.join(log.files)}")
        shown = _told(accepted(events).drop(*_OF_THE_DELIVERY)).limit(SHOWN).collect()
        time = F.to_date("event_time")
        span = events.agg(F.min(time).alias("first"), F.max(time).alias("last")).first()
        return Preview(
            day=None if log.holds == "dump" else day,
            days=(span["first"], span["last"]) if span and span["first"] else None,
            files=tuple(file for each in logs for file in each.files),
            left_out=tuple(dict.fromkeys(each for log in logs for each in log.left_out)),
            columns={
                name: kind.simpleString()
                for name, kind in ((f.name, f.dataType) for f in rows.schema.fields)
                if name != ROW
            },
            rows=sum(count for _, count in counts),
            matches=_matches(rows, log, config, items),
            reasons=reason_counts([each for each in counts if each[0]]),
            published=[row.asDict(recursive=True) for row in shown],
            catalogue=_first(items),
        )
    finally:
        rows.unpersist()


def _judged(
    rows: DataFrame,
    log: RawLog,
    config: PipelineConfig,
    items: DataFrame | None,
    rules: Sequence[StrengthRule] | None = None,
) -> DataFrame:
    events = parse_events(rows, log.columns, rules or config.source.strength)
    events = judge_events(events, earliest=config.validation.earliest_event)
    if items is not None and config.items.unknown_items == "quarantine":
        listed = items.withColumn("last_listed_day", F.lit(None).cast("date"))
        events = refuse_unknown_items(events, listed)
    return events


def _matches(
    rows: DataFrame, log: RawLog, config: PipelineConfig, items: DataFrame | None
) -> list[dict[str, Any]]:
    """By rule, the rows that it decides: those that meet it and no earlier one."""
    rules = config.source.strength
    parts = []
    for place in range(len(rules)):
        # Each rule in turn gets a strength that no other has, so that its rows can be told.
        marked = [
            rule.model_copy(update={"strength": int(each == place)})
            for each, rule in enumerate(rules)
        ]
        events = _judged(rows, log, config, items, marked).where("strength = 1")
        good = F.count_if(F.size("reasons") == 0)
        parts.append(
            events.agg(F.count(F.lit(1)).alias("rows"), good.alias("accepted")).withColumn(
                "place", F.lit(place)
            )
        )
    counted = {row["place"]: row for row in reduce(DataFrame.unionByName, parts).collect()}
    return [
        {
            "when": rule.when,
            "strength": rule.strength,
            "rows": int(counted[place]["rows"]),
            "accepted": int(counted[place]["accepted"]),
        }
        for place, rule in enumerate(rules)
    ]


def _told(rows: DataFrame) -> DataFrame:
    """The rows with times as text: UTC, where Python would give the machine's own zone."""
    kinds = {field.name: field.dataType.simpleString() for field in rows.schema.fields}
    return rows.select(
        *(F.col(n).cast("string").alias(n) if k == "timestamp" else n for n, k in kinds.items())
    )


def _first(items: DataFrame | None) -> list[dict[str, Any]] | None:
    if items is None:
        return None
    return [row.asDict(recursive=True) for row in items.limit(3).collect()]


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
