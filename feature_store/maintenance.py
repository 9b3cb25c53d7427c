"""Keeping a table small: expire old snapshots, delete files that nothing leads to.

Nothing here reads a clock. A snapshot's age is counted in days of data, from the newest day of
the table; a file is an orphan once it is older than the newest commit by a grace period, so that
a stage that is being written is left alone.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from feature_store.commit import until_committed
from feature_store.errors import TableDamaged
from feature_store.iceberg.catalog import Warehouse, folder_of
from feature_store.iceberg.snapshots import (
    Table,
    ancestry,
    committed_at,
    day_tags,
    expire,
    referenced_files,
    summary_of,
)
from feature_store.snapshot import DAY, Maintenance, day_or_none
from feature_store.stage import DIGESTS, stage_of
from feature_store.storage import Folder, StoredFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What is kept.

    Args:
        keep_days: days of data, back from `as_of`, whose snapshots stay.
        keep_snapshots: so many of the newest snapshots stay whatever their day; at least 1.
        keep: days whose snapshots stay for good.
        as_of: the day to count back from; None: the newest day of each table.
        orphans_before: files modified before it may be orphans; None: the newest commit of the
            table less `grace`.
        grace: how long a stage may take from its first file to its commit.

    Raises:
        ValueError: keep_days is below 0 or keep_snapshots below 1.
    """

    keep_days: int = 90
    keep_snapshots: int = 10
    keep: Collection[date] = ()
    as_of: date | None = None
    orphans_before: datetime | None = None
    grace: timedelta = timedelta(days=1)

    def __post_init__(self) -> None:
        if self.keep_days < 0 or self.keep_snapshots < 1:
            raise ValueError(
                f"keep_days={self.keep_days}, keep_snapshots={self.keep_snapshots}; expected at "
                "least 0 days and at least 1 snapshot"
            )


def maintain(
    warehouse: Warehouse, name: str, retention: Retention, *, patience_seconds: float
) -> Maintenance:
    """Expire snapshots of a table, then delete files that no snapshot leads to.

    The head, and snapshots that the retention keeps, stay readable. Tags of days whose snapshot
    expires go with it.

    Raises:
        TableDamaged: a file that a snapshot needs is gone; nothing is deleted.
        CommitConflict: other runs kept committing first.
    """

    def attempt() -> tuple[list[int], list[date]]:
        table = warehouse.load(name)
        if table is None:
            return [], []
        kept = _kept(table, retention)
        doomed = sorted(s.snapshot_id for s in table.snapshots() if s.snapshot_id not in kept)
        days = [day for day, tagged in day_tags(table).items() if tagged not in kept]
        if doomed:
            warehouse.commit(table, expire(doomed))
        return doomed, days

    doomed, days = until_committed(attempt, table=name, patience_seconds=patience_seconds)
    table = warehouse.load(name)
    orphans = find_orphans(table, retention) if table else []
    if table is not None:
        _delete(folder_of(table), orphans)
    return Maintenance(
        table=name,
        snapshots_expired=tuple(doomed),
        tags_removed=tuple(day.isoformat() for day in days),
        snapshots_kept=len(table.snapshots()) if table else 0,
        files_deleted=len(orphans),
        bytes_deleted=sum(file.bytes for file in orphans),
    )


def _kept(table: Table, retention: Retention) -> set[int]:
    """Ids of snapshots that stay."""
    days = {s.snapshot_id: day_or_none(summary_of(s).get(DAY, "")) for s in table.snapshots()}
    known = [day for day in days.values() if day is not None]
    newest = retention.as_of or max(known, default=None)
    kept = {ref.snapshot_id for name, ref in table.refs().items() if day_or_none(name) is None}
    line = ancestry(table, table.current_snapshot())
    kept |= {snapshot.snapshot_id for snapshot in line[: retention.keep_snapshots]}
    kept |= {tagged for day, tagged in day_tags(table).items() if day in retention.keep}
    if newest is not None:
        first = newest - timedelta(days=retention.keep_days)
        kept |= {snapshot_id for snapshot_id, day in days.items() if day and day > first}
    return kept


def find_orphans(table: Table, retention: Retention) -> list[StoredFile]:
    """Files below the table that nothing leads to and that no running stage may still need.

    Raises:
        TableDamaged: a file that a snapshot needs isn't there.
    """
    folder, needed = folder_of(table), set(referenced_files(table))
    there = {file.uri: file for file in folder.files()}
    # Old metadata files go with every commit, so that one that is gone means nothing.
    missing = sorted(
        uri
        for uri in needed - there.keys()
        if uri.startswith(folder.uri) and not uri.endswith(".metadata.json")
    )
    if missing:
        raise TableDamaged(
            f"{len(missing)} file(s) of live snapshots are gone, for example {missing[0]}; nothing "
            "was deleted. Restore them, or roll back to a snapshot that has all its files"
        )
    before = retention.orphans_before
    if before is None:
        commits = [committed_at(snapshot) for snapshot in table.snapshots()]
        if not commits:
            return []
        before = max(commits) - retention.grace
    stages = {stage_of(uri) for uri in needed}
    return [
        file
        for uri, file in there.items()
        if uri not in needed
        and file.modified < before
        and not (uri.endswith(f"/{DIGESTS}") and stage_of(uri) in stages)
    ]


def _delete(folder: Folder, orphans: Sequence[StoredFile]) -> None:
    """Remove files; a stage that has nothing else goes as a whole, with its empty folders."""
    doomed = {file.uri for file in orphans}
    alive = {stage_of(file.uri) for file in folder.files() if file.uri not in doomed}
    for stage in sorted({stage for uri in doomed if (stage := stage_of(uri))} - alive):
        folder.below(stage).delete()
    for uri in sorted(doomed):
        if stage_of(uri) is None or stage_of(uri) in alive:
            folder.delete_file(uri)
