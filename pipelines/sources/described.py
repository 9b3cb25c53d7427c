"""Files that say something of items or of people: where they are, and lines that are no row."""

from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from feature_store.preset_problems import near
from pipelines.config import CatalogueMapping, UsersMapping
from pipelines.errors import DataRefused, DeliveryUnreadable
from pipelines.sources.discovery import Contents, contents, days_of_pattern, deliveries
from pipelines.sources.interface import ROW
from pipelines.sources.raw_files import RawFiles

LONGEST_ROW = 1 << 24
"""Characters of a row of text."""
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Described:
    """Files of one mapping that a run reads.

    Args:
        there: the files, at least one.
        names: by address, what messages call them.
        day: the day they were delivered for; None where there is one delivery for all days.
    """

    there: Contents
    names: dict[str, str]
    day: date | None


def described(
    files: RawFiles, mapping: CatalogueMapping | UsersMapping, day: date, *, key: str, what: str
) -> Described:
    """The newest files of a mapping of up to a day.

    Args:
        files: where they are.
        mapping: of what is described.
        day: the run's.
        key: of the preset, in messages.
        what: is described, in messages.

    Raises:
        DataRefused: the files have zero bytes.
        DeliveryUnreadable: there is none.
    """
    if "{day}" in mapping.path:
        days = days_of_pattern(files, mapping.path, mapping.format)
        newest = max((each for each in days.forms if each <= day), default=None)
        if newest is None:
            raise DeliveryUnreadable(
                f"{key}.path: no {what} of {day} or before it at {files.resolve(mapping.path)}. "
                "Run the day again when it has arrived"
            )
        found, left_out = deliveries(files, days, [newest], mapping.format)
        there, root = Contents(files=found[newest], left_out=left_out), days.folder
    else:
        address, newest = files.resolve(mapping.path), None
        if not files.exists(address):
            raise nothing_at(files, f"{key}.path", address)
        root = address.rpartition("/")[0]
        there = contents(files, address, mapping.format, root=root)
    if not there.files:
        raise DataRefused(
            f"{key}: {', '.join(file.file for file in there.left_out)} has zero bytes; a {what} "
            "has at least one row. Deliver it again"
        )
    names = {file.address: file.address.removeprefix(f"{root}/") for file in there.files}
    return Described(there=there, names=names, day=newest)


def nothing_at(files: RawFiles, key: str, address: str) -> DeliveryUnreadable:
    """What to say where nothing is at an address that a preset names."""
    folder, _, name = address.rpartition("/")
    nearest = near(name, files.names(folder))
    hint = f" (did you mean {folder}/{nearest}?)" if nearest else ""
    return DeliveryUnreadable(
        f"{key}: nothing at {address}{hint}. Put the data there, or correct the preset"
    )


def refuse_broken(rows: DataFrame, *, what: str, key: str, first_line: int, of: str) -> None:
    """Refuse a file with a line that is no row; there is no quarantine for it.

    Args:
        rows: as `read_parts` gives them.
        what: is described, in messages.
        key: of the preset, in messages.
        first_line: of the file's rows.
        of: what a row is.

    Raises:
        DataRefused: with the file, the line and what is wrong with it.
    """
    place = F.struct(f"{ROW}.source_file", f"{ROW}.line", f"{ROW}.problem")
    broken = rows.where(F.col(f"{ROW}.problem").isNotNull())
    counted = broken.agg(
        F.count(F.lit(1)).alias("rows"),
        F.slice(F.array_sort(F.collect_list(place)), 1, _SHOWN).alias("first"),
    ).collect()[0]
    if counted["rows"]:
        listed = "; ".join(
            f"{each['source_file']} line {each['line'] + first_line}: {each['problem']}"
            for each in counted["first"]
        )
        rest = counted["rows"] - len(counted["first"])
        more = f"; and {rest:,} more" if rest else ""
        raise DataRefused(
            f"{key}: {listed}{more}. No {of} was published; correct the {what}, then run the day "
            "again"
        )
