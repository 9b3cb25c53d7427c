"""What readers are told about a table's versions: plain facts, no engine behind them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

PartitionValue = date | str | int

DAY = "sidereal.day"
JOB = "sidereal.job"
CODE_REVISION = "sidereal.code-revision"
INPUTS = "sidereal.inputs"
CONTENT_HASH = "sidereal.content-hash"
ROWS = "sidereal.rows"


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file of a snapshot; `partition` is None in tables without partitions."""

    uri: str
    partition: PartitionValue | None
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a publish did.

    Args:
        snapshot_id: the head after it; the one before it where nothing changed.
        rows: rows of the published partitions.
        content_hash: digest of those rows, 32 hex digits.
        changed: whether a snapshot was committed.
        partitions: values of the partition column that were published, sorted.
    """

    snapshot_id: int
    rows: int
    content_hash: str
    changed: bool
    partitions: list[PartitionValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotInfo:
    """One version of a table.

    Args:
        committed_at: when the catalog took it, UTC; never used to decide what data is.
        rows: rows of the whole table in it.
        content_hash: digest of the whole table in it.
        inputs: what it was made from: snapshot ids by table name, and whatever the job named.
        tags: days that readers find it under.
        is_current: whether it is what readers see now.
        is_ancestor: whether the current one grew out of it (or is it); False after a rollback.
        properties: everything else that the job recorded.
    """

    table: str
    snapshot_id: int
    parent_id: int | None
    committed_at: datetime
    operation: str
    day: date | None
    job: str
    code_revision: str
    rows: int
    content_hash: str
    inputs: Mapping[str, Any]
    tags: tuple[str, ...]
    is_current: bool
    is_ancestor: bool
    properties: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready facts; ids as text, because 64 bits don't fit JavaScript's numbers."""
        facts = asdict(self)
        facts["snapshot_id"] = str(self.snapshot_id)
        facts["parent_id"] = None if self.parent_id is None else str(self.parent_id)
        facts["committed_at"] = self.committed_at.isoformat(timespec="milliseconds")
        facts["day"] = None if self.day is None else self.day.isoformat()
        return facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """One move of the head to an older (or set-aside) snapshot, and why."""

    before: int
    after: int
    reason: str
    code_revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionChange:
    """How one partition differs between two snapshots; rows are compared as multisets."""

    partition: PartitionValue | None
    rows_before: int
    rows_after: int
    rows_added: int
    rows_removed: int
    files_added: int
    files_removed: int
    hash_before: str
    hash_after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDiff:
    """What changed from one snapshot to another; partitions that are equal are only counted."""

    table: str
    before: int
    after: int
    partitions: tuple[PartitionChange, ...]
    partitions_unchanged: int

    @property
    def rows_added(self) -> int:
        """Rows that `after` has and `before` hasn't."""
        return sum(change.rows_added for change in self.partitions)

    @property
    def rows_removed(self) -> int:
        """Rows that `before` has and `after` hasn't."""
        return sum(change.rows_removed for change in self.partitions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """What maintenance took away from one table."""

    table: str
    snapshots_expired: tuple[int, ...]
    tags_removed: tuple[str, ...]
    snapshots_kept: int
    files_deleted: int
    bytes_deleted: int


def day_or_none(text: str) -> date | None:
    """The day that a tag or property names; None where it names something else."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
