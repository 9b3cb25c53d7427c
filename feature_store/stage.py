"""Staged files: written beside the table, checked against its contract, not yet visible."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_store.arrow import (
    arrow_schema,
    conform,
    null_counts,
    schema_differences,
    to_contract,
)
from feature_store.content_hash import Digest, digest
from feature_store.contract import Contract
from feature_store.errors import ContractViolation, storage_errors
from feature_store.snapshot import DataFile, PartitionValue
from feature_store.storage import Folder, StoredFile

STAGED = "staged-"
DIGESTS = "_digests.json"
"""Rows and digest of each file of a stage, beside the files, for as long as they live."""
BATCH_BYTES = 32 << 20
"""Aim for the memory of one batch when files are streamed."""
FILE_BYTES = 512 << 20
"""Arrow bytes after which a streaming writer begins a new file."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A place for the files of one publish.

    `directory` is unique and not there yet: Spark's default mode makes it, `write` does, and
    anything below it named *.parquet counts.
    """

    contract: Contract
    day: date
    job: str
    folder: Folder
    base: int | None
    """The table's head when the stage was made: what the job may have read."""

    @property
    def table(self) -> str:
        """Name of the table it is for."""
        return self.contract.name

    @property
    def directory(self) -> str:
        """Path or URI that the writer puts Parquet files below."""
        return self.folder.uri

    def files(self) -> list[str]:
        """Parquet files staged so far, as the writer left them."""
        return [file.uri for file in _parquet_files(self.folder)]

    def write(self, rows: pa.Table | pa.RecordBatch | Iterable[pa.RecordBatch]) -> None:
        """Write rows as files of one partition each, sorted by the contract's order.

        Args:
            rows: a table, or batches that are written as they come, so that memory stays bounded.

        Raises:
            ContractViolation: column names differ, or a value doesn't fit its column's type.
            StorageUnavailable: the storage is read-only, full or not permitted.
        """
        self.folder.create()
        number = len(self.files())
        for table in _chunks(rows):
            for part in _partitions(to_contract(table, self.contract), self.contract):
                path = f"{self.folder.path}/part-{number:05d}.parquet"
                with storage_errors(self.directory):
                    pq.write_table(
                        part, path, filesystem=self.folder.filesystem, compression="zstd"
                    )
                number += 1


def _chunks(rows: pa.Table | pa.RecordBatch | Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    if isinstance(rows, pa.Table):
        yield rows
        return
    if isinstance(rows, pa.RecordBatch):
        yield pa.Table.from_batches([rows])
        return
    held: list[pa.RecordBatch] = []
    for batch in rows:
        held.append(batch)
        if sum(part.nbytes for part in held) >= FILE_BYTES:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


def _partitions(table: pa.Table, contract: Contract) -> Iterator[pa.Table]:
    keys = [name for name in (contract.partition, *contract.order) if name]
    ordered = table.sort_by([(name, "ascending") for name in keys]) if keys else table
    if contract.partition is None or not len(ordered):
        yield ordered
        return
    runs = pc.run_end_encode(ordered[contract.partition].combine_chunks())
    start = 0
    for end in runs.run_ends.to_pylist():
        yield ordered.slice(start, end - start)
        start = end


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A staged file that keeps the contract, with its digest."""

    file: DataFile
    digest: Digest


def check(stage: Stage, replace: Sequence[PartitionValue] | None) -> list[CheckedFile]:
    """Read every staged file once: names, types, forbidden nulls, one partition, the digest.

    Files without rows hold nothing and are left out.

    Raises:
        ContractViolation: with every difference of every file.
    """
    problems: list[str] = []
    checked: list[CheckedFile] = []
    for stored in _parquet_files(stage.folder):
        name = stored.uri.removeprefix(stage.directory).lstrip("/")
        found, differences = _check_file(stage, stored.uri, stored.bytes, replace)
        problems += [f"{name}: {difference}" for difference in differences]
        if found is not None and found.file.rows:
            checked.append(found)
    if problems:
        raise ContractViolation(stage.table, _once_per_difference(problems))
    return checked


def _once_per_difference(problems: Sequence[str]) -> list[str]:
    """Say once what several files share, with how many share it."""
    by_text: dict[str, list[str]] = {}
    for problem in problems:
        name, _, text = problem.partition(": ")
        by_text.setdefault(text, []).append(name)
    return [
        f"{names[0]}{f' and {len(names) - 1} more files' if len(names) > 1 else ''}: {text}"
        for text, names in by_text.items()
    ]


def _check_file(
    stage: Stage, uri: str, size: int, replace: Sequence[PartitionValue] | None
) -> tuple[CheckedFile | None, list[str]]:
    contract = stage.contract
    try:
        file = open_parquet(stage.folder, uri)
    except pa.ArrowInvalid as error:
        return None, [f"not a readable Parquet file ({error})"]
    with file:
        differences = schema_differences(file.schema_arrow, contract)
        if differences:
            return None, differences
        nulls: dict[str, int] = {}
        values: set[PartitionValue | None] = set()
        total = Digest()
        schema = arrow_schema(contract)
        for batch in batches(file, list(contract.column_names)):
            for name, count in null_counts(batch, contract).items():
                nulls[name] = nulls.get(name, 0) + count
            conformed = conform(batch, schema)
            total += digest([conformed])
            if contract.partition is not None:
                values.update(pc.unique(conformed.column(contract.partition)).to_pylist())
    differences += [f"column {n!r} holds {c} nulls, expected none" for n, c in nulls.items()]
    differences += _partition_differences(contract, values, replace)
    value = next(iter(values), None)
    return CheckedFile(DataFile(uri, value, total.rows, size), total), differences


def _partition_differences(
    contract: Contract,
    values: set[PartitionValue | None],
    replace: Sequence[PartitionValue] | None,
) -> list[str]:
    problems = []
    if len(values) > 1:
        problems.append(
            f"holds {len(values)} values of partition column {contract.partition!r}, "
            "expected one per file"
        )
    strange = [] if replace is None else sorted(str(v) for v in values - set(replace))
    if contract.partition is not None and strange:
        problems.append(
            f"holds rows of {contract.partition} {', '.join(strange)}, which is not among the "
            f"partitions to replace ({', '.join(str(value) for value in replace or ())})"
        )
    return problems


def _parquet_files(folder: Folder) -> list[StoredFile]:
    def counts(uri: str) -> bool:
        parts = uri.removeprefix(folder.uri).strip("/").split("/")
        return parts[-1].endswith(".parquet") and not any(p.startswith(("_", ".")) for p in parts)

    return [file for file in folder.files() if counts(file.uri)]


def open_parquet(folder: Folder, uri: str) -> pq.ParquetFile:
    """An open Parquet file below the folder, its columns read ahead."""
    return pq.ParquetFile(folder.path_of(uri), filesystem=folder.filesystem, pre_buffer=True)


def batches(file: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The file's rows in batches of about `BATCH_BYTES`, however wide a row is."""
    metadata = file.metadata
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    rows = BATCH_BYTES * max(metadata.num_rows, 1) // max(size, 1)
    yield from file.iter_batches(batch_size=min(max(rows, 256), 65_536), columns=columns)


def stage_of(uri: str) -> str | None:
    """URI of the stage that a file was written to; None for a file that no stage wrote."""
    before, separator, after = uri.partition(f"/{STAGED}")
    return f"{before}{separator}{after.partition('/')[0]}" if separator else None


def write_digests(stage: Stage, checked: Sequence[CheckedFile]) -> None:
    """Leave rows and digests beside the files, so that nobody has to read them again for it."""
    facts = {
        item.file.uri.removeprefix(stage.directory + "/"): [item.file.rows, str(item.digest)]
        for item in checked
    }
    stage.folder.write(DIGESTS, json.dumps(facts, indent=0).encode())


def read_digests(folder: Folder) -> dict[str, Digest]:
    """Digest of each file of a stage, by URI; empty where nobody left any."""
    content = folder.read(DIGESTS)
    facts = json.loads(content) if content else {}
    return {
        f"{folder.uri}/{name}": Digest.parse(text, rows) for name, (rows, text) in facts.items()
    }
