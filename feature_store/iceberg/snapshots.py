"""Snapshots of an Iceberg table: their files and properties, and the changes a commit makes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue, In
from pyiceberg.expressions.visitors import manifest_evaluator
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent, FileFormat, ManifestFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import (
    RemoveSnapshotRefUpdate,
    RemoveSnapshotsUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableUpdate,
)
from pyiceberg.table.update.snapshot import ManageSnapshots
from pyiceberg.typedef import Record

from feature_store.contract import Contract
from feature_store.snapshot import DataFile, PartitionValue, day_or_none

__all__ = [
    "IcebergFile",
    "Snapshot",
    "Table",
    "ancestry",
    "committed_at",
    "day_tags",
    "expire",
    "files_of",
    "may_reach",
    "partition_of",
    "plain_file",
    "referenced_files",
    "remove_tag",
    "set_head",
    "set_properties",
    "set_tag",
    "summary_of",
    "swap_files",
]

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class _Manifest:
    """A manifest, known by its address: its content never changes."""

    address: str
    manifest: ManifestFile = field(compare=False, repr=False)
    io: FileIO = field(compare=False, repr=False)


@lru_cache(maxsize=4096)
def _live_files(manifest: _Manifest) -> list[IcebergFile]:
    entries = manifest.manifest.fetch_manifest_entry(manifest.io, discard_deleted=True)
    return [entry.data_file for entry in entries]


def _manifests(table: Table, snapshot: Snapshot) -> list[_Manifest]:
    return [_Manifest(m.manifest_path, m, table.io) for m in snapshot.manifests(table.io)]


def files_of(
    table: Table,
    snapshot: Snapshot | None,
    contract: Contract,
    partitions: Collection[PartitionValue] | None = None,
) -> list[IcebergFile]:
    """Data files of a snapshot, by partition, then by address.

    Manifests whose bounds hold none of the partitions are not opened.
    """
    if snapshot is None:
        return []
    manifests = _manifests(table, snapshot)
    if partitions is not None and contract.partition is not None:
        predicate = In(contract.partition, set(partitions))  # type: ignore  # misread by mypy
        is_wanted = manifest_evaluator(table.spec(), table.schema(), predicate)
        manifests = [m for m in manifests if m.manifest.partitions and is_wanted(m.manifest)]
    found = [file for manifest in manifests for file in _live_files(manifest)]
    if partitions is not None:
        found = [file for file in found if partition_of(file, contract) in partitions]
    return sorted(found, key=lambda file: (str(file.partition), file.file_path))


def partition_of(file: IcebergFile, contract: Contract) -> PartitionValue | None:
    """The file's value of the partition column; None in tables without partitions."""
    if contract.partition is None:
        return None
    value = file.partition[0]
    if contract.column(contract.partition).type == "date":
        return _EPOCH + timedelta(days=value)
    return value  # type: ignore[no-any-return]


def may_reach(table: Table, file: IcebergFile, column: str, day: date) -> bool:
    """Whether a file may hold a row whose column, a date, is `day` or later, by its bounds."""
    number = table.schema().find_field(column).field_id
    bound = (file.upper_bounds or {}).get(number)
    if bound is not None:
        # Iceberg writes a date as days since 1970, four bytes, the lowest first.
        return int.from_bytes(bound, "little", signed=True) >= (day - _EPOCH).days
    # Nulls alone have no bound, nor has a file that was written before the column was there.
    values = (file.value_counts or {}).get(number, 0)
    return values > (file.null_value_counts or {}).get(number, 0)


def plain_file(file: IcebergFile, contract: Contract) -> DataFile:
    """The file as readers are told it."""
    return DataFile(
        uri=file.file_path,
        partition=partition_of(file, contract),
        rows=file.record_count,
        bytes=file.file_size_in_bytes,
    )


def summary_of(snapshot: Snapshot) -> dict[str, str]:
    """Properties of a snapshot, ours and Iceberg's."""
    return dict(snapshot.summary.additional_properties) if snapshot.summary else {}


def committed_at(snapshot: Snapshot) -> datetime:
    """When the catalog took the snapshot, UTC."""
    return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)


