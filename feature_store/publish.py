"""Stage → check → one commit, with a clear answer when two runs publish at once.

A publish replaces whole partitions. It is optimistic: the files of the partitions are compared
between the snapshot that the job started from and the table's head. Where another run touched
only other partitions, the commit is made again on the new head; where it touched the same ones,
the two runs may have read different things, so the second is refused and must run again.
Content that is already there needs no commit, whoever put it there.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.table import Table
from pyiceberg.table.update.snapshot import ManageSnapshots

from feature_store.content_hash import Digest
from feature_store.errors import CommitConflict, ContractViolation
from feature_store.iceberg import (
    CommitLost,
    Warehouse,
    commit_files,
    iceberg_files,
    partition_of,
    plain_file,
)
from feature_store.snapshot import (
    CODE_REVISION,
    CONTENT_HASH,
    DAY,
    INPUTS,
    JOB,
    ROWS,
    PartitionValue,
    Published,
)
from feature_store.stage import CheckedFile, Stage, check, write_digests
from feature_store.version import Version, resolve

FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Publication:
    """One publish: what is staged, what it replaces, what it records."""

    stage: Stage
    checked: list[CheckedFile]
    replace: list[PartitionValue] | None
    inputs: Mapping[str, Any]
    properties: Mapping[str, str]

    @property
    def digests(self) -> dict[PartitionValue | None, Digest]:
        """Digest of the staged rows by partition."""
        totals: dict[PartitionValue | None, Digest] = {}
        for item in self.checked:
            key = item.file.partition
            totals[key] = totals.get(key, Digest()) + item.digest
        return totals

    @property
    def base(self) -> int | None:
        """The snapshot of the table that the job read, or that stood when it began."""
        read = self.inputs.get(self.stage.table)
        return read if isinstance(read, int) else self.stage.base

    def replaces(self, value: PartitionValue | None) -> bool:
        """Whether a partition of the table is replaced as a whole."""
        return self.replace is None or value in self.replace

    def published(self, snapshot_id: int, *, changed: bool) -> Published:
        """What the caller is told."""
        total = sum(self.digests.values(), Digest())
        return Published(
            snapshot_id=snapshot_id,
            rows=total.rows,
            content_hash=str(total),
            changed=changed,
            partitions=list(self.replace or []),
        )


def prepare(
    stage: Stage,
    replace: Sequence[PartitionValue] | None,
    inputs: Mapping[str, Any],
    properties: Mapping[str, str],
) -> Publication:
    """Check what is staged and leave its digests beside it.

    Raises:
        ContractViolation: the staged files don't keep the contract, or a table without
            partitions is told to replace some.
    """
    if replace is not None and stage.contract.partition is None:
        raise ContractViolation(
            stage.table,
            [f"has no partitions, but replace={list(map(str, replace))} names some; leave it out"],
        )
    checked = check(stage, replace)
    if checked:
        write_digests(stage, checked)
    if stage.contract.partition is not None:
        found = {item.file.partition for item in checked}
        replace = sorted(value for value in {*found, *(replace or ())} if value is not None)
    return Publication(stage, checked, replace, inputs, properties)  # type: ignore[arg-type]


def publish(
    warehouse: Warehouse, publication: Publication, *, revision: str, patience_seconds: float
) -> Published:
    """Commit the publication on the table's head, again as long as others commit first.

    Raises:
        CommitConflict: another run changed the same partitions, or commits never got through
            within `patience_seconds`.
        CatalogLocked: the catalog stayed locked.
        StorageUnavailable: the warehouse or the catalog can't be written.
    """
    stage = publication.stage
    started = time.perf_counter()
    pause = FIRST_PAUSE_SECONDS
    while True:
        table = warehouse.create(stage.contract)
        head = resolve(stage.contract, table, None)
        old = [
            file
            for file in iceberg_files(table, head.snapshot)
            if publication.replaces(partition_of(file, stage.contract))
        ]
        try:
            if head.snapshot is not None and _is_unchanged(publication, head, old):
                _tag_day(warehouse, table, stage.day, head.snapshot.snapshot_id)
                stage.folder.delete()
                return publication.published(head.snapshot.snapshot_id, changed=False)
            _refuse_conflict(publication, table, head, old)
            snapshot_id = _commit(warehouse, publication, head, old, revision)
            return publication.published(snapshot_id, changed=True)
        except CommitLost as error:
            if time.perf_counter() - started > patience_seconds:
                raise CommitConflict(
                    f"table {stage.table!r}: other runs kept committing first for "
                    f"{patience_seconds:g} s; nothing was committed. Run the job again"
                ) from error
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _is_unchanged(publication: Publication, head: Version, old: list[IcebergFile]) -> bool:
    plain = [plain_file(file, head.contract) for file in old]
    # The row counts decide most cases without opening anything.
    if sum(file.rows for file in plain) != sum(item.file.rows for item in publication.checked):
        return False
    return head.digests(plain) == publication.digests


def _tag_day(warehouse: Warehouse, table: Table, day: date, snapshot_id: int) -> None:
    """Let a day whose rows were there already be found under its name."""
    if day.isoformat() in table.refs():
        return
    with warehouse.transaction(table) as transaction:
        ManageSnapshots(transaction).create_tag(snapshot_id, day.isoformat()).commit()


def _refuse_conflict(
    publication: Publication, table: Table, head: Version, old: list[IcebergFile]
) -> None:
    base, stage = publication.base, publication.stage
    head_id = head.snapshot.snapshot_id if head.snapshot else None
    if base == head_id:
        return
    snapshot = table.snapshot_by_id(base) if base is not None else None
    if base is None or snapshot is not None:
        before = {
            file.file_path
            for file in iceberg_files(table, snapshot)
            if publication.replaces(partition_of(file, stage.contract))
        }
        if before == {file.file_path for file in old}:
            return
    which = ", ".join(map(str, publication.replace or [])) or "the whole table"
    raise CommitConflict(
        f"table {stage.table!r}: another run changed {which} since {stage.job} started "
        f"(snapshot {base} then, {head_id} now); nothing was committed. Run {stage.job} for "
        f"{stage.day} again, so that it reads what the other run wrote"
    )


def _commit(
    warehouse: Warehouse,
    publication: Publication,
    head: Version,
    old: list[IcebergFile],
    revision: str,
) -> int:
    stage = publication.stage
    removed = sum(
        head.digests([plain_file(file, stage.contract) for file in old]).values(), Digest()
    )
    total = head.digest() - removed + sum(publication.digests.values(), Digest())
    properties = {
        **publication.properties,
        DAY: stage.day.isoformat(),
        JOB: stage.job,
        CODE_REVISION: revision,
        INPUTS: json.dumps(publication.inputs, sort_keys=True, default=str),
        CONTENT_HASH: str(total),
        ROWS: str(total.rows),
    }
    with warehouse.transaction(head.table) as transaction:
        return commit_files(
            transaction,
            head.table,
            removed=old,
            added=[item.file for item in publication.checked],
            properties=properties,
            tag=stage.day.isoformat(),
        )
