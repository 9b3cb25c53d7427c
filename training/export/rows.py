"""What an export reads, and what it did."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from feature_store.settings import Settings
from feature_store.store import FeatureStore

TABLE = "recommendations"


class ExportError(Exception):
    """An export that could not be done; an earlier one is as it was."""


@dataclass(frozen=True)
class Rows:
    """The rows to export: one day's, of one version of the table.

    Attributes:
        store: where they are.
        preset: whose they are.
        day: the partition.
        snapshot_id: of the version.
        content_hash: of the day's rows.
        users: how many rows there are.
    """

    store: FeatureStore
    preset: str
    day: date
    snapshot_id: int
    content_hash: str
    users: int

    @property
    def version(self) -> str:
        """Day and content, as in `2026-03-01-0f3a9c2b71de`."""
        return f"{self.day}-{self.content_hash[:12]}"

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Record batches of the table, in bounded memory; in the same order at every call."""
        yield from self.store.scan(TABLE, at=self.snapshot_id, partition=self.day)


@dataclass(frozen=True)
class Exported:
    """What an export did.

    Attributes:
        status: `done`, or `unchanged` where the same was there already.
        target: where it is, without a password.
        users: users whose lists are there.
        written: users written by this run; fewer where an interrupted one had begun.
    """

    status: str
    target: str
    users: int
    written: int


def rows_of(settings: Settings, preset: str, day: date | None) -> Rows:
    """A day's recommendations, as the table has them now.

    Args:
        settings: where the tables are.
        preset: its name.
        day: the partition; None: the latest.
    Raises:
        ExportError: the day has none, and names the days that have; or no day has.
    """
    store = FeatureStore.open(settings, preset)
    snapshot_id = store.snapshot_id(TABLE)
    days = [found for found in store.partitions(TABLE) if isinstance(found, date)]
    if snapshot_id is None or not days:
        dated = f" --days {day}" if day else ""
        raise ExportError(
            f"preset {preset!r} has no recommendations yet. Run "
            f"`sidereal run --preset {preset}{dated}`"
        )
    day = day or days[-1]
    if day not in days:
        raise ExportError(
            f"preset {preset!r} has no recommendations of {day}; there are those of {days[0]} to "
            f"{days[-1]}. Run `sidereal run --preset {preset} --days {day}`"
        )
    users = store.row_count(TABLE, partition=day)
    content = store.content_hash(TABLE, partition=day)
    return Rows(store, preset, day, snapshot_id, str(content), users)
