"""What a source of raw feedback must say: which files a run reads, and what their columns mean."""

from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol

from pyspark.sql import DataFrame

from pipelines.config import ColumnMapping


@dataclass(frozen=True, kw_only=True)
class Delimited:
    """Text lines cut by a separator.

    Args:
        separator: one or more characters between two fields.
        names: the columns, where the file has no header.
        rename: what we call a column of the header, where that is not its own name.
        quoted: whether a field may stand in double quotes.
    """

    separator: str = ","
    names: tuple[str, ...] | None = None
    rename: tuple[tuple[str, str], ...] = ()
    quoted: bool = True


@dataclass(frozen=True, kw_only=True)
class RawLog:
    """Raw files of one layout that a run reads.

    Args:
        files: addresses as Spark reads them.
        format: how a file becomes rows; a `Delimited` describes text with fields.
        columns: which raw column means what.
        holds: `day`, what one night delivered: each row is a row of this run; `dump`, events of
            all times: the rows of this run are those that no earlier run took.
        depth: how many trailing parts of a file's path name it (`log/2022-04-25.csv` has 2).
    """

    files: tuple[str, ...]
    format: Delimited | Literal["json", "parquet"]
    columns: ColumnMapping
    holds: Literal["day", "dump"]
    depth: int = 1


class Source(Protocol):
    """One raw layout."""

    @property
    def has_catalogue(self) -> bool:
        """Whether `catalogue` gives items, so that an event's item can be unknown."""
        ...

    def logs(self, day: date, *, bootstrap: bool) -> list[RawLog]:
        """The files that a run for `day` reads.

        Args:
            day: the run's day.
            bootstrap: whether nothing was published before it, so that everything up to the end
                of the day is to be read.

        Raises:
            DeliveryUnreadable: the delivery isn't there.
        """
        ...

    def catalogue(self) -> DataFrame | None:
        """Items as item_id, title, text, attributes; None where the source has no catalogue.

        Raises:
            DeliveryUnreadable: the catalogue should be there and isn't.
        """
        ...
