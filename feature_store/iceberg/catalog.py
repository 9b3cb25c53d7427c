"""The Iceberg catalog: connecting, loading and making tables, committing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table, Transaction
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.update import AssertRefSnapshotId, AssertTableUUID, TableUpdate
from sqlalchemy.exc import IntegrityError, OperationalError

from feature_store.contract import Contract
from feature_store.errors import CatalogLocked, OldHome, StorageUnavailable, storage_errors
from feature_store.iceberg.schema import iceberg_schema, partition_spec
from feature_store.settings import Settings
from feature_store.storage import Folder

CATALOG_NAME = "sidereal"
OLD_NAMESPACE = "sidereal"
"""Where an earlier version kept the tables of every preset."""
PRESET = "sidereal.preset"
"""A namespace's property: the preset whose tables it holds."""
CommitLost = (CommitFailedException, ValidationException)
"""Another run moved the table's head first; the commit may be tried again on the new one."""

_CATALOG_TABLES = ("iceberg_tables", "iceberg_namespace_properties")
_PROPERTIES = {
    "format-version": "2",
    # Retries are ours (`feature_store.commit`): pyiceberg's would drop the day's tag.
    "commit.retry.num-retries": "0",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}


class Warehouse:
    """Tables of one preset: a namespace of an Iceberg catalog, named like the preset."""

    def __init__(self, catalog: Catalog, address: str, namespace: str) -> None:
        self._catalog = catalog
        self._address = address
        self._namespace = namespace

    @classmethod
    def open(cls, settings: Settings, preset: str) -> "Warehouse":
        """Connect to the catalog; a SQLite one is made where it is missing.

        Raises:
            OldHome: the catalog holds tables that no preset owns.
            CatalogLocked: another process held the catalog for longer than may be waited.
            StorageUnavailable: the catalog's place can't be written.
        """
        address = settings.resolved_catalog_uri
        options = {
            "type": settings.catalog_type,
            "uri": _patient(address, settings.lock_timeout_seconds),
            "warehouse": _absolute(settings.resolved_warehouse),
            "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
        }
        with catalog_errors(address):
            catalog = _connect(options)
            _refuse_old_tables(catalog, address)
        return cls(catalog, address, preset)

    def load(self, name: str) -> Table | None:
        """The table as the catalog holds it now; None where it was never made."""
        with catalog_errors(self._address):
            try:
                return self._catalog.load_table((self._namespace, name))
            except (NoSuchTableError, NoSuchNamespaceError):
                return None

    def create(self, contract: Contract) -> Table:
        """The table, made without a snapshot where it is missing, as is the namespace."""
        table = self.load(contract.name)
        if table is not None:
            return table
        schema = iceberg_schema(contract)
        properties = {
            **_PROPERTIES,
            **contract.properties,
            "comment": contract.grain,
            "schema.name-mapping.default": schema.name_mapping.model_dump_json(),
        }
        with catalog_errors(self._address), storage_errors(f"the place of table {contract.name}"):
            self._create_namespace()
            try:
                return self._catalog.create_table(
                    (self._namespace, contract.name),
                    schema=schema,
                    partition_spec=partition_spec(contract, schema),
                    properties=properties,
                )
            except TableAlreadyExistsError:
                return self._catalog.load_table((self._namespace, contract.name))

    def _create_namespace(self) -> None:
        try:
            if not self._catalog.namespace_exists(self._namespace):
                self._catalog.create_namespace(self._namespace, {PRESET: self._namespace})
        except (NamespaceAlreadyExistsError, IntegrityError):
            pass  # another process made it between the two calls

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

    def commit(self, table: Table, *updates: TableUpdate) -> None:
        """Make these changes to a table, provided that its head is still what `table` says.

        Raises:
            pyiceberg.exceptions.CommitFailedException: another run committed first.
            CatalogLocked: another process held the catalog for longer than may be waited.
            StorageUnavailable: the warehouse or the catalog can't be written.
        """
        head = table.current_snapshot()
        requirements = (
            AssertTableUUID(uuid=table.metadata.table_uuid),
            AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=head.snapshot_id if head else None),
        )
        with catalog_errors(self._address), storage_errors(table.location()):
            self._catalog.commit_table(table, requirements, updates)


def folder_of(table: Table) -> Folder:
    """The table's own folder."""
    location = table.location().rstrip("/")
    io = table.io
    assert isinstance(io, PyArrowFileIO), "the catalog is opened with PyArrowFileIO"
    scheme, host, path = io.parse_location(location, io.properties)
    return Folder(location, path, io.fs_by_scheme(scheme, host))


def _patient(address: str, seconds: float) -> str:
    """The address, telling SQLite to wait that long for another process's lock."""
    if not address.startswith("sqlite:///"):
        return address
    path, _, query = address.removeprefix("sqlite:///").partition("?")
    with storage_errors(str(Path(path).parent)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path}?{query + '&' if query else ''}timeout={seconds}"


def _absolute(warehouse: str) -> str:
    return warehouse if "://" in warehouse else str(Path(warehouse).absolute())


def _refuse_old_tables(catalog: Catalog, address: str) -> None:
    if (
        catalog.namespace_exists(OLD_NAMESPACE)
        and PRESET not in catalog.load_namespace_properties(OLD_NAMESPACE)
        and catalog.list_tables(OLD_NAMESPACE)
    ):
        place = _without_password(address)
        raise OldHome(
            f"catalog {place} holds tables of an earlier version, which did not keep presets "
            "apart; set SIDEREAL_HOME (or SIDEREAL_CATALOG_URI and SIDEREAL_WAREHOUSE) to a new "
            "place and run your days again: nothing there was read or changed"
        )


def _connect(options: Mapping[str, str]) -> Catalog:
    for _ in _CATALOG_TABLES:
        try:
            return load_catalog(CATALOG_NAME, **options)
        except OperationalError as error:
            # Two processes found a new catalog at once, and the other made this table first.
            if "already exists" not in str(error):
                raise
    return load_catalog(CATALOG_NAME, **options)


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
        text, place = str(error.orig), _without_password(address)
        if "locked" in text:
            raise CatalogLocked(
                f"catalog {place} is still locked by another process; nothing was committed. Let "
                "the other run end, or raise SIDEREAL_LOCK_TIMEOUT_SECONDS, then run the command "
                "again"
            ) from error
        refusals = ("readonly", "read-only", "full", "unable to open", "disk I/O")
        if any(refusal in text for refusal in refusals):
            raise StorageUnavailable(
                f"catalog {place} can't be written ({text}); nothing was committed. Free space or "
                "fix permissions, then run the command again"
            ) from error
        raise


def _without_password(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
