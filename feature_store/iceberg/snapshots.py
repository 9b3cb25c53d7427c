"""Snapshots of an Iceberg table: their files and properties, and the changes a commit makes."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent, FileFormat
from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update.snapshot import ExpireSnapshots, ManageSnapshots
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
    "partition_of",
    "plain_file",
    "referenced_files",
    "remove_tag",
    "set_head",
    "set_tag",
    "summary_of",
    "swap_files",
]

_EPOCH = date(1970, 1, 1)


def files_of(table: Table, snapshot: Snapshot | None) -> list[IcebergFile]:
    """Data files of a snapshot, by partition, then by address."""
    if snapshot is None:
        return []
    entries = itertools.chain.from_iterable(
        manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        for manifest in snapshot.manifests(table.io)
    )
    found = [entry.data_file for entry in entries]
    return sorted(found, key=lambda file: (str(file.partition), file.file_path))


def partition_of(file: IcebergFile, contract: Contract) -> PartitionValue | None:
    """The file's value of the partition column; None in tables without partitions."""
    if contract.partition is None:
        return None
    value = file.partition[0]
    if contract.column(contract.partition).type == "date":
        return _EPOCH + timedelta(days=value)
    return value  # type: ignore[no-any-return]


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
    seen = set()
    for snapshot in table.snapshots():
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in seen:
                continue
            seen.add(manifest.manifest_path)
            yield manifest.manifest_path
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                yield entry.data_file.file_path


def swap_files(
    transaction: Transaction,
    *,
    removed: Sequence[IcebergFile],
    added: Sequence[DataFile],
    properties: Mapping[str, str],
) -> int:
    """Add one snapshot that takes files out and puts files in; returns its id."""
    producer = transaction.update_snapshot(snapshot_properties=dict(properties)).overwrite()
    if removed and transaction.table_metadata.spec().is_unpartitioned():
        # Without a predicate pyiceberg finds no manifest to look for the removed files in.
        producer.delete_by_predicate(AlwaysTrue())
    for old in removed:
        producer.delete_data_file(old)
    for new in added:
        producer.append_data_file(_data_file(transaction, new))
    producer.commit()
    return producer.snapshot_id


def set_tag(transaction: Transaction, day: date, snapshot_id: int) -> None:
    """Let readers find the snapshot under the day."""
    ManageSnapshots(transaction).create_tag(snapshot_id, day.isoformat()).commit()


def remove_tag(transaction: Transaction, day: date) -> None:
    """Let readers find nothing under the day."""
    ManageSnapshots(transaction).remove_tag(day.isoformat()).commit()


def set_head(transaction: Transaction, snapshot_id: int) -> None:
    """Let readers see this snapshot."""
    ManageSnapshots(transaction).set_current_snapshot(snapshot_id=snapshot_id).commit()


def expire(transaction: Transaction, snapshot_ids: Collection[int]) -> None:
    """Forget snapshots; their files stay until they are deleted as orphans."""
    ExpireSnapshots(transaction).by_ids(list(snapshot_ids)).commit()


def _data_file(transaction: Transaction, file: DataFile) -> IcebergFile:
    """Iceberg's record of a file, with the bounds that Parquet's own statistics give."""
    metadata = transaction.table_metadata
    schema, spec = metadata.schema(), metadata.spec()
    with transaction._table.io.new_input(file.uri).open() as stream:
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
