"""Stage → check → one commit, with a clear answer when two runs publish at once.

A publish replaces whole partitions. It is optimistic: the files of the partitions are compared
between the snapshot that the job started from and the table's head. Where another run touched
only other partitions, the commit is made again on the new head; where it touched the same ones,
the two runs may have read different things, so the second is refused and must run again.
Content that is already there needs no commit, whoever put it there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from feature_store.commit import until_committed
from feature_store.content_hash import Digest
from feature_store.errors import CommitConflict
from feature_store.iceberg.catalog import Warehouse
from feature_store.iceberg.schema import follow_contract, refuse_break
from feature_store.iceberg.snapshots import set_tag, swap_files
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
from feature_store.version import Version, check_partition_values, resolve


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
    def total(self) -> Digest:
        """Digest of all staged rows."""
        return sum(self.digests.values(), Digest())

    def recorded(self, table_digest: Digest, revision: str) -> dict[str, str]:
        """Properties of the snapshot."""
        return {
            **self.properties,
            DAY: self.stage.day.isoformat(),
            JOB: self.stage.job,
            CODE_REVISION: revision,
            INPUTS: json.dumps(self.inputs, sort_keys=True, default=str),
            CONTENT_HASH: str(table_digest),
            ROWS: str(table_digest.rows),
        }

    def published(self, snapshot_id: int, *, changed: bool) -> Published:
        """What the caller is told."""
        return Published(
            snapshot_id=snapshot_id,
            rows=self.total.rows,
            content_hash=str(self.total),
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
        ContractViolation: the staged files don't keep the contract.
        ValueError: `replace` holds what can't be a partition of the table.
    """
    check_partition_values(stage.contract, replace)
    checked = check(stage, replace)
    if checked:
        write_digests(stage, checked)
    partitions = None
    if stage.contract.partition is not None:
        found = {item.file.partition for item in checked} | set(replace or ())
        partitions = sorted(value for value in found if value is not None)
    return Publication(stage, checked, partitions, inputs, properties)


def publish(
    warehouse: Warehouse, publication: Publication, *, revision: str, patience_seconds: float
) -> Published:
    """Commit the publication on the table's head, again as long as others commit first.

    Raises:
        CommitConflict: another run changed the same partitions, or commits never got through
            within `patience_seconds`.
        ContractViolation: the published rows can't follow the contract's change.
        CatalogLocked: the catalog stayed locked.
        StorageUnavailable: the warehouse or the catalog can't be written.
    """
    stage = publication.stage

    def attempt() -> Published:
        table = warehouse.create(stage.contract)
        refuse_break(table, stage.contract)
        head = resolve(stage.contract, table, None)
        if head.snapshot is not None and _is_unchanged(publication, head):
            _tag_day(warehouse, head, stage)
            return publication.published(head.snapshot.snapshot_id, changed=False)
        _refuse_conflict(publication, head)
        return publication.published(_commit(warehouse, publication, head, revision), changed=True)

    published = until_committed(attempt, table=stage.table, patience_seconds=patience_seconds)
    if not published.changed:
        stage.folder.delete()
    return published


def _is_unchanged(publication: Publication, head: Version) -> bool:
    old = head.files(publication.replace)
    # The row counts decide most cases without opening anything.
    if sum(file.rows for file in old) != publication.total.rows:
        return False
    return head.digests(old) == publication.digests


def _tag_day(warehouse: Warehouse, head: Version, stage: Stage) -> None:
    """Let a day whose rows were there already be found under its name."""
    if head.snapshot is not None and stage.day.isoformat() not in head.table.refs():
        warehouse.commit(head.table, set_tag(stage.day, head.snapshot.snapshot_id))


def _refuse_conflict(publication: Publication, head: Version) -> None:
    base, stage = publication.stage.base, publication.stage
    head_id = head.snapshot.snapshot_id if head.snapshot else None
    if base == head_id:
        return
    snapshot = head.table.snapshot_by_id(base) if base is not None else None
    # A base that has expired can't be compared any more; rather refuse than lose rows.
    if base is None or snapshot is not None:
        before = Version(stage.contract, head.table, snapshot)
        if before.files(publication.replace) == head.files(publication.replace):
            return
    which = ", ".join(map(str, publication.replace or [])) or "the whole table"
    raise CommitConflict(
        f"table {stage.table!r}: another run changed {which} since {stage.job} started "
        f"(snapshot {base} then, {head_id} now); nothing was committed. Run {stage.job} for "
        f"{stage.day} again, so that it reads what the other run wrote"
    )


def _commit(warehouse: Warehouse, publication: Publication, head: Version, revision: str) -> int:
    stage = publication.stage
    old = head.files(publication.replace)
    taken_out = sum(head.digests(old).values(), Digest())
    table_digest = head.digest() - taken_out + publication.total
    with warehouse.transaction(head.table) as transaction:
        follow_contract(transaction, head.table, stage.contract)
        snapshot_id = swap_files(
            transaction,
            removed=head.iceberg_files(publication.replace),
            added=[item.file for item in publication.checked],
            properties=publication.recorded(table_digest, revision),
            day=stage.day,
        )
    return snapshot_id
