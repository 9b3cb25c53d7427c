"""interactions × items → user_sequences: files in, files out, one shuffle.

Spark splits the work, moves the parts and retries what fails; the rows themselves stay Arrow
columns from file to file. On the way through the JVM a row costs more than all the work on it:
reading, joining and shuffling rows there, before anything is grouped, takes twice the processor
time of this whole build (DECISIONS.md).

    read files ─▶ collapse to histories ─▶ split by user ══ shuffle ══▶ merge ─▶ one file
    └────────────── one task for some files ────────────┘             └─ one task per bucket ─┘

What crosses the shuffle is one row per bucket and collapsed batch: the bucket and its histories
as an Arrow record batch in bytes.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from feature_store.arrow import arrow_schema
from feature_store.errors import StorageUnavailable, storage_errors
from feature_store.storage import Folder
from feature_store.tables.user_sequences import USER_SEQUENCES
from pipelines.errors import DataRefused
from pipelines.transforms.histories import (
    ROWS,
    SCHEMA,
    Catalogue,
    Histories,
    HistoriesTooShort,
    UnknownItems,
)
from pipelines.transforms.history_merge import EVENTS_AT_ONCE, from_events, merge_stream

MOST_BUCKETS = 1000
_IDS = ["user_id", "item_id"]
_EVENTS = [*_IDS, "event_time", "tie_order", "strength"]


@dataclass(frozen=True, kw_only=True)
class SequenceFiles:
    """Parquet files that a day's histories are made from, all in one warehouse.

    Args:
        events: of `interactions`.
        histories: of `user_sequences`: an earlier day, whose events `events` then leaves out.
        histories_before: of `histories` only the events before the beginning of this day (UTC)
            count; None: all.
        items: of `items`.
    """

    events: Sequence[str]
    histories: Sequence[str]
    items: Sequence[str]
    histories_before: date | None = None


@dataclass(frozen=True, kw_only=True)
class SequenceBuild:
    """One build of user_sequences.

    Args:
        files: what is read.
        folder: where the files of the result go.
        day: the day of the result's rows.
        max_events: events kept per user, the last ones.
        minimum_strength: events below are left out.
        buckets: files of the result; users are spread over them.
    """

    files: SequenceFiles
    folder: Folder
    day: date
    max_events: int
    minimum_strength: int
    buckets: int

    def run(self, spark: SparkSession) -> int:
        """Write the histories of all users as Parquet files; returns how many users there are.

        Each file holds rows of `user_sequences` in the order of user_id. The rows depend on the
        inputs' rows alone, not on how they lie in files or which task reads them when. A task
        that runs twice leaves one file.

        Raises:
            DataRefused: an event's item isn't in `items`.
            HistoriesTooShort: `histories` were cut to fewer events than `histories_before` needs.
            StorageUnavailable: the folder can't be written.
        """
        files = [*self.files.events, *self.files.histories]
        if not files:
            return 0
        tasks = min(len(files), 4 * spark.sparkContext.defaultParallelism)
        collapsed = spark.range(0, tasks, 1, tasks).mapInArrow(
            _Collapse(self, tasks), "bucket int, histories binary"
        )
        written = collapsed.repartitionById(self.buckets, F.col("bucket")).mapInArrow(
            _Write(self), "users long"
        )
        try:
            return sum(row.users for row in written.collect())
        except PySparkException as error:
            raise _as_ours(error) from error


def buckets_for(num_events: int) -> int:
    """How many buckets so that each has about `EVENTS_AT_ONCE` of these events."""
    return min(-(-max(num_events, 1) // EVENTS_AT_ONCE), MOST_BUCKETS)


@dataclass(frozen=True)
class _Collapse:
    """Task numbers → parts of histories, for `mapInArrow`."""

    build: SequenceBuild
    tasks: int

    def __call__(self, numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in numbers:
            for number in batch["id"].to_pylist():
                for histories in self._histories(number):
                    yield _pack(histories.split(self.build.buckets))

    def _histories(self, number: int) -> Iterator[Histories]:
        files = self.build.files
        yield from self._from_events(files.events[number :: self.tasks])
        for file in files.histories[number :: self.tasks]:
            rows = max(EVENTS_AT_ONCE // self.build.max_events, 1)
            for batch in _open(self.build.folder, file).iter_batches(
                rows, columns=ROWS.names, use_threads=False
            ):
                histories = Histories.from_arrow(batch)
                if files.histories_before is not None:
                    histories = histories.before(_microseconds(files.histories_before))
                yield histories

    def _from_events(self, files: Sequence[str]) -> Iterator[Histories]:
        for events in _tables(self.build.folder, files):
            yield from_events(
                events,
                _catalogue(self.build.folder, tuple(self.build.files.items)),
                max_events=self.build.max_events,
                minimum_strength=self.build.minimum_strength,
            )


@dataclass(frozen=True)
class _Write:
    """Parts of one bucket → its file, for `mapInArrow`; says how many users the file has."""

    build: SequenceBuild

    def __call__(self, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for histories in merge_stream(_unpack(rows), max_events=self.build.max_events):
            histories.require_complete(self.build.max_events)
            self._write(histories.to_arrow().select(ROWS.names))
            yield pa.record_batch({"users": pa.array([len(histories.user_ids)], pa.int64())})

    def _write(self, rows: pa.RecordBatch) -> None:
        day = pa.repeat(pa.scalar(self.build.day, pa.date32()), rows.num_rows)
        table = pa.table([day, *rows.columns], schema=arrow_schema(USER_SEQUENCES))
        folder, task = self.build.folder, TaskContext.get()
        assert task is not None, "Spark calls this inside a task"
        name = f"part-{task.partitionId():05d}.parquet"
        # Hidden until it is whole: another attempt at the task may be writing, too.
        attempt = f"{folder.path}/.{task.taskAttemptId()}-{name}"
        with storage_errors(folder.uri):
            folder.filesystem.create_dir(folder.path, recursive=True)
            pq.write_table(table, attempt, filesystem=folder.filesystem, compression="zstd")
            folder.filesystem.move(attempt, f"{folder.path}/{name}")


def _pack(parts: Sequence[Histories]) -> pa.RecordBatch:
    """One row per bucket that has users: its number, and its histories as bytes of Arrow."""
    numbers = [number for number, part in enumerate(parts) if len(part.user_ids)]
    packed = [parts[number].to_arrow().serialize() for number in numbers]
    ends = np.cumsum([0, *(part.size for part in packed)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(packed))]
    histories = pa.Array.from_buffers(pa.binary(), len(numbers), buffers)
    return pa.record_batch([pa.array(numbers, pa.int32()), histories], ["bucket", "histories"])


def _unpack(rows: Iterator[pa.RecordBatch]) -> Iterator[Histories]:
    for batch in rows:
        for packed in batch["histories"]:
            yield Histories.from_arrow(pa.ipc.read_record_batch(packed.as_buffer(), SCHEMA))


def _tables(folder: Folder, files: Sequence[str]) -> Iterator[pa.Table]:
    """Events of the files, about `EVENTS_AT_ONCE` at a time; ids as dictionaries."""
    held: list[pa.RecordBatch] = []
    num_held = 0
    for file in files:
        for batch in _open(folder, file, read_dictionary=_IDS).iter_batches(
            EVENTS_AT_ONCE, columns=_EVENTS, use_threads=False
        ):
            # Files of several writers differ in what they declare to be never null.
            held.append(pa.RecordBatch.from_arrays(batch.columns, names=batch.schema.names))
            num_held += batch.num_rows
            if num_held >= EVENTS_AT_ONCE:
                yield pa.Table.from_batches(held)
                held, num_held = [], 0
    if held:
        yield pa.Table.from_batches(held)


def _microseconds(day: date) -> int:
    """The beginning of a day, UTC, in microseconds since 1970."""
    return (day - date(1970, 1, 1)).days * 86_400_000_000


def _open(folder: Folder, uri: str, **options: Any) -> pq.ParquetFile:
    """An open Parquet file of the folder's warehouse."""
    # A folder's address and path differ by the scheme alone, and so do its neighbours'.
    path = uri.removeprefix(folder.uri.removesuffix(folder.path))
    return pq.ParquetFile(path, filesystem=folder.filesystem, **options)


@lru_cache(maxsize=1)
def _catalogue(folder: Folder, files: tuple[str, ...]) -> Catalogue:
    """item_id → item_index, read once per worker: a data file of the warehouse never changes."""
    columns = ["item_id", "item_index"]
    items = pa.concat_tables(
        _open(folder, file).read(columns=columns, use_threads=False) for file in files
    ).combine_chunks()
    return Catalogue(items["item_id"].chunk(0), items["item_index"].to_numpy())


def _as_ours(error: PySparkException) -> Exception:
    """The error that a worker raised, where it is one of ours; else Spark's own."""
    ours: dict[type[Exception], type[Exception]] = {
        UnknownItems: DataRefused,
        HistoriesTooShort: HistoriesTooShort,
        StorageUnavailable: StorageUnavailable,
    }
    for raised, meant in ours.items():
        found = re.search(rf"\b{raised.__name__}: (.+)", str(error))
        if found:
            return meant(found[1])
    unknown: Exception = error
    return unknown
