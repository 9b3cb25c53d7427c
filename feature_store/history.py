"""A table's versions over time: list them, compare two, go back to one."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import date

import numpy as np

from feature_store.commit import until_committed
from feature_store.content_hash import Digest, Hashes, row_hashes
from feature_store.iceberg.catalog import Warehouse
from feature_store.iceberg.snapshots import (
    Snapshot,
    Table,
    ancestry,
    committed_at,
    day_tags,
    remove_tag,
    set_head,
    set_properties,
    set_tag,
    summary_of,
)
from feature_store.snapshot import (
    CODE_REVISION,
    CONTENT_HASH,
    DAY,
    INPUTS,
    JOB,
    ROWS,
    PartitionChange,
    PartitionValue,
    Rollback,
    SnapshotInfo,
    TableDiff,
    day_or_none,
)
from feature_store.version import Version, resolve

ROLLBACKS = "sidereal.rollbacks"
_OURS = {DAY, JOB, CODE_REVISION, INPUTS, CONTENT_HASH, ROWS}


def describe(version: Version) -> SnapshotInfo:
    """Facts about a version that has a snapshot."""
    assert version.snapshot is not None, "a version that was found has a snapshot"
    return next(_describe_all(version, [version.snapshot]))


def history(head: Version) -> list[SnapshotInfo]:
    """Every snapshot that has not expired, newest first, those set aside included."""
    snapshots = sorted(head.table.snapshots(), key=lambda s: s.sequence_number or 0, reverse=True)
    return list(_describe_all(head, snapshots))


def _describe_all(version: Version, snapshots: Iterable[Snapshot]) -> Iterator[SnapshotInfo]:
    table = version.table
    head = [s.snapshot_id for s in ancestry(table, table.current_snapshot())]
    tags: dict[int, list[str]] = {}
    for name, reference in table.refs().items():
        if name != "main":
            tags.setdefault(reference.snapshot_id, []).append(name)
    for snapshot in snapshots:
        yield _describe(version.contract.name, snapshot, head, tags)


def _describe(
    table: str, snapshot: Snapshot, head: list[int], tags: Mapping[int, list[str]]
) -> SnapshotInfo:
    recorded = summary_of(snapshot)
    return SnapshotInfo(
        table=table,
        snapshot_id=snapshot.snapshot_id,
        parent_id=snapshot.parent_snapshot_id,
        committed_at=committed_at(snapshot),
        operation=snapshot.summary.operation.value if snapshot.summary else "",
        day=day_or_none(recorded.get(DAY, "")),
        job=recorded.get(JOB, ""),
        code_revision=recorded.get(CODE_REVISION, ""),
        rows=int(recorded.get(ROWS, recorded.get("total-records", 0))),
        content_hash=recorded.get(CONTENT_HASH, ""),
        inputs=json.loads(recorded.get(INPUTS, "{}")),
        tags=tuple(sorted(tags.get(snapshot.snapshot_id, ()))),
        is_current=snapshot.snapshot_id == head[0],
        is_ancestor=snapshot.snapshot_id in head,
        properties={key: value for key, value in recorded.items() if key not in _OURS},
    )


def rollbacks(table: Table) -> list[Rollback]:
    """Every move of the head that `rollback` made, oldest first."""
    return [Rollback(**move) for move in json.loads(table.properties.get(ROLLBACKS, "[]"))]


def diff(before: Version, after: Version) -> TableDiff:
    """What changed between two versions of a table, by partition, rows compared as multisets.

    Only partitions whose digests differ are read; memory is eight bytes per row of one of them.
    """
    changes, unchanged = [], 0
    hashes_before = before.digests(before.files())
    hashes_after = after.digests(after.files())
    for partition in sorted({*hashes_before, *hashes_after}, key=str):
        old = hashes_before.get(partition, Digest())
        new = hashes_after.get(partition, Digest())
        if old == new:
            unchanged += 1
        else:
            changes.append(_partition_change(before, after, partition, old, new))
    return TableDiff(
        table=before.contract.name,
        before=_id(before),
        after=_id(after),
        partitions=tuple(changes),
        partitions_unchanged=unchanged,
    )


def _partition_change(
    before: Version, after: Version, partition: PartitionValue | None, old: Digest, new: Digest
) -> PartitionChange:
    only = None if partition is None else [partition]
    files_before = {file.uri for file in before.files(only)}
    files_after = {file.uri for file in after.files(only)}
    removed, added = _multiset_difference(_all_hashes(before, only), _all_hashes(after, only))
    return PartitionChange(
        partition=partition,
        rows_before=old.rows,
        rows_after=new.rows,
        rows_added=added,
        rows_removed=removed,
        files_added=len(files_after - files_before),
        files_removed=len(files_before - files_after),
        hash_before=str(old),
        hash_after=str(new),
    )


def _all_hashes(version: Version, only: list[PartitionValue] | None) -> Hashes:
    parts: Iterator[Hashes] = (row_hashes(batch) for batch in version.scan(only, None))
    return np.concatenate([np.zeros(0, np.uint64), *parts])


def _multiset_difference(before: Hashes, after: Hashes) -> tuple[int, int]:
    """How many rows only `before` has, and how many only `after` has."""
    values, places = np.unique(np.concatenate([before, after]), return_inverse=True)
    surplus = np.bincount(places[len(before) :], minlength=len(values)) - np.bincount(
        places[: len(before)], minlength=len(values)
    )
    return int(-surplus[surplus < 0].sum()), int(surplus[surplus > 0].sum())


def rollback(
    warehouse: Warehouse,
    head: Version,
    snapshot_id: int,
    reason: str,
    *,
    revision: str,
    patience_seconds: float,
) -> Rollback:
    """Let readers see an older snapshot again, and record why.

    The snapshots after it are set aside, not deleted: rolling back to one of them brings it
    back, until maintenance expires it. Days are found in what the new head grew out of: a tag of
    a snapshot that is set aside moves to that day's newest snapshot before it, or goes.

    Raises:
        ValueError: no reason is given.
        SnapshotNotFound: the table has no such snapshot.
        CommitConflict: other runs kept committing first.
    """
    if not reason.strip():
        raise ValueError("a rollback needs a reason; say what was wrong with the snapshot")

    def attempt() -> Rollback:
        table = warehouse.load(head.contract.name) or head.table
        now = resolve(head.contract, table, None)
        target = resolve(head.contract, table, snapshot_id).snapshot
        move = Rollback(
            before=_id(now), after=snapshot_id, reason=reason.strip(), code_revision=revision
        )
        if move.before == move.after:
            return move
        moves = [asdict(past) for past in rollbacks(table)] + [asdict(move)]
        wanted, there = _tags_of(table, target), day_tags(table)
        warehouse.commit(
            table,
            set_head(snapshot_id),
            *(remove_tag(day) for day in there.keys() - wanted.keys()),
            *(set_tag(day, tagged) for day, tagged in wanted.items() if there.get(day) != tagged),
            set_properties({ROLLBACKS: json.dumps(moves)}),
        )
        return move

    return until_committed(attempt, table=head.contract.name, patience_seconds=patience_seconds)


def _tags_of(table: Table, head: Snapshot | None) -> dict[date, int]:
    """Where each day's tag belongs when `head` is what readers see."""
    line = ancestry(table, head)
    ids = {snapshot.snapshot_id for snapshot in line}
    tags = {}
    for snapshot in reversed(line):
        day = day_or_none(summary_of(snapshot).get(DAY, ""))
        if day is not None:
            tags[day] = snapshot.snapshot_id
    return tags | {day: tagged for day, tagged in day_tags(table).items() if tagged in ids}


def _id(version: Version) -> int:
    return version.snapshot.snapshot_id if version.snapshot else 0
