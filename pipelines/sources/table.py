"""Anyone's own log in Parquet, CSV or JSON lines, through the column mapping of a preset."""

from collections.abc import Sequence
from datetime import date
from typing import Literal

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from feature_store.settings import Settings
from pipelines.config import CatalogueMapping, TableSource, UsersMapping
from pipelines.errors import DataRefused, DeliveryUnreadable
from pipelines.sources.described import (
    LONGEST_ROW,
    Described,
    described,
    nothing_at,
    refuse_broken,
)
from pipelines.sources.discovery import (
    Days,
    contents,
    days_in,
    days_of_pattern,
    deliveries,
)
from pipelines.sources.file_names import Format
from pipelines.sources.interface import Catalogue, Delimited, LeftOut, People, RawLog
from pipelines.sources.parts import Parts
from pipelines.sources.raw_columns import Needs, named, needs_of_catalogue, needs_of_users
from pipelines.sources.raw_files import RawFile, RawFiles
from pipelines.sources.raw_rows import one_split_per_task, read_parts
from pipelines.transforms.identifiers import (
    floats_refused,
    holds_floats,
    identifier,
    refuse_id_column,
)


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
        there = described(self._files, mapping, day, key="source.catalogue", what="catalogue")
        rows = self._rows(mapping, there, needs_of_catalogue(mapping))
        self._refuse(rows, mapping, mapping.item_id, "source.catalogue.item_id", "catalogue")
        return Catalogue(
            rows=_mapped_catalogue(rows, mapping),
            files=tuple(there.names),
            holds="one" if there.day is None else "day",
            day=there.day,
            left_out=there.there.left_out,
        )

    def users(self, day: date) -> People | None:
        """What the mapped file says of people; None where the preset names none."""
        mapping = self._config.users
        if mapping is None:
            return None
        there = described(self._files, mapping, day, key="source.users", what="file on users")
        rows = self._rows(mapping, there, needs_of_users(mapping))
        self._refuse(rows, mapping, mapping.user_id, "source.users.user_id", "file on users")
        return People(
            rows=_mapped_users(rows, mapping),
            files=tuple(there.names),
            left_out=there.there.left_out,
        )

    def _rows(
        self, mapping: CatalogueMapping | UsersMapping, there: Described, needs: Needs
    ) -> DataFrame:
        parts = Parts(
            files=tuple(there.names),
            names=there.names,
            format=_text_or_columns(mapping.format, mapping.separator),
            needs=needs,
            longest=LONGEST_ROW,
        )
        return read_parts(self._spark, self._files, parts).frame

    def _refuse(
        self,
        rows: DataFrame,
        mapping: CatalogueMapping | UsersMapping,
        column: str,
        key: str,
        what: str,
    ) -> None:
        """Refuse broken lines, and ids that are fractions.

        Raises:
            DataRefused: with what is wrong.
        """
        with one_split_per_task(self._spark):
            refuse_broken(
                rows,
                what=what,
                key=key.rpartition(".")[0],
                first_line=2 if mapping.format == "csv" else 1,
                of="item" if isinstance(mapping, CatalogueMapping) else "user",
            )
            _refuse_floats(rows, key, column)

    def _whole(self, address: str) -> RawLog:
        """The log that one file or a folder without days is."""
        if not self._files.exists(address):
            raise nothing_at(self._files, "source.path", address)
        is_folder = self._files.is_folder(address)
        root = address if is_folder else address.rpartition("/")[0]
        there = contents(self._files, address, self._config.format, root=root)
        return self._log(there.files, there.left_out, root=root)

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


def _refuse_floats(rows: DataFrame, key: str, column: str) -> None:
    kind = rows.schema[column].dataType
    refuse_id_column(key, column, kind)
    is_float = holds_floats(named(column), kind)
    if is_float is not None and not rows.where(is_float).isEmpty():
        raise DataRefused(floats_refused(key, column))


def _mapped_catalogue(rows: DataFrame, mapping: CatalogueMapping) -> DataFrame:
    title = _text(rows, mapping.title) if mapping.title else F.lit(None).cast("string")
    body = F.concat_ws("\n", *(_text(rows, name) for name in mapping.text))
    return rows.select(
        identifier(named(mapping.item_id), rows.schema[mapping.item_id].dataType).alias("item_id"),
        title.alias("title"),
        F.when(body != "", body).alias("text"),
        _attributes(rows, mapping.attributes).alias("attributes"),
    )


def _mapped_users(rows: DataFrame, mapping: UsersMapping) -> DataFrame:
    return rows.select(
        identifier(named(mapping.user_id), rows.schema[mapping.user_id].dataType).alias("user_id"),
        _attributes(rows, mapping.attributes).alias("attributes"),
    )


def _attributes(rows: DataFrame, names: Sequence[str]) -> Column:
    """Columns as a map of text, without those that are null or empty."""
    pairs = [part for name in names for part in (F.lit(name), _text(rows, name))]
    attributes = F.create_map(*pairs) if pairs else F.create_map().cast("map<string,string>")
    return F.map_filter(attributes, lambda _, value: value.isNotNull())


def _text(rows: DataFrame, name: str) -> Column:
    """A column as text, lists joined by `|`; empty text is null."""
    column = named(name)
    if isinstance(rows.schema[name].dataType, ArrayType):
        column = F.array_join(column.cast("array<string>"), "|")
    text = F.trim(column.cast("string"))
    return F.when(text != "", text)
