"""KuaiRand: exposures of short videos with many kinds of feedback, one log a day.

Read as its authors publish it (Gao et al., CIKM 2022; KuaiRand-Pure, -1K and -27K share the
columns), either as one file a night in `log/<day>.csv[.gz]`, or as the official
`log_standard_*.csv`, each of which holds weeks. `date` and `hourmin` are local (UTC+8) and not
used: `time_ms` is the epoch.
"""

from dataclasses import replace
from datetime import date

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from feature_store.settings import Settings
from pipelines.config import ColumnMapping, EventTime, KuaiRandSource
from pipelines.errors import DeliveryUnreadable
from pipelines.sources.described import LONGEST_ROW, refuse_broken
from pipelines.sources.discovery import days_in, deliveries
from pipelines.sources.file_names import is_never_data
from pipelines.sources.interface import Catalogue, Delimited, People, RawLog
from pipelines.sources.parts import Parts
from pipelines.sources.raw_columns import Needs
from pipelines.sources.raw_files import RawFiles, literal
from pipelines.sources.raw_rows import one_split_per_task, read_parts
from pipelines.transforms.identifiers import present_text

SIGNALS = (
    "is_click",
    "is_like",
    "is_follow",
    "is_comment",
    "is_forward",
    "is_hate",
    "long_view",
    "play_time_ms",
    "duration_ms",
    "profile_stay_time",
    "comment_stay_time",
    "is_profile_enter",
    "is_rand",
    "tab",
)
_COLUMNS = ColumnMapping(
    user_id="user_id",
    item_id="video_id",
    event_time=EventTime(column="time_ms", unit="milliseconds"),
    dwell_seconds="play_time_ms",
    dwell_unit="milliseconds",
    signals=SIGNALS,
)
_ONE_HOT = tuple(f"onehot_feat{number}" for number in range(18))
PERSON = (
    *("user_active_degree", "is_lowactive_period", "is_live_streamer", "is_video_author"),
    *("follow_user_num", "follow_user_num_range", "fans_user_num", "fans_user_num_range"),
    *("friend_user_num", "friend_user_num_range", "register_days", "register_days_range"),
    *_ONE_HOT,
)
"""Attributes of people: all columns of their file but the id."""
_CATEGORIES = {
    "author": "author_id",
    "music": "music_id",
    "music_type": "music_type",
    "upload_type": "upload_type",
    "video_type": "video_type",
}


class KuaiRand:
    """Logs and feature files at one folder."""

    has_catalogue = True

    def __init__(self, spark: SparkSession, config: KuaiRandSource, settings: Settings) -> None:
        self._spark = spark
        self._config = config
        self._files = RawFiles(spark, settings.data_path)
        self._folder = self._files.resolve(config.path)

    def logs(self, day: date, *, bootstrap: bool) -> list[RawLog]:
        """The day's file; to begin with, the history and every earlier day's file, too."""
        days = days_in(self._files, f"{self._folder}/log", "csv")
        if not days.forms:
            return [self._log(self._official())]
        if day not in days.forms:
            raise DeliveryUnreadable(
                f"no delivery log/{day}.csv or .csv.gz in {self._folder}; there are "
                f"{len(days.forms)} from {min(days.forms)} to {max(days.forms)}. Run the day again "
                "when it has arrived"
            )
        wanted = [each for each in sorted(days.forms) if each <= day] if bootstrap else [day]
        files, left_out = deliveries(self._files, days, wanted, "csv")
        parts = self._log([file.address for of_day in files.values() for file in of_day])
        logs = [replace(parts, left_out=left_out).of_days(files)]
        if bootstrap and self._config.history:
            logs.append(self._log([self._history()]))
        return logs

    def catalogue(self, day: date) -> Catalogue:
        """Videos without title or text; author, music, tag and kinds as attributes."""
        files = self._feature_files("video_features_basic_*")
        return Catalogue(rows=self._videos(self._features(files)), files=tuple(files))

    def users(self, day: date) -> People | None:
        """People with all that their file says of them; None where there is no such file."""
        names = self._names("user_features_")
        if not names:
            return None
        files = tuple(f"{self._folder}/{name}" for name in names)
        columns = {"user_id": "the layout kuairand"} | dict.fromkeys(PERSON, "the layout kuairand")
        parts = Parts(
            files=files,
            names=dict(zip(files, names, strict=True)),
            format=Delimited(),
            needs=Needs(columns=columns, rows=frozenset({"user_id"})),
            longest=LONGEST_ROW,
        )
        rows = read_parts(self._spark, self._files, parts).frame
        with one_split_per_task(self._spark):
            refuse_broken(rows, what="user features", key="source.path", first_line=2, of="user")
        return People(rows=_people(rows), files=files)

    def _videos(self, rows: DataFrame) -> DataFrame:
        tags = F.array_join(F.array_sort(F.split(F.regexp_replace("tag", r"\s", ""), ",")), "|")
        values = {name: _whole(column) for name, column in _CATEGORIES.items()}
        values |= {"tag": F.when(tags != "", tags), "duration": _duration_bucket()}
        pairs = [part for name, value in values.items() for part in (F.lit(name), value)]
        return rows.select(
            present_text(F.col("video_id")).alias("item_id"),
            F.lit(None).cast("string").alias("title"),
            F.lit(None).cast("string").alias("text"),
            F.map_filter(F.create_map(*pairs), lambda _, v: v.isNotNull()).alias("attributes"),
        )

    def _log(self, files: list[str]) -> RawLog:
        return RawLog(
            files=tuple(files),
            format=Delimited(),
            columns=_COLUMNS,
            holds="dump",
            root=self._folder,
            rules=self._config.strength,
        )

    def _official(self) -> list[str]:
        names = self._names("log_standard_")
        if not names:
            raise DeliveryUnreadable(
                f"no logs in {self._folder}; expected log/<day>.csv, log/<day>.csv.gz or "
                "log_standard_*.csv. Set source.path to KuaiRand's folder"
            )
        return [f"{self._folder}/{name}" for name in names]

    def _history(self) -> str:
        address = f"{self._folder}/{self._config.history}"
        if not self._files.exists(address):
            raise DeliveryUnreadable(
                f"source.history names {address}, which isn't there; correct it or leave it empty"
            )
        return address

    def _feature_files(self, pattern: str) -> list[str]:
        names = self._names(pattern.rstrip("*"))
        if not names:
            raise DeliveryUnreadable(f"no {pattern}.csv or .csv.gz in {self._folder}")
        return [f"{self._folder}/{name}" for name in names]

    def _names(self, prefix: str) -> list[str]:
        names = self._files.names(self._folder)
        return [name for name in names if name.startswith(prefix) and not is_never_data(name)]

    def _features(self, files: list[str]) -> DataFrame:
        return self._spark.read.csv([literal(file) for file in files], header=True, escape='"')


def _people(rows: DataFrame) -> DataFrame:
    pairs = [part for name in PERSON for part in (F.lit(name), _whole(name))]
    return rows.select(
        present_text(F.col("user_id")).alias("user_id"),
        F.map_filter(F.create_map(*pairs), lambda _, v: v.isNotNull()).alias("attributes"),
    )


def _whole(column: str) -> Column:
    """A category; pandas has written some whole numbers as `9.0`."""
    return F.when(F.col(column) != "", F.regexp_replace(column, r"\.0$", ""))


def _duration_bucket() -> Column:
    """Seconds rounded down to a power of two (`32`), so that like lengths share a value."""
    seconds = F.col("video_duration").try_cast("double") / 1000
    return F.when(seconds >= 1, F.pow(2.0, F.floor(F.log2(seconds))).cast("long").cast("string"))
