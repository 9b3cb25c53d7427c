"""The file of items that nobody may be answered: out of stock, taken down."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

COLUMN = "item_id"


class WithheldError(Exception):
    """A file of withheld items that can't be read."""


class WithheldFile:
    """A file that is read again when it has changed.

    Args:
        path: one item id a line, or `.csv` or `.parquet` with a column `item_id`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mark: tuple[int, int, int] | None = None
        self._items: frozenset[str] = frozenset()

    def items(self) -> frozenset[str]:
        """Ids of the items, as the file has them now.

        Raises:
            WithheldError: it can't be read, or has no column `item_id`; what was read before it
                was changed is kept by whoever holds it.
        """
        try:
            status = self.path.stat()
            mark = (status.st_mtime_ns, status.st_size, status.st_ino)
            if mark != self._mark:
                self._items, self._mark = frozenset(self._read()), mark
        except (OSError, UnicodeError, pa.ArrowException, KeyError) as error:
            raise WithheldError(
                f"{self.path} can't be read as withheld items: {error}; expected one item id a"
                f" line, or a .csv or .parquet file with a column {COLUMN}"
            ) from error
        return self._items

    def _read(self) -> list[str]:
        if self.path.suffix == ".parquet":
            return _ids(pq.read_table(self.path, columns=[COLUMN]))
        if self.path.suffix == ".csv":
            text = pa.csv.ConvertOptions(column_types={COLUMN: pa.string()})
            return _ids(pa.csv.read_csv(self.path, convert_options=text))
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip()]


def _ids(rows: pa.Table) -> list[str]:
    ids = rows[COLUMN].cast(pa.string()).drop_null()
    return [str(each) for each in ids.to_pylist()]
