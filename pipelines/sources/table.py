"""Anyone's own log in Parquet, CSV or JSON lines, through the column mapping of a preset."""

from collections.abc import Sequence
from datetime import date
from typing import Literal

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from feature_store.preset_problems import near
from feature_store.settings import Settings
from pipelines.config import CatalogueMapping, TableSource
from pipelines.errors import DataRefused, DeliveryUnreadable
from pipelines.sources.discovery import (
    Contents,
    Days,
    contents,
    days_in,
    days_of_pattern,
    deliveries,
)
from pipelines.sources.file_names import Format
from pipelines.sources.interface import ROW, Catalogue, Delimited, LeftOut, RawLog
from pipelines.sources.parts import Parts
from pipelines.sources.raw_columns import named, needs_of_catalogue
from pipelines.sources.raw_files import RawFile, RawFiles
from pipelines.sources.raw_rows import one_split_per_task, read_parts
from pipelines.transforms.identifiers import (
    floats_refused,
    holds_floats,
    identifier,
    refuse_id_column,
)

LONGEST_ITEM = 1 << 24
"""Characters of a catalogue's row of text."""
_SHOWN = 5


class Table:
    """A log, and maybe a catalogue, of one's own."""

    def __init__(self, spark: SparkSession, config: TableSource, settings: Settings) -> None:
        self._spark = spark
        self._config = config
        self._files = RawFiles(spark, settings.data_path)

    @property
    def has_catalogue(self) -> bool:
        """Whether the preset maps a catalogue."""
        return self._config.catalogue is not None

    def logs(self, day: date, *, bootstrap: bool) -> list[RawLog]:
        """The day's file or folder (to begin with: all up to the day), or the whole log."""
        path, kind = self._config.path, self._config.format
        if "{day}" in path:
            days = days_of_pattern(self._files, path, kind)
        else:
            address = self._files.resolve(path)
            days = days_in(self._files, address, kind)
            if not days.forms:
                return [self._whole(address)]
        if day not in days.forms:
            raise self._no_delivery(day, days)
        wanted = [each for each in sorted(days.forms) if each <= day] if bootstrap else [day]
        files, left_out = deliveries(self._files, days, wanted, kind)
        log = self._log([f for day in files.values() for f in day], left_out, root=days.folder)
        return [log.of_days(files)]

    def catalogue(self, day: date) -> Catalogue | None:
        """The mapped catalogue; None where the preset names none."""
        mapping = self._config.catalogue
        if mapping is None:
            return None
        if "{day}" not in mapping.path:
            address = self._files.resolve(mapping.path)
            if not self._files.exists(address):
                raise self._nothing_at("source.catalogue.path", address)
            root = address.rpartition("/")[0]
            there = contents(self._files, address, mapping.format, root=root)
            return self._catalogue(mapping, there, root, None)
        days = days_of_pattern(self._files, mapping.path, mapping.format)
        newest = max((each for each in days.forms if each <= day), default=None)
        if newest is None:
            raise DeliveryUnreadable(
                f"source.catalogue.path: no catalogue of {day} or before it at "
                f"{self._files.resolve(mapping.path)}. Run the day again when it has arrived"
            )
        files, left_out = deliveries(self._files, days, [newest], mapping.format)
        there = Contents(files=files[newest], left_out=left_out)
        return self._catalogue(mapping, there, days.folder, newest)

    def _catalogue(
        self, mapping: CatalogueMapping, there: Contents, root: str, day: date | None
    ) -> Catalogue:
        if not there.files:
            raise DataRefused(
                f"source.catalogue: {', '.join(file.file for file in there.left_out)} has zero "
                "bytes; a catalogue lists at least one item. Deliver it again"
            )
        names = {file.address: file.address.removeprefix(f"{root}/") for file in there.files}
        parts = Parts(
            files=tuple(names),
            names=names,
            format=_text_or_columns(mapping.format, mapping.separator),
            needs=needs_of_catalogue(mapping),
            longest=LONGEST_ITEM,
        )
        rows = read_parts(self._spark, self._files, parts).frame
        with one_split_per_task(self._spark):
            _refuse_broken(rows, first_line=2 if mapping.format == "csv" else 1)
            _refuse_floats(rows, mapping)
        return Catalogue(
            rows=_mapped_catalogue(rows, mapping),
            files=tuple(names),
            holds="one" if day is None else "day",
            day=day,
            left_out=there.left_out,
        )

    def _whole(self, address: str) -> RawLog:
        """The log that one file or a folder without days is."""
        if not self._files.exists(address):
            raise self._nothing_at("source.path", address)
        is_folder = self._files.is_folder(address)
        root = address if is_folder else address.rpartition("/")[0]
        there = contents(self._files, address, self._config.format, root=root)
        return self._log(there.files, there.left_out, root=root)

    def _nothing_at(self, key: str, address: str) -> DeliveryUnreadable:
        folder, _, name = address.rpartition("/")
        nearest = near(name, self._files.names(folder))
        hint = f" (did you mean {folder}/{nearest}?)" if nearest else ""
        return DeliveryUnreadable(
            f"{key}: nothing at {address}{hint}. Put the data there, or correct the preset"
        )

    def _log(
        self,
        files: Sequence[RawFile],
        left_out: tuple[LeftOut, ...],
        *,
        root: str,
    ) -> RawLog:
        return RawLog(
            files=tuple(file.address for file in files),
            format=_text_or_columns(self._config.format, self._config.separator),
            columns=self._config.columns,
            holds="dump",
            root=root,
            rules=self._config.strength,
            left_out=left_out,
        )

    def _no_delivery(self, day: date, days: Days) -> Exception:
        others = [file.file for file in days.left_out if str(day) in file.file]
        there = sorted(days.forms)
        known = f"there are {len(there)} from {there[0]} to {there[-1]}" if there else "none"
        left = f"; {', '.join(others)} is left out" if others else ""
        return DeliveryUnreadable(
            f"no delivery for {day} at {self._files.resolve(self._config.path)}; {known}{left}. "
            "Run the day again when it has arrived"
        )


