"""What a killed step had answered already, kept on disk until its table is published.

The answer to some rows is a file. Its folder is named by a digest of whoever answered, and how, its
file by one of the rows that were asked: an answer that is found is the one that would be given now.
"""

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from feature_store.content_hash import digest
from feature_store.errors import storage_errors
from training.registry.bundle import digest_of

LOG = logging.getLogger(__name__)


class KeptAnswers:
    """Answers of one step of one day, on local disk.

    Answers of an attempt that asked otherwise are removed at once.

    Args:
        folder: of the step and the day, and of nobody else.
        determined_by: plain data: all that decides an answer besides the rows that are asked.
        schema: of an answer.
    Raises:
        StorageUnavailable: the folder can't be written.
    """

    def __init__(self, folder: Path, determined_by: Mapping[str, Any], schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema
        self._attempt = folder / digest_of(determined_by)
        with storage_errors(str(folder)):
            self._attempt.mkdir(parents=True, exist_ok=True)
            for other in folder.iterdir():
                if other != self._attempt:
                    LOG.info("%s: answers of an attempt that asked otherwise are removed", folder)
                    shutil.rmtree(other)

    def of(self, rows: pa.RecordBatch) -> pa.RecordBatch | None:
        """The answer to these rows; None where none was kept, or none that can be read."""
        path = self._path(rows)
        if not path.is_file():
            return None
        try:
            with pa.ipc.open_file(path) as file:
                if file.schema.equals(self._schema) and file.num_record_batches == 1:
                    return file.get_batch(0)
            found = "of another schema"
        except (pa.ArrowInvalid, OSError) as error:
            found = f"not whole ({error})"
        LOG.warning("%s is %s; its rows are asked again", path, found)
        return None

    def keep(self, rows: pa.RecordBatch, answer: pa.RecordBatch) -> None:
        """Keep the answer to these rows: written beside its place, then renamed.

        Raises:
            StorageUnavailable: the disk is full or can't be written.
        """
        path = self._path(rows)
        beside = path.with_suffix(f".{os.getpid()}.partial")
        with storage_errors(str(path)), beside.open("wb") as written:
            with pa.ipc.new_file(written, self._schema) as file:
                file.write_batch(answer)
            written.flush()
            os.fsync(written.fileno())
            beside.replace(path)

    def remove(self) -> None:
        """Remove the folder: the answers are published, or were refused."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, rows: pa.RecordBatch) -> Path:
        asked = digest([rows])
        return self._attempt / f"{asked.rows}-{asked}.arrow"