def ancestry(table: Table, snapshot: Snapshot | None) -> list[Snapshot]:
    """The snapshot and those that it grew out of, newest first, as far as none has expired."""
    by_id = {known.snapshot_id: known for known in table.snapshots()}
    line = []
    while snapshot is not None:
        line.append(snapshot)
        snapshot = by_id.get(snapshot.parent_snapshot_id or 0)
    return line


def day_tags(table: Table) -> dict[date, int]:
    """Snapshot id by day, oldest day first."""
    tags = {}
    for name, reference in table.refs().items():
        day = day_or_none(name)
        if day is not None:
            tags[day] = reference.snapshot_id
    return dict(sorted(tags.items()))


def referenced_files(table: Table) -> Iterator[str]:
    """Address of every file that the table's metadata leads to; some come more than once."""
    yield table.metadata_location
    yield from (entry.metadata_file for entry in table.metadata.metadata_log)
    manifests = set()
    for snapshot in table.snapshots():
        yield snapshot.manifest_list
        manifests.update(_manifests(table, snapshot))
    for manifest in manifests:
        yield manifest.address
        yield from (file.file_path for file in _live_files(manifest))


def swap_files(
    transaction: Transaction,
    *,
    removed: Sequence[IcebergFile],
    added: Sequence[DataFile],
    properties: Mapping[str, str],
    day: date,
) -> int:
    """Add one snapshot that takes files out, puts files in and has the day's tag; its id."""
    producer = transaction.update_snapshot(snapshot_properties=dict(properties)).overwrite()
    # Each look at the transaction's metadata copies all of it, so it is taken once.
    metadata = transaction.table_metadata
    if removed and metadata.spec().is_unpartitioned():
        # Without a predicate pyiceberg finds no manifest to look for the removed files in.
        producer.delete_by_predicate(AlwaysTrue())
    for old in removed:
        producer.delete_data_file(old)
    for new in added:
        producer.append_data_file(_data_file(transaction._table.io, metadata, new))
    producer.commit()
    ManageSnapshots(transaction).create_tag(producer.snapshot_id, day.isoformat()).commit()
    return producer.snapshot_id


def set_tag(day: date, snapshot_id: int) -> TableUpdate:
    """Let readers find the snapshot under the day."""
    return _reference(day.isoformat(), SnapshotRefType.TAG, snapshot_id)


def remove_tag(day: date) -> TableUpdate:
    """Let readers find nothing under the day."""
    return RemoveSnapshotRefUpdate.model_validate({"ref-name": day.isoformat()})


def set_head(snapshot_id: int) -> TableUpdate:
    """Let readers see this snapshot."""
    return _reference(MAIN_BRANCH, SnapshotRefType.BRANCH, snapshot_id)


def _reference(name: str, kind: SnapshotRefType, snapshot_id: int) -> TableUpdate:
    return SetSnapshotRefUpdate.model_validate(
        {"ref-name": name, "type": kind, "snapshot-id": snapshot_id}
    )


def expire(snapshot_ids: Collection[int]) -> TableUpdate:
    """Forget snapshots and their tags; their files stay until they are deleted as orphans."""
    return RemoveSnapshotsUpdate.model_validate({"snapshot-ids": sorted(snapshot_ids)})


def set_properties(properties: Mapping[str, str]) -> TableUpdate:
    """Set properties of the table."""
    return SetPropertiesUpdate(updates=dict(properties))


def _data_file(io: FileIO, metadata: TableMetadata, file: DataFile) -> IcebergFile:
    """Iceberg's record of a file, with the bounds that Parquet's own statistics give."""
    schema, spec = metadata.schema(), metadata.spec()
    with io.new_input(file.uri).open() as stream:
        statistics = data_file_statistics_from_parquet_metadata(
            parquet_metadata=pq.read_metadata(stream),
            stats_columns=compute_statistics_plan(schema, metadata.properties),
            parquet_column_mapping=parquet_path_to_id_mapping(schema),
        )
    value = (file.partition - _EPOCH).days if isinstance(file.partition, date) else file.partition
    return IcebergFile.from_args(
        content=DataFileContent.DATA,
        file_path=file.uri,
        file_format=FileFormat.PARQUET,
        partition=Record() if spec.is_unpartitioned() else Record(value),
        file_size_in_bytes=file.bytes,
        sort_order_id=None,
        spec_id=spec.spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )
