"""Recommendations as a file: written beside its place, then renamed.

Parquet and JSON lines hold a row per user, CSV a row per user and place of the list. The same rows
make the same bytes, so what is there already is left alone.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from feature_store.log_lines import Progress
from training.export.lines import json_lines
from training.export.rows import Exported, ExportError, Rows

LOG = logging.getLogger(__name__)
_CHUNK_BYTES = 1 << 20

Write = Callable[[Iterator[pa.RecordBatch], BinaryIO], None]


def to_file(rows: Rows, path: Path, suffix: str) -> Exported:
    """Write the rows to a file; the file that was there stays until they are all written.

    Raises:
        ExportError: another export writes the same file.
        OSError: the file can't be written.
    """
    with _beside(path) as file:
        WRITERS[suffix](_counted(rows), file)
        file.flush()
        os.fsync(file.fileno())
        if _same(Path(file.name), path):
            return Exported("unchanged", str(path), rows.users, 0)
        Path(file.name).replace(path)
        _sync(path.absolute().parent)
    return Exported("done", str(path), rows.users, rows.users)


def _counted(rows: Rows) -> Iterator[pa.RecordBatch]:
    progress, done = Progress(LOG, "export: users", rows.users), 0
    for batch in rows.batches():
        yield batch
        done += batch.num_rows
        progress.at(done)


def _write_parquet(batches: Iterator[pa.RecordBatch], file: BinaryIO) -> None:
    writer = None
    for batch in batches:
        writer = writer or pq.ParquetWriter(file, batch.schema, compression="zstd")
        writer.write_batch(batch)
    if writer is not None:
        writer.close()


def _write_csv(batches: Iterator[pa.RecordBatch], file: BinaryIO) -> None:
    writer = None
    for batch in batches:
        flat = one_row_a_place(batch)
        writer = writer or pa.csv.CSVWriter(file, flat.schema)
        writer.write_batch(flat)
    if writer is not None:
        writer.close()


def _write_json_lines(batches: Iterator[pa.RecordBatch], file: BinaryIO) -> None:
    for batch in batches:
        lines = pc.binary_join_element_wise(json_lines(batch), "\n", "")
        # The data of a text array is its texts one after the other: what the file holds.
        _, offsets, texts = lines.buffers()
        ends = pa.Array.from_buffers(pa.int32(), len(lines) + 1, [None, offsets])
        file.write(texts[ends[0].as_py() : ends[-1].as_py()])


WRITERS: dict[str, Write] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
}


def one_row_a_place(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Lists as rows: `day, user_id, place, item_id, score, model_family, model_version`.

    `place` counts from 1; a user with an empty list has no row.
    """
    items = batch["item_ids"]
    row = pc.list_parent_indices(items)
    before = pc.subtract(items.offsets.slice(0, len(items)), items.offsets[0]).take(row)
    place = pc.add(pc.subtract(pa.array(np.arange(len(row), dtype=np.int32)), before), 1)
    return pa.RecordBatch.from_arrays(
        [
            batch["day"].take(row),
            batch["user_id"].take(row),
            place,
            items.flatten(),
            batch["scores"].flatten(),
            batch["model_family"].take(row),
            batch["model_version"].take(row),
        ],
        ["day", "user_id", "place", "item_id", "score", "model_family", "model_version"],
    )


@contextmanager
def _beside(path: Path) -> Iterator[BinaryIO]:
    """A file beside the path, for this process alone; gone at the end unless it was renamed."""
    beside = path.with_name(f".{path.name}.partial")
    while True:
        file = beside.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise ExportError(
                f"another export writes {path}; wait for it, then run again"
            ) from error
        # The one who held it may just have renamed or removed it.
        if beside.exists() and beside.stat().st_ino == os.fstat(file.fileno()).st_ino:
            break
        file.close()
    with file:
        file.truncate(0)
        try:
            yield file
        finally:
            if beside.exists() and beside.stat().st_ino == os.fstat(file.fileno()).st_ino:
                beside.unlink()


def _same(one: Path, other: Path) -> bool:
    if not other.is_file() or one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as ours, other.open("rb") as theirs:
        while chunk := ours.read(_CHUNK_BYTES):
            if chunk != theirs.read(_CHUNK_BYTES):
                return False
    return True


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