def _text_or_columns(kind: Format, separator: str) -> Delimited | Literal["json", "parquet"]:
    return Delimited(separator=separator) if kind == "csv" else kind


def _refuse_broken(rows: DataFrame, *, first_line: int) -> None:
    """Refuse a catalogue with a line that is no item's; there is no quarantine for it.

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
            f"source.catalogue: {listed}{more}. No item was published; correct the catalogue, then "
            "run the day again"
        )


def _refuse_floats(rows: DataFrame, mapping: CatalogueMapping) -> None:
    kind = rows.schema[mapping.item_id].dataType
    refuse_id_column("source.catalogue.item_id", mapping.item_id, kind)
    is_float = holds_floats(named(mapping.item_id), kind)
    if is_float is not None and not rows.where(is_float).isEmpty():
        raise DataRefused(floats_refused("source.catalogue.item_id", mapping.item_id))


def _mapped_catalogue(rows: DataFrame, mapping: CatalogueMapping) -> DataFrame:
    pairs = [p for name in mapping.attributes for p in (F.lit(name), _text(rows, name))]
    attributes = F.create_map(*pairs) if pairs else F.create_map().cast("map<string,string>")
    title = _text(rows, mapping.title) if mapping.title else F.lit(None).cast("string")
    body = F.concat_ws("\n", *(_text(rows, name) for name in mapping.text))
    return rows.select(
        identifier(named(mapping.item_id), rows.schema[mapping.item_id].dataType).alias("item_id"),
        title.alias("title"),
        F.when(body != "", body).alias("text"),
        F.map_filter(attributes, lambda _, value: value.isNotNull()).alias("attributes"),
    )


def _text(rows: DataFrame, name: str) -> Column:
    """A column as text, lists joined by `|`; empty text is null."""
    column = named(name)
    if isinstance(rows.schema[name].dataType, ArrayType):
        column = F.array_join(column.cast("array<string>"), "|")
    text = F.trim(column.cast("string"))
    return F.when(text != "", text)
