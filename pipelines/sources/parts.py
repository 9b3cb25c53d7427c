"""What the readers of all formats share: the files to read, and how their rows come back."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

from pyspark.sql import DataFrame

from pipelines.sources.interface import Delimited
from pipelines.sources.raw_columns import Needs

FILE = "_row_file"
"""Column of every reader: the file, as Spark writes its address."""
LINE = "_row_line"
"""Column of every reader: the row's place in the file."""
TEXT = "_row_text"
"""Column of every reader: the row as text."""
PROBLEM = "_row_problem"
"""Column of every reader: why the row has no raw columns; null where it has them."""
_AT_ONCE = 8
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Files of one format that are read together.

    Args:
        files: addresses.
        names: what messages call them.
        format: how a file becomes rows.
        needs: the columns that must be there.
        longest: characters of a row of text; a longer one is not parsed.
    """

    files: Sequence[str]
    names: Mapping[str, str]
    format: Delimited | Literal["json", "parquet"]
    needs: Needs
    longest: int


@dataclass(frozen=True, kw_only=True)
class RawRows:
    """Rows of raw files.

    Args:
        frame: the raw columns, and what says where a row came from.
        header_repeats: lines that repeat their file's header (files joined by `cat`): no rows.
    """

    frame: DataFrame
    header_repeats: int = 0


def together(function: Callable[[str], T], files: Sequence[str]) -> dict[str, T]:
    """A function of each file, several files at a time: most of it is waiting for them."""
    if len(files) == 1:
        return {files[0]: function(files[0])}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(files, pool.map(function, files), strict=True))
