"""The Iceberg catalog through pyiceberg: loading tables, listing files, committing.

The only module that imports pyiceberg. A commit is one metadata change: files out, files in,
snapshot properties and the day's tag become visible together or not at all.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import (
    PyArrowFileIO,
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent, FileFormat
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update.snapshot import ManageSnapshots
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import (
    BooleanType,
    DateType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    TimestamptzType,
)
from sqlalchemy.exc import OperationalError

from feature_store.contract import Contract
from feature_store.errors import CatalogLocked, StorageUnavailable, storage_errors
from feature_store.settings import Settings
from feature_store.snapshot import DataFile, PartitionValue
from feature_store.storage import Folder

NAMESPACE = "sidereal"
CommitLost = (CommitFailedException, ValidationException)
"""Another run moved the table's head first; the commit may be tried again on the new one."""

_EPOCH = date(1970, 1, 1)
_SCALARS: dict[str, type[Any]] = {
    "string": StringType,
    "int": IntegerType,
    "long": LongType,
    "float": FloatType,
    "double": DoubleType,
    "boolean": BooleanType,
    "date": DateType,
    "timestamp": TimestamptzType,
}
_PROPERTIES = {
    "format-version": "2",
    # Retries are ours (`feature_store.publish`): pyiceberg's would drop the day's tag.
    "commit.retry.num-retries": "0",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}


def iceberg_schema(contract: Contract) -> Schema:
    """Iceberg schema of a table; field ids count columns first, then what is inside them."""
    inside = itertools.count(len(contract.columns) + 1)
    fields = []
    for number, column in enumerate(contract.columns, start=1):
        scalar: IcebergType = _SCALARS[column.scalar]()
        kind = scalar
        if column.is_list:
            kind = ListType(element_id=next(inside), element=scalar, element_required=True)
        elif column.is_map:
            kind = MapType(
                key_id=next(inside),
                key_type=StringType(),
                value_id=next(inside),
                value_type=scalar,
                value_required=True,
            )
        fields.append(
            NestedField(number, column.name, kind, required=not column.nullable, doc=column.meaning)
        )
    return Schema(*fields)


def partition_spec(contract: Contract, schema: Schema) -> PartitionSpec:
    """Identity partitioning by the contract's partition column, or none."""
    if contract.partition is None:
        return UNPARTITIONED_PARTITION_SPEC
    source = schema.find_field(contract.partition).field_id
    return PartitionSpec(PartitionField(source, 1000, IdentityTransform(), contract.partition))


class Warehouse:
    """Tables of one Iceberg catalog, in one namespace."""

    def __init__(self, catalog: Catalog, address: str) -> None:
        self._catalog = catalog
        self._address = address

    @classmethod
    def open(cls, settings: Settings) -> "Warehouse":
        """Connect to the catalog; a SQLite one and the namespace are made where missing.

        Raises:
            CatalogLocked: another process held the catalog for longer than may be waited.
            StorageUnavailable: the catalog's place can't be written.
        """
        address = settings.resolved_catalog_uri
        uri = address
        if address.startswith("sqlite:///"):
            file = Path(address.removeprefix("sqlite:///").partition("?")[0])
            with storage_errors(str(file.parent)):
                file.parent.mkdir(parents=True, exist_ok=True)
            separator = "&" if "?" in address else "?"
            # SQLite itself waits this long for another process's lock.
            uri = f"{address}{separator}timeout={settings.lock_timeout_seconds}"
        warehouse = settings.resolved_warehouse
        if "://" not in warehouse:
            warehouse = str(Path(warehouse).absolute())
        options = {
            "type": settings.catalog_type,
            "uri": uri,
            "warehouse": warehouse,
            "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
        }
        with catalog_errors(address):
            catalog = _connect(options)
            try:
                if not catalog.namespace_exists(NAMESPACE):
                    catalog.create_namespace(NAMESPACE)
            except NamespaceAlreadyExistsError:
                pass  # another process made it between the two calls
        return cls(catalog, address)

    def load(self, name: str) -> Table | None:
        """The table as the catalog holds it now; None where it was never made."""
        with catalog_errors(self._address):
            try:
                return self._catalog.load_table((NAMESPACE, name))
            except NoSuchTableError:
                return None

    def create(self, contract: Contract) -> Table:
        """The table, made without a snapshot where it is missing."""
        table = self.load(contract.name)
        if table is not None:
            return table
        schema = iceberg_schema(contract)
        mapping = schema.name_mapping.model_dump_json()
        with catalog_errors(self._address), storage_errors(contract.name):
            try:
                return self._catalog.create_table(
                    (NAMESPACE, contract.name),
                    schema=schema,
                    partition_spec=partition_spec(contract, schema),
                    properties={
                        **_PROPERTIES,
                        **contract.properties,
                        "comment": contract.grain,
                        "schema.name-mapping.default": mapping,
                    },
                )
            except TableAlreadyExistsError:
                return self._catalog.load_table((NAMESPACE, contract.name))

    @contextmanager
    def transaction(self, table: Table) -> Iterator[Transaction]:
        """All changes made inside become visible in one commit at the end.

        Raises:
            pyiceberg.exceptions.CommitFailedException: another run committed first.
            CatalogLocked: another process held the catalog for longer than may be waited.
            StorageUnavailable: the warehouse or the catalog can't be written.
        """
        with (
            catalog_errors(self._address),
            storage_errors(table.location()),
            table.transaction() as transaction,
        ):
            yield transaction


