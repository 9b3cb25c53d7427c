"""One version of a table: its files, its rows, its digests."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, lru_cache

import pyarrow as pa
import pyarrow.parquet as pq

from feature_store.arrow import arrow_schema, conform
from feature_store.content_hash import Digest, digest
from feature_store.contract import Contract
from feature_store.errors import SnapshotNotFound, TableDamaged
from feature_store.iceberg.catalog import folder_of
from feature_store.iceberg.snapshots import (
    IcebergFile,
    Snapshot,
    Table,
    day_tags,
    files_of,
    may_reach,
    partition_of,
    plain_file,
    summary_of,
)
from feature_store.snapshot import CONTENT_HASH, ROWS, DataFile, PartitionValue
from feature_store.stage import batches, open_parquet, read_digests, stage_of
from feature_store.storage import Folder

At = int | date | None
"""Which version: the head, a snapshot's id, or the snapshot tagged with a day."""


@dataclass(frozen=True)
class Version:
    """A table at one snapshot; None is a table that nothing was published to."""

    contract: Contract
    table: Table
    snapshot: Snapshot | None

    @cached_property
    def _all_files(self) -> list[DataFile]:
        return self._plain(None)

    def files(self, partitions: Collection[PartitionValue] | None = None) -> list[DataFile]:
        """Data files in the order of partition and address, of these partitions or of all."""
        return self._all_files if partitions is None else self._plain(partitions)

    def iceberg_files(self, partitions: Collection[PartitionValue] | None) -> list[IcebergFile]:
        """The same files as Iceberg records them."""
        return files_of(self.table, self.snapshot, self.contract, partitions)

    def _plain(self, partitions: Collection[PartitionValue] | None) -> list[DataFile]:
        return [plain_file(file, self.contract) for file in self.iceberg_files(partitions)]

    def partitions_reaching(self, column: str, day: date) -> set[PartitionValue | None]:
        """Partitions with a file whose bounds allow `column`, a date, to be `day` or later."""
        return {
            partition_of(file, self.contract)
            for file in self.iceberg_files(None)
            if may_reach(self.table, file, column, day)
        }

    def digests(self, files: Sequence[DataFile]) -> dict[PartitionValue | None, Digest]:
        """Digest of the rows of these files, by partition."""
        folder = folder_of(self.table)
        totals: dict[PartitionValue | None, Digest] = {}
        for file in files:
            totals[file.partition] = totals.get(file.partition, Digest()) + _digest_of(
                file, folder, self.contract
            )
        return totals

    def digest(self) -> Digest:
        """Digest of the whole table, as recorded by its commit, or from its files."""
        if self.snapshot is None:
            return Digest()
        recorded = summary_of(self.snapshot)
        if CONTENT_HASH in recorded:
            return Digest.parse(recorded[CONTENT_HASH], int(recorded[ROWS]))
        return sum(self.digests(self.files()).values(), Digest())

    def schema(self, columns: Sequence[str] | None = None) -> pa.Schema:
        """Arrow schema of these columns of the contract, or of all."""
        schema = arrow_schema(self.contract)
        if columns is None:
            return schema
        return pa.schema([schema.field(self.contract.column(name).name) for name in columns])

    def scan(
        self, partitions: Collection[PartitionValue] | None, columns: Sequence[str] | None
    ) -> Iterator[pa.RecordBatch]:
        """Rows batch by batch, in the order of the files.

        Raises:
            TableDamaged: a file of the snapshot is gone.
        """
        schema, folder = self.schema(columns), folder_of(self.table)
        for file in self.files(partitions):
            with self._open(folder, file) as parquet:
                there = [name for name in schema.names if name in parquet.schema_arrow.names]
                for batch in batches(parquet, there):
                    yield conform(batch, schema)

    def _open(self, folder: Folder, file: DataFile) -> pq.ParquetFile:
        try:
            return open_parquet(folder, file.uri)
        except FileNotFoundError as error:
            raise TableDamaged(
                f"table {self.contract.name!r}: file {file.uri} of snapshot "
                f"{self.snapshot.snapshot_id if self.snapshot else None} is gone. Restore it, or "
                "roll back to a snapshot that has all its files"
            ) from error


def check_partition_values(contract: Contract, values: Collection[PartitionValue] | None) -> None:
    """Make sure that the values can be partitions of the table; None asks for no partition.

    Raises:
        ValueError: the table has no partitions, or a value isn't of its partition column's type.
    """
    if values is None:
        return
    if contract.partition is None:
        raise ValueError(
            f"table {contract.name!r} has no partitions, but {_listed(values)} was asked for; "
            "name none"
        )
    column = contract.column(contract.partition)
    expected = {"date": date, "string": str}.get(column.type, int)
    # A datetime is a date to isinstance, but equals no date.
    wrong = [v for v in values if not isinstance(v, expected) or isinstance(v, datetime)]
    if wrong:
        raise ValueError(
            f"table {contract.name!r} is partitioned by {column.name} of type {column.type}, but "
            f"{_listed(wrong)} was asked for; give {expected.__name__} values"
        )


def _listed(values: Collection[PartitionValue]) -> str:
    return ", ".join(repr(value) for value in values)


def resolve(contract: Contract, table: Table, at: At) -> Version:
    """The version of a table that `at` names.

    Raises:
        SnapshotNotFound: no snapshot has that id, or that day's tag.
    """
    return Version(contract, table, find_snapshot(contract.name, table, at))


def find_snapshot(name: str, table: Table, at: At) -> Snapshot | None:
    """The snapshot that `at` names; None for the head of a table without one.

    Raises:
        SnapshotNotFound: no snapshot has that id, or that day's tag.
    """
    if at is None:
        return table.current_snapshot()
    if isinstance(at, date):
        tag = table.refs().get(at.isoformat())
        if tag is None:
            raise SnapshotNotFound(
                f"table {name!r} has no snapshot for day {at}; it has {_known_days(table)}. "
                "Run the day first, or name a snapshot id"
            )
        return table.snapshot_by_id(tag.snapshot_id)
    found = table.snapshot_by_id(at)
    if found is None:
        raise SnapshotNotFound(
            f"table {name!r} has no snapshot {at}; it may have expired. "
            f"`sidereal tables history {name} --preset …` lists those there are"
        )
    return found


def _known_days(table: Table) -> str:
    days = list(day_tags(table))
    if not days:
        return "no days at all"
    return f"{len(days)} days from {days[0]} to {days[-1]}"


def _digest_of(file: DataFile, folder: Folder, contract: Contract) -> Digest:
    stage = stage_of(file.uri)
    known = _stage_digests(folder.below(stage)) if stage else {}
    if file.uri in known:
        return known[file.uri]
    schema = arrow_schema(contract)
    with open_parquet(folder, file.uri) as parquet:
        return digest(conform(batch, schema) for batch in batches(parquet, schema.names))


@lru_cache(maxsize=4096)
def _stage_digests(folder: Folder) -> dict[str, Digest]:
    return read_digests(folder)
