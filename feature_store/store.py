"""The feature store: versioned tables, written in one commit, read by version or by day.

Example:
    A writer stages files, then publishes them; a reader names a table and, if it wants, a day.

        store = FeatureStore.open(Settings(), "movielens-100k")
        stage = store.stage("items", day=day, job="build_items")
        stage.write(rows)
        published = store.publish(stage, inputs={"raw": "u.item"})
        store.read("items", at=day)
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from feature_store.content_hash import Digest
from feature_store.contract import Contract
from feature_store.errors import SnapshotNotFound, TableNotFound, UndeclaredTable
from feature_store.history import describe, diff, history, rollback, rollbacks
from feature_store.iceberg.catalog import Warehouse, folder_of
from feature_store.lineage import lineage
from feature_store.maintenance import Retention, maintain
from feature_store.preset import check_name
from feature_store.publish import prepare, publish
from feature_store.run_record import refuse_old_records
from feature_store.settings import Settings
from feature_store.snapshot import (
    Maintenance,
    PartitionValue,
    Published,
    Rollback,
    SnapshotInfo,
    TableDiff,
)
from feature_store.stage import STAGED, Stage
from feature_store.step import Step
from feature_store.steps import producer_of
from feature_store.storage import Folder
from feature_store.tables import CATALOG
from feature_store.version import At, Version, check_partition_values, resolve

__all__ = ["FeatureStore", "Published", "Retention", "Stage"]


class FeatureStore:
    """All tables of a preset.

    `at` names a version everywhere: None is the head, an int a snapshot id, a date the snapshot
    that the day's run left. `partition` is one value of the contract's partition column; one
    that the table can't have is a ValueError.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        settings: Settings,
        contracts: Mapping[str, Contract],
        step: Step | None = None,
    ) -> None:
        self._warehouse = warehouse
        self._settings = settings
        self._contracts = contracts
        self._step = step

    @classmethod
    def open(
        cls,
        settings: Settings,
        preset: str,
        contracts: Mapping[str, Contract] = CATALOG,
        *,
        step: Step | None = None,
    ) -> "FeatureStore":
        """The preset's tables at the settings' addresses; none are there to begin with.

        Args:
            settings: where catalog and warehouse are.
            preset: the preset's name, which names the tables' namespace.
            contracts: definitions by table name.
            step: whose work it is; rows and snapshot ids of a table that the step doesn't declare
                to read, and stages of one that it doesn't declare to write, are then an
                `UndeclaredTable`. None: all tables are open.

        Raises:
            OldHome: the place was filled by a version that did not keep presets apart.
            PresetError: the name can't be a preset's.
            CatalogLocked: another process held the catalog for longer than may be waited.
            StorageUnavailable: the catalog's place can't be written.
        """
        refuse_old_records(settings.runs_path)
        return cls(Warehouse.open(settings, check_name(preset)), settings, contracts, step)

    def contract(self, name: str) -> Contract:
        """The table's definition.

        Raises:
            TableNotFound: no contract has that name.
        """
        if name not in self._contracts:
            raise TableNotFound(
                f"no table {name!r} is defined; tables are {', '.join(sorted(self._contracts))}"
            )
        return self._contracts[name]

    # Writing

    def stage(self, name: str, *, day: date, job: str) -> Stage:
        """A new place for the files of one publish, beside the table's data.

        Make it before reading what the job builds on: a publish is refused when another run
        has changed the same partitions since.

        Raises:
            TableNotFound: no contract has that name.
            UndeclaredTable: the step doesn't declare to write it.
            StorageUnavailable: the warehouse can't be written.
        """
        contract = self.contract(name)
        if self._step is not None and name not in self._step.writes:
            raise _undeclared(self._step, "writes", name, self._step.writes)
        table = self._warehouse.create(contract)
        head = table.current_snapshot()
        folder = folder_of(table).child("data").child(f"{STAGED}{uuid.uuid4().hex}")
        return Stage(contract, day, job, folder, head.snapshot_id if head else None)

    def publish(
        self,
        stage: Stage,
        *,
        replace: Sequence[PartitionValue] | None = None,
        inputs: Mapping[str, Any] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Published:
        """Make the staged files the rows of their partitions, in one commit.

        Args:
            stage: where the files are; it is used up.
            replace: partitions whose rows the files are; those without files become empty.
                Default: the partitions found in the files. Tables without partitions are always
                replaced as a whole.
            inputs: what the rows were made from: snapshot ids by table name, and anything that
                names raw files. The table's own id says which version the job read.
            properties: what else the snapshot shall say.

        Returns:
            The table's head. Where the same rows were there already, nothing is committed.

        Raises:
            ContractViolation: the files don't keep the contract.
            ValueError: `replace` holds what can't be a partition of the table.
            CommitConflict: another run changed the same partitions meanwhile.
            CatalogLocked: the catalog stayed locked.
            StorageUnavailable: the warehouse or the catalog can't be written.
        """
        return publish(
            self._warehouse,
            prepare(stage, replace, inputs or {}, properties or {}),
            revision=self._settings.resolved_code_revision,
            patience_seconds=self._settings.lock_timeout_seconds,
        )

    def discard(self, stage: Stage) -> None:
        """Remove what is staged; readers never saw it."""
        stage.folder.delete()

    # Reading

    def exists(self, name: str) -> bool:
        """Whether anything was ever published under the name."""
        return self.snapshot_id(name) is not None

    def snapshot_id(self, name: str, at: At = None) -> int | None:
        """Id of a version; None where nothing was published, or not for that day."""
        table = self._warehouse.load(self._readable(name).name)
        if table is None or (isinstance(at, date) and at.isoformat() not in table.refs()):
            return None
        version = resolve(self.contract(name), table, at)
        return version.snapshot.snapshot_id if version.snapshot else None

    def partitions(self, name: str, at: At = None) -> list[PartitionValue]:
        """Values of the partition column that have rows, sorted; [] for an unpartitioned table."""
        version = self._version(name, at)
        found = {file.partition for file in version.files()} if version else set()
        return sorted(value for value in found if value is not None)

    def partitions_reaching(
        self, name: str, column: str, day: date, at: At = None
    ) -> list[PartitionValue]:
        """Partitions that may hold rows whose `column`, a date, is `day` or later, sorted.

        The bounds of the files say so; no file is opened.
        """
        version = self._version(name, at)
        found = set() if version is None else version.partitions_reaching(column, day)
        return sorted(value for value in found if value is not None)

    def row_count(self, name: str, at: At = None, partition: PartitionValue | None = None) -> int:
        """Rows of a version, or of one of its partitions; 0 where nothing was published."""
        version = self._version(name, at)
        return sum(file.rows for file in version.files(_only(version, partition))) if version else 0

    def content_hash(
        self, name: str, at: At = None, partition: PartitionValue | None = None
    ) -> str | None:
        """Digest of the rows, equal for equal rows in any order and layout; None: no version."""
        version = self._version(name, at)
        if version is None:
            return None
        if partition is None:
            return str(version.digest())
        files = version.files(_only(version, partition))
        return str(sum(version.digests(files).values(), Digest()))

    def files(
        self,
        name: str,
        at: At = None,
        partitions: Sequence[PartitionValue] | None = None,
    ) -> list[str]:
        """Parquet files of a version, for Spark to read; [] where nothing was published."""
        check_partition_values(self.contract(name), partitions)
        version = self._version(name, at)
        return [file.uri for file in version.files(partitions)] if version else []

    def folder(self, name: str) -> Folder:
        """The table's own folder: what opens its `files` where no engine does.

        Raises:
            TableNotFound: nothing was published under the name.
        """
        return folder_of(self._published(self._readable(name).name, None).table)

    def read(
        self,
        name: str,
        at: At = None,
        partition: PartitionValue | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Rows of a version in the contract's schema.

        Raises:
            TableNotFound: nothing was published under the name.
            SnapshotNotFound: there is no such version.
        """
        return self.scan(name, at, partition, columns).read_all()

    def scan(
        self,
        name: str,
        at: At = None,
        partition: PartitionValue | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.RecordBatchReader:
        """The same rows as `read`, batch by batch, in bounded memory.

        Raises:
            TableNotFound: nothing was published under the name.
            SnapshotNotFound: there is no such version.
        """
        version = self._published(self._readable(name).name, at)
        return pa.RecordBatchReader.from_batches(
            version.schema(columns), version.scan(_only(version, partition), columns)
        )

    # Versions

    def tables(self) -> list[str]:
        """Names of the tables that something was published to, in the catalogue's order."""
        return [name for name in self._contracts if self.exists(name)]

    def describe(self, name: str, at: At = None) -> SnapshotInfo:
        """Facts about one version.

        Raises:
            TableNotFound: nothing was published under the name.
            SnapshotNotFound: there is no such version.
        """
        return describe(self._published(name, at))

    def history(self, name: str) -> list[SnapshotInfo]:
        """Every snapshot that has not expired, newest first, those set aside included."""
        return history(self._published(name, None))

    def rollbacks(self, name: str) -> list[Rollback]:
        """Every rollback of the table, oldest first."""
        return rollbacks(self._published(name, None).table)

    def diff(self, name: str, a: At, b: At) -> TableDiff:
        """What changed from version `a` to version `b`: rows and files by partition.

        Raises:
            TableNotFound: nothing was published under the name.
            SnapshotNotFound: there is no such version.
        """
        return diff(self._published(name, a), self._published(name, b))

    def rollback(self, name: str, snapshot_id: int, reason: str) -> Rollback:
        """Let readers see an older snapshot again; see `feature_store.history.rollback`.

        Raises:
            ValueError: the reason is empty.
            TableNotFound: nothing was published under the name.
            SnapshotNotFound: the table has no such snapshot.
            CommitConflict: other runs kept committing first.
        """
        return rollback(
            self._warehouse,
            self._published(name, None),
            snapshot_id,
            reason,
            revision=self._settings.resolved_code_revision,
            patience_seconds=self._settings.lock_timeout_seconds,
        )

    def lineage(self, name: str, at: At = None) -> dict[str, Any]:
        """What a version was made from, down to raw files; see `feature_store.lineage`.

        Raises:
            TableNotFound: nothing was published under the name.
            SnapshotNotFound: there is no such version.
        """

        def find(table: str, snapshot_id: int) -> SnapshotInfo | None:
            try:
                return self.describe(table, snapshot_id)
            except (TableNotFound, SnapshotNotFound):
                return None

        return lineage(find, self._contracts, name, self.describe(name, at).snapshot_id)

    def maintain(
        self, names: Sequence[str] | None = None, retention: Retention | None = None
    ) -> list[Maintenance]:
        """Expire snapshots and delete orphan files of these tables, or of all.

        Raises:
            TableNotFound: no contract has one of the names.
            TableDamaged: a file that a snapshot needs is gone; nothing of that table is deleted.
            CommitConflict: other runs kept committing first.
        """
        return [
            maintain(
                self._warehouse,
                self.contract(name).name,
                retention or Retention(),
                patience_seconds=self._settings.lock_timeout_seconds,
            )
            for name in names or self._contracts
        ]

    def _readable(self, name: str) -> Contract:
        contract = self.contract(name)
        if self._step is not None and name not in self._step.may_read:
            raise _undeclared(self._step, "reads", name, self._step.may_read)
        return contract

    def _version(self, name: str, at: At) -> Version | None:
        return self._any_version(self._readable(name), at)

    def _any_version(self, contract: Contract, at: At) -> Version | None:
        table = self._warehouse.load(contract.name)
        if table is None or table.current_snapshot() is None:
            return None
        return resolve(contract, table, at)

    def _published(self, name: str, at: At) -> Version:
        version = self._any_version(self.contract(name), at)
        if version is None:
            producer = producer_of(name) or "the step that writes it"
            home = self._settings.home.absolute()
            raise TableNotFound(
                f"table {name!r} is defined, but nothing was published to it yet; run {producer}, "
                f"or set SIDEREAL_HOME where this home is the wrong one: {home}"
            )
        return version


def _undeclared(step: Step, does: str, table: str, declared: Sequence[str]) -> UndeclaredTable:
    return UndeclaredTable(
        f"{step.name} {does} table {table!r}, and declares only {', '.join(declared)}; add "
        f"{table!r} to what {step.name} {does} in feature_store/steps.py"
    )


def _only(version: Version, partition: PartitionValue | None) -> list[PartitionValue] | None:
    only = None if partition is None else [partition]
    check_partition_values(version.contract, only)
    return only
