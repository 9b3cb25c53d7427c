"""What a source of raw feedback must say: which files a run reads, and what their columns mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal, Protocol, Self

from pyspark.sql import DataFrame

from pipelines.config import ColumnMapping, StrengthRule

ROW = "_row"
"""Struct of every raw row: source_file, delivery_day (null in a dump), line, raw (its text),
problem (why it has no columns)."""


@dataclass(frozen=True)
class LeftOut:
    """A file of a delivery that no row is read from.

    Args:
        file: its name, with as many folders as name it.
        why: what it is instead, for the run's record.
    """

    file: str
    why: str


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
        root: the folder that files are named from: below `k`, `k/log/2022-04-25.csv` is
            `log/2022-04-25.csv`.
        rules: strength rules, whose columns must be there, too.
        days: of each file, in the same order, the day whose delivery it is; empty for a dump.
        delivered: the days whose deliveries were read, those without a row included; empty for a
            dump.
        left_out: what lies beside the files and isn't read.
    """

    files: tuple[str, ...]
    format: Delimited | Literal["json", "parquet"]
    columns: ColumnMapping
    holds: Literal["day", "dump"]
    root: str
    rules: tuple[StrengthRule, ...] = ()
    days: tuple[date, ...] = ()
    delivered: tuple[date, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def of_days(self, files: Mapping[date, Sequence[object]]) -> Self:
        """The same files as deliveries of days, given how many of them, in order, are each day's.

        Example:
            Three files of which two are the 9th's and one the 10th's have the days 9, 9 and 10.
        """
        days = tuple(day for day, of_day in files.items() for _ in of_day)
        return replace(self, holds="day", days=days, delivered=tuple(files))

    def name(self, file: str) -> str:
        """What tables and messages call a file of it."""
        return file.removeprefix(f"{self.root}/")


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The items of a source, as a run for a day sees them.

    Args:
        rows: item_id in the form of events' ids, as `identifiers` brings both to it; title, text,
            attributes.
        files: addresses of what they are read from.
        holds: `day`, what was delivered for one day (an earlier day's is an older catalogue);
            `one`, the only catalogue there is.
        day: the day it was delivered for, where it holds one.
        left_out: what lies beside the files and isn't read.
    """

    rows: DataFrame
    files: tuple[str, ...]
    holds: Literal["day", "one"] = "one"
    day: date | None = None
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, kw_only=True)
class People:
    """What a source says of people, as a run for a day sees it.

    Args:
        rows: user_id in the form of events' ids, attributes; any number of rows of a person.
        files: addresses of what they are read from.
        left_out: what lies beside the files and isn't read.
    """

    rows: DataFrame
    files: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()


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

    def catalogue(self, day: date) -> Catalogue | None:
        """The newest catalogue of up to a day; None where the source has no catalogue.

        Args:
            day: the run's day.

        Raises:
            DataRefused: it can't be read as a catalogue.
            DeliveryUnreadable: the catalogue should be there and isn't.
        """
        ...

    def users(self, day: date) -> People | None:
        """The newest file on people of up to a day; None where the source has none.

        Args:
            day: the run's day.

        Raises:
            DataRefused: it can't be read as one, or its columns are others.
            DeliveryUnreadable: the file should be there and isn't.
        """
        ...
