"""MovieLens in all its layouts; the one at hand is recognised from the files' names.

| layout            | ratings                            | films                                |
|-------------------|------------------------------------|--------------------------------------|
| 100K, RecBole     | `ml-100k.inter`, tabs, header      | `ml-100k.item`, tabs, header         |
| 100K, official    | `u.data`, tabs                     | `u.item`, `|`, Latin-1, genre flags  |
| 1M, 10M           | `ratings.dat`, `::`                | `movies.dat`, `::`, Latin-1          |
| 20M, 25M, 32M     | `ratings.csv`, header              | `movies.csv`, header                 |

Harper and Konstan, The MovieLens Datasets (TiiS 2015); RecBole's atomic files: recbole.io.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from feature_store.settings import Settings
from pipelines.config import ColumnMapping, EventTime, MovieLensSource
from pipelines.errors import DeliveryUnreadable
from pipelines.sources.interface import Catalogue, Delimited, RawLog
from pipelines.sources.raw_files import RawFiles, literal
from pipelines.transforms.identifiers import present_text

RATING_COLUMNS = ("user_id", "item_id", "rating", "timestamp")
"""What the four columns are called in strength rules, whatever the layout calls them."""
GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
"""The flags of `u.item`, in order, as its README lists them."""
_COLUMNS = ColumnMapping(
    user_id="user_id",
    item_id="item_id",
    event_time=EventTime(column="timestamp", unit="seconds"),
    signals=("rating",),
)
_TITLE_YEAR = r"^(.*?)\s*\((\d{4})\)\s*$"


@dataclass(frozen=True)
class _Layout:
    ratings: str
    format: Delimited
    films: str
    read_films: Callable[[SparkSession, str], DataFrame]


class MovieLens:
    """Ratings and films at one folder."""

    has_catalogue = True

    def __init__(self, spark: SparkSession, config: MovieLensSource, settings: Settings) -> None:
        self._spark = spark
        self._config = config
        self._files = RawFiles(spark, settings.data_path)
        self._folder = self._files.resolve(config.path or f"movielens-{config.dataset}")

    def logs(self, day: date, *, bootstrap: bool) -> list[RawLog]:
        """The one file with all ratings."""
        layout = self._layout()
        return [
            RawLog(
                files=(f"{self._folder}/{layout.ratings}",),
                format=layout.format,
                columns=_COLUMNS,
                holds="dump",
                root=self._folder,
                rules=self._config.strength,
            )
        ]

    def catalogue(self, day: date) -> Catalogue:
        """Films: title with its year, text of title and genres, attributes year and genre."""
        layout = self._layout()
        address = f"{self._folder}/{layout.films}"
        if not self._files.exists(address):
            raise DeliveryUnreadable(
                f"no {layout.films} beside {layout.ratings} in {self._folder}; "
                f"`sidereal fetch movielens-{self._config.dataset}` gets both"
            )
        rows = _described(layout.read_films(self._spark, literal(address)))
        return Catalogue(rows=rows, files=(address,))

    def users(self, day: date) -> None:
        """Nothing is read of people."""

    def _layout(self) -> _Layout:
        names = self._files.names(self._folder)
        for layout in _LAYOUTS:
            if layout.ratings in names:
                return layout
        raise DeliveryUnreadable(
            f"no MovieLens ratings in {self._folder}: found {names[:10]}, expected one of "
            f"{[layout.ratings for layout in _LAYOUTS]}. `sidereal fetch "
            f"movielens-{self._config.dataset}` gets them, or set source.path"
        )


def _described(films: DataFrame) -> DataFrame:
    """Catalogue rows from item_id, name, year (text or null) and genres (`|`-joined)."""
    title = F.when(F.col("year").isNull(), F.col("name")).otherwise(
        F.format_string("%s (%s)", "name", "year")
    )
    genres = F.when(F.col("genres") != "", F.col("genres"))
    spoken = F.regexp_replace(genres, r"\|", ", ")
    attributes = F.create_map(F.lit("genre"), genres, F.lit("year"), F.col("year"))
    return films.select(
        present_text(F.col("item_id")).alias("item_id"),
        title.alias("title"),
        F.concat_ws(". ", title, spoken).alias("text"),
        F.map_filter(attributes, lambda _, value: value.isNotNull()).alias("attributes"),
    )


def _atomic_films(spark: SparkSession, file: str) -> DataFrame:
    rows = spark.read.csv(file, sep="\t", header=True, quote="")
    return rows.select(
        F.col("`item_id:token`").alias("item_id"),
        F.col("`movie_title:token_seq`").alias("name"),
        _year(F.col("`release_year:token`")),
        F.replace(F.col("`class:token_seq`"), F.lit(" "), F.lit("|")).alias("genres"),
    )


def _u_item(spark: SparkSession, file: str) -> DataFrame:
    names = ["item_id", "title", "released", "released_on_video", "address", *GENRES]
    schema = ", ".join(f"`{name}` STRING" for name in names)
    rows = spark.read.csv(file, schema=schema, sep="|", quote="", encoding="ISO-8859-1")
    flags = [F.when(F.col(f"`{genre}`") == "1", genre) for genre in GENRES]
    return rows.select(
        "item_id", *_name_and_year("title"), F.concat_ws("|", *flags).alias("genres")
    )


def _movies_dat(spark: SparkSession, file: str) -> DataFrame:
    schema = "item_id STRING, title STRING, genres STRING"
    rows = spark.read.csv(file, schema=schema, sep="::", quote="", encoding="ISO-8859-1")
    return rows.select("item_id", *_name_and_year("title"), "genres")


def _movies_csv(spark: SparkSession, file: str) -> DataFrame:
    rows = spark.read.csv(file, header=True, escape='"')
    genres = F.when(F.col("genres") != "(no genres listed)", F.col("genres")).alias("genres")
    return rows.select(F.col("movieId").alias("item_id"), *_name_and_year("title"), genres)


def _name_and_year(title: str) -> tuple[Column, Column]:
    """`Toy Story (1995)` in two; a title without a year stays whole."""
    found = F.regexp_extract(title, _TITLE_YEAR, 2)
    name = F.when(found != "", F.regexp_extract(title, _TITLE_YEAR, 1)).otherwise(F.col(title))
    return name.alias("name"), _year(found)


def _year(text: Column) -> Column:
    return F.when(text.rlike(r"^\d{4}$"), text).alias("year")


_LAYOUTS = (
    _Layout(
        "ml-100k.inter",
        Delimited(
            separator="\t",
            quoted=False,
            rename=(
                ("user_id:token", "user_id"),
                ("item_id:token", "item_id"),
                ("rating:float", "rating"),
                ("timestamp:float", "timestamp"),
            ),
        ),
        "ml-100k.item",
        _atomic_films,
    ),
    _Layout(
        "u.data", Delimited(separator="\t", quoted=False, names=RATING_COLUMNS), "u.item", _u_item
    ),
    _Layout(
        "ratings.dat",
        Delimited(separator="::", quoted=False, names=RATING_COLUMNS),
        "movies.dat",
        _movies_dat,
    ),
    _Layout(
        "ratings.csv",
        Delimited(rename=(("userId", "user_id"), ("movieId", "item_id"))),
        "movies.csv",
        _movies_csv,
    ),
)
