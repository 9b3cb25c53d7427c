"""Anyone's own log in Parquet, CSV or JSON lines, through the column mapping of a preset."""

import re
from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from feature_store.settings import Settings
from pipelines.config import CatalogueMapping, TableSource
from pipelines.errors import DataRefused, DeliveryUnreadable
from pipelines.sources.interface import Catalogue, Delimited, RawLog
from pipelines.sources.raw_files import RawFiles
from pipelines.sources.raw_rows import named

_DAY = r"(?P<day>\d{4}-\d{2}-\d{2})"
_ENTRY = re.compile(rf"(?:(?:day|date|dt)=)?{_DAY}(?:\.[a-z]+)*")
_SUFFIXES = {
    "parquet": (".parquet",),
    "csv": (".csv", ".csv.gz", ".csv.bz2", ".csv.zst"),
    "json": (".json", ".jsonl", ".json.gz", ".jsonl.gz", ".json.bz2", ".json.zst"),
}


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
        path = self._config.path
        if "{day}" in path:
            root, days = self._days_of_pattern(path)
        else:
            root = self._files.resolve(path)
            days = self._days_in(root)
            if not days:
                return [self._log(self._contents(root), root=root)]
        if day not in days:
            known = f"there are {len(days)} from {min(days)} to {max(days)}" if days else "none"
            raise DeliveryUnreadable(
                f"no delivery for {day} at {self._files.resolve(path)}; {known}. Run the day again "
                "when it has arrived"
            )
        wanted = [each for each in sorted(days) if each <= day] if bootstrap else [day]
        parts = {each: self._contents(days[each]) for each in wanted}
        files = [file for contents in parts.values() for file in contents]
        of = [each for each, contents in parts.items() for _ in contents]
        return [self._log(files, root=root, days=of)]

    def catalogue(self, day: date) -> Catalogue | None:
        """The mapped catalogue; None where the preset names none."""
        mapping = self._config.catalogue
        if mapping is None:
            return None
        address = self._files.resolve(mapping.path)
        if not self._files.exists(address):
            raise DeliveryUnreadable(f"source.catalogue.path: nothing at {address}")
        rows = _read_catalogue(self._spark, address, mapping)
        files = tuple(rows.inputFiles())
        return Catalogue(rows=_mapped_catalogue(rows, mapping), files=files)

    def _log(self, files: list[str], *, root: str, days: Sequence[date] = ()) -> RawLog:
        kind = self._config.format
        return RawLog(
            files=tuple(files),
            format=Delimited() if kind == "csv" else kind,
            columns=self._config.columns,
            holds="day" if days else "dump",
            root=root if files != [root] else root.rpartition("/")[0],
            days=tuple(days),
        )

    def _days_in(self, folder: str) -> dict[date, str]:
        found = [(name, _ENTRY.fullmatch(name)) for name in self._files.names(folder)]
        return {date.fromisoformat(m["day"]): f"{folder}/{name}" for name, m in found if m}

    def _days_of_pattern(self, path: str) -> tuple[str, dict[date, str]]:
        """The folder in which `{day}` first stands, and the days whose delivery `path` finds."""
        before, _, _ = path.partition("{day}")
        parent = before.rpartition("/")[0]
        part = path[len(parent) :].lstrip("/").split("/")[0]
        folder = self._files.resolve(parent)
        entry = _day_pattern(part)
        found = [entry.fullmatch(name) for name in self._files.names(folder)]
        days = [date.fromisoformat(match["day"]) for match in found if match]
        full = {day: self._files.resolve(path.replace("{day}", day.isoformat())) for day in days}
        return folder, {day: file for day, file in full.items() if self._files.exists(file)}

    def _contents(self, address: str) -> list[str]:
        if not self._files.exists(address):
            raise DeliveryUnreadable(f"source.path: nothing at {address}")
        if not self._files.is_folder(address):
            return [address]
        suffixes = _SUFFIXES[self._config.format]
        names = self._files.names(address)
        files = [f"{address}/{name}" for name in names if name.endswith(suffixes)]
        if not files:
            raise DeliveryUnreadable(
                f"no {self._config.format} files in {address}: found {names[:10]}, expected names "
                f"ending in {', '.join(suffixes)}"
            )
        return files


def _day_pattern(name: str) -> re.Pattern[str]:
    """What matches a name in which `{day}` stands for a day, the same one wherever it stands."""
    first, *others = re.escape(name).split(re.escape("{day}"))
    return re.compile(first + _DAY + "(?P=day)".join(others))


def _read_catalogue(spark: SparkSession, address: str, mapping: CatalogueMapping) -> DataFrame:
    if mapping.format == "parquet":
        return spark.read.parquet(address)
    if mapping.format == "json":
        return spark.read.json(address, primitivesAsString=True)
    return spark.read.csv(address, header=True, multiLine=True, escape='"')


def _mapped_catalogue(rows: DataFrame, mapping: CatalogueMapping) -> DataFrame:
    wanted = [mapping.item_id, mapping.title, *mapping.text, *mapping.attributes]
    there = {name.lower() for name in rows.columns}
    missing = sorted({name for name in wanted if name and name.lower() not in there})
    if missing:
        raise DataRefused(
            f"catalogue {mapping.path}: columns {missing} are missing; found {rows.columns}. "
            "Correct source.catalogue in the preset or deliver them again"
        )
    pairs = [p for name in mapping.attributes for p in (F.lit(name), _text(rows, name))]
    attributes = F.create_map(*pairs) if pairs else F.create_map().cast("map<string,string>")
    title = _text(rows, mapping.title) if mapping.title else F.lit(None).cast("string")
    body = F.concat_ws("\n", *(_text(rows, name) for name in mapping.text))
    return rows.select(
        _text(rows, mapping.item_id).alias("item_id"),
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