def _connect(options: Mapping[str, str]) -> Catalog:
    try:
        return load_catalog(NAMESPACE, **options)
    except OperationalError as error:
        # Two processes found a new catalog at once, and the other one made its tables first.
        if "already exists" not in str(error):
            raise
        return load_catalog(NAMESPACE, **options)


@contextmanager
def catalog_errors(address: str) -> Iterator[None]:
    """Turn what a SQL catalog says about locks and disks into the store's own errors.

    Raises:
        CatalogLocked: the database is locked by another process.
        StorageUnavailable: the database is read-only, full, or can't be opened.
    """
    try:
        yield
    except OperationalError as error:
        text = str(error.orig)
        if "locked" in text:
            raise CatalogLocked(
                f"catalog {_without_password(address)} is still locked by another process; nothing "
                "was committed. Let the other run end, or raise SIDEREAL_LOCK_TIMEOUT_SECONDS, "
                "then run the command again"
            ) from error
        refusals = ("readonly", "read-only", "full", "unable to open", "disk I/O")
        if any(refusal in text for refusal in refusals):
            raise StorageUnavailable(
                f"catalog {_without_password(address)} can't be written ({text}); nothing was "
                "committed. Free space or fix permissions, then run the command again"
            ) from error
        raise


def _without_password(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def folder_of(table: Table) -> Folder:
    """The table's own folder."""
    location = table.location().rstrip("/")
    io = table.io
    assert isinstance(io, PyArrowFileIO), "the catalog is opened with PyArrowFileIO"
    scheme, host, path = io.parse_location(location, io.properties)
    return Folder(location, path, io.fs_by_scheme(scheme, host))


def iceberg_files(table: Table, snapshot: Snapshot | None) -> list[IcebergFile]:
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
    """The file without its engine."""
    return DataFile(
        uri=file.file_path,
        partition=partition_of(file, contract),
        rows=file.record_count,
        bytes=file.file_size_in_bytes,
    )


def commit_files(
    transaction: Transaction,
    table: Table,
    *,
    removed: Sequence[IcebergFile],
    added: Sequence[DataFile],
    properties: Mapping[str, str],
    tag: str,
) -> int:
    """Stage one snapshot that swaps files and carries the tag; returns its id."""
    producer = transaction.update_snapshot(snapshot_properties=dict(properties)).overwrite()
    if removed and table.spec().is_unpartitioned():
        # Without a predicate pyiceberg finds no manifest to look for the removed files in.
        producer.delete_by_predicate(AlwaysTrue())
    for old in removed:
        producer.delete_data_file(old)
    for new in added:
        producer.append_data_file(_data_file(table, new))
    producer.commit()
    ManageSnapshots(transaction).create_tag(producer.snapshot_id, tag).commit()
    return producer.snapshot_id


def _data_file(table: Table, file: DataFile) -> IcebergFile:
    """Iceberg's record of a file, with the bounds that Parquet's own statistics give."""
    schema = table.schema()
    with table.io.new_input(file.uri).open() as stream:
        metadata = pq.read_metadata(stream)
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=metadata,
        stats_columns=compute_statistics_plan(schema, table.properties),
        parquet_column_mapping=parquet_path_to_id_mapping(schema),
    )
    value = (file.partition - _EPOCH).days if isinstance(file.partition, date) else file.partition
    return IcebergFile.from_args(
        content=DataFileContent.DATA,
        file_path=file.uri,
        file_format=FileFormat.PARQUET,
        partition=Record() if table.spec().is_unpartitioned() else Record(value),
        file_size_in_bytes=file.bytes,
        sort_order_id=None,
        spec_id=table.spec().spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )


def committed_at(snapshot: Snapshot) -> datetime:
    """When the catalog took the snapshot, UTC."""
    return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)


def summary_of(snapshot: Snapshot) -> dict[str, str]:
    """Properties of a snapshot, ours and Iceberg's."""
    return dict(snapshot.summary.additional_properties) if snapshot.summary else {}
