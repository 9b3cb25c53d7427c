"""impressions: histories, people and items → codes of each exposure, against DuckDB.

Both read the same Parquet files of generated histories, users, items and vocabularies and write
Parquet files with the same rows (their digests are compared).

The second, smaller size shows whether seconds grow as exposures do.
"""

import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from benchmarks.turns import CORES
from benchmarks.two_sizes import TwoSizes, duckdb_connection, job_session
from feature_store.features import features
from feature_store.settings import Settings
from feature_store.storage import Folder
from feature_store.tables.feature_vocabularies import FEATURE_VOCABULARIES
from feature_store.tables.impressions import IMPRESSIONS
from feature_store.tables.user_sequences import USER_SEQUENCES
from feature_store.tables.users import USERS
from pipelines.config import Impressions

ROWS = 2_000_000
"""`measure(…, rows=20_000_000)` is the size that the job's goal speaks of."""
GOAL = 2.0
FIRST, LAST = date(2024, 5, 1), date(2024, 5, 7)
ITEMS, AUTHORS, CITIES, LONGEST = 50_000, 5_000, 300, 400
"""Histories have 1 to `LONGEST` events: half are longer than what is counted."""
CONFIG = Impressions(
    fields=(
        *("user_id", "user.city", "user_events", "user_engagements"),
        *("item_id", "item.author", "hour", "weekday"),
        *("met.item_id", "met.item.author", "engaged.item.author"),
    ),
    history_events=200,
)
_MAP = pa.map_(pa.string(), pa.string())


def measure(settings: Settings, *, quick: bool = False, rows: int = ROWS) -> dict[str, Any]:
    """What `TwoSizes.measure` says of so many exposures."""
    num_days = (LAST - FIRST).days + 1
    work = (
        f"exposures of {num_days} days, {len(CONFIG.fields)} codes each, {ITEMS:,} items, the last "
        f"{CONFIG.history_events} events counted, {CORES} cores, warm"
    )
    return COMPARED.measure(settings, rows=rows, quick=quick, work=work, goal=GOAL)


def generate(folder: Path, exposures: int) -> None:
    """Write histories of so many events in all, and what is known of users and items."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(1, LONGEST, 2 * exposures // LONGEST + 1)
    lengths[-1] += max(0, exposures - lengths.sum())
    users, number = len(lengths), int(lengths.sum())
    ids = [f"u{n:07d}" for n in range(users)]
    span = ((LAST - FIRST).days + 1) * 86_400
    rows = np.repeat(np.arange(users), lengths)
    # Whole seconds, of which some are shared.
    seconds = draw.integers(0, span, number)
    seconds = seconds[np.lexsort((seconds, rows))] + int(np.datetime64(FIRST).astype(int)) * 86_400
    # Few items are met often, most seldom.
    item_E = (ITEMS * draw.random(number) ** 3).astype(np.int32)
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int32)
    lists = (
        pa.array(item_E),
        pa.array(draw.integers(-1, 4, number).astype(np.int32)),
        pa.array(seconds * 10**6, pa.timestamp("us", "UTC")),
    )
    items, strengths, times = (pa.ListArray.from_arrays(offsets, each) for each in lists)
    _write(
        folder / "user_sequences",
        {
            "day": pa.array([LAST] * users, pa.date32()),
            "user_id": ids,
            "item_indices": items,
            "strengths": strengths,
            "event_times": times,
            "num_events": pa.array(lengths, pa.int64()),
        },
    )
    city_U, author_V = draw.integers(0, CITIES, users), draw.integers(0, AUTHORS, ITEMS)
    _write(
        folder / "users",
        {
            "user_id": ids,
            "first_day": pa.array([FIRST] * users, pa.date32()),
            "changed_day": pa.array([FIRST] * users, pa.date32()),
            "attributes": pa.array([[("city", f"c{city}")] for city in city_U], _MAP),
        },
    )
    _write(
        folder / "items",
        {
            "item_index": pa.array(np.arange(ITEMS), pa.int32()),
            "item_id": [f"i{n}" for n in range(ITEMS)],
            "attributes": pa.array([[("author", f"a{author}")] for author in author_V], _MAP),
        },
    )
    _write(folder / "feature_vocabularies", _vocabularies(ids, draw))


def _vocabularies(ids: list[str], draw: np.random.Generator) -> dict[str, Any]:
    """Codes of all values but a few, a part of them from a later day on."""
    values = {
        "item.author": [f"a{n}" for n in range(AUTHORS - 50)],
        "item_id": [f"i{n}" for n in range(ITEMS - 500)],
        "user.city": [f"c{n}" for n in range(CITIES - 3)],
        "user_id": ids[: len(ids) * 99 // 100],
    }
    counts = [len(each) for each in values.values()]
    late = np.concatenate([np.sort(draw.integers(0, 3, count)) for count in counts])
    first = pa.array([FIRST + timedelta(int(days)) for days in late], pa.date32())
    return {
        "field": np.repeat(list(values), counts),
        "value": [value for each in values.values() for value in each],
        "code": pa.array(np.concatenate([np.arange(count) + 1 for count in counts]), pa.int32()),
        "met_day": first,
        "first_day": first,
    }


def _write(folder: Path, columns: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "00.parquet", compression="zstd")


def ours(folder: Path) -> Callable[[], object]:
    """The job's own transforms and the runner's own writing, in a session as the job has it."""
    from pyspark.sql import functions as F

    from pipelines.files import write_staged
    from pipelines.schema import spark_schema
    from pipelines.transforms.impressions import Coding, coded
    from pipelines.transforms.listed_items import TableFiles

    spark = job_session("impressions")

    def files(name: str) -> TableFiles:
        place = Folder(f"file://{folder}/{name}", f"{folder}/{name}", fs.LocalFileSystem())
        return TableFiles(place, (f"{place.uri}/00.parquet",))

    coding = Coding(
        config=CONFIG,
        utc_offset_hours=0.0,
        days=(FIRST, LAST),
        vocabularies=files("feature_vocabularies"),
        items=files("items"),
    )

    def run() -> None:
        shutil.rmtree(folder / "ours", ignore_errors=True)
        sequences, users, codes = (
            spark.read.schema(spark_schema(table)).parquet(str(folder / table.name))
            for table in (USER_SEQUENCES, USERS, FEATURE_VOCABULARIES)
        )
        rows = coded(sequences, users, codes.where(F.col("field") == "user_id"), coding)
        spread = rows.repartition("day", F.pmod(F.xxhash64("user_id"), F.lit(1)))
        days = (LAST - FIRST).days + 1
        write_staged(spread, IMPRESSIONS, f"file:{folder}/ours", num_partitions=days)

    return run


def duckdb(folder: Path) -> Callable[[], object]:
    """The same rules in DuckDB's SQL: windows over a user's events, and those of an item."""
    connection = duckdb_connection()
    connection.execute(
        """CREATE MACRO counted(number) AS
        CASE WHEN number = 0 THEN 1 ELSE ceil(log2(number))::INT + 2 END"""
    )
    (folder / "duckdb").mkdir(exist_ok=True)
    assert [each.name for each in features(CONFIG.fields)] == list(CONFIG.fields)
    query = _QUERY.format(
        folder=folder, history=CONFIG.history_events, engaged=CONFIG.engaged_strength
    )
    return lambda: connection.execute(
        f"COPY ({query}) TO '{folder}/duckdb/part.parquet' (FORMAT parquet, COMPRESSION zstd)"
    )


_QUERY = """
    WITH vocabulary AS (FROM read_parquet('{folder}/feature_vocabularies/*.parquet')),
    catalogue AS (
        SELECT item_index, of_item.code AS item_code, of_item.first_day AS item_since,
            coalesce(of_author.code, 0) AS author_code, of_author.first_day AS author_since
        FROM read_parquet('{folder}/items/*.parquet') AS items
        LEFT JOIN (FROM vocabulary WHERE field = 'item_id') AS of_item
            ON of_item.value = item_id
        LEFT JOIN (FROM vocabulary WHERE field = 'item.author') AS of_author
            ON of_author.value = attributes['author']
    ), people AS (
        SELECT user_id, of_user.code AS user_code, of_user.first_day AS user_since,
            of_city.code AS city_code, of_city.first_day AS city_since
        FROM read_parquet('{folder}/users/*.parquet') AS users
        LEFT JOIN (FROM vocabulary WHERE field = 'user_id') AS of_user
            ON of_user.value = user_id
        LEFT JOIN (FROM vocabulary WHERE field = 'user.city') AS of_city
            ON of_city.value = attributes['city']
    ), events AS (
        SELECT user_id, unnest(item_indices) AS item_index, unnest(strengths) AS strength,
            unnest(event_times) AS event_time, unnest(range(len(item_indices))) AS place
        FROM read_parquet('{folder}/user_sequences/*.parquet')
    ), spans AS (
        SELECT *, greatest(until - {history}, 0) AS since
        FROM (SELECT *, epoch_us(event_time) // 1000000 AS second,
                place - min(place) OVER (PARTITION BY user_id, event_time) AS nth,
                min(place) OVER (PARTITION BY user_id, second) AS until
            FROM events)
    ), counted_events AS (
        SELECT spans.*, author_code, author_since, item_code, item_since, until - since AS num,
            count(*) FILTER (strength >= {engaged}) OVER (PARTITION BY user_id ORDER BY place
                ROWS BETWEEN place - since PRECEDING AND place - until + 1 PRECEDING) AS engaged,
            count(*) OVER (PARTITION BY user_id, item_index ORDER BY place
                RANGE BETWEEN place - since PRECEDING AND place - until + 1 PRECEDING) AS item,
            count(*) OVER of_author AS author,
            count(*) FILTER (strength >= {engaged}) OVER of_author AS author_engaged
        FROM spans JOIN catalogue USING (item_index)
        WINDOW of_author AS (PARTITION BY user_id, author_code ORDER BY place
            RANGE BETWEEN place - since PRECEDING AND place - until + 1 PRECEDING)
    )
    SELECT event_time::DATE AS day,
        user_id || ':' || epoch_us(event_time) || ':' || nth AS impression_id,
        user_id, item_index, event_time, strength,
        [CASE WHEN user_since <= day THEN user_code ELSE 0 END,
            CASE WHEN city_since <= day THEN city_code ELSE 0 END,
            counted(num), counted(engaged)]::INT[] AS user_codes,
        [CASE WHEN item_since <= day THEN item_code ELSE 0 END,
            CASE WHEN author_since <= day THEN author_code ELSE 0 END]::INT[] AS item_codes,
        [hour(event_time) + 1, isodow(event_time), counted(item),
            CASE WHEN author_since <= day THEN counted(author) ELSE 1 END,
            CASE WHEN author_since <= day THEN counted(author_engaged) ELSE 1 END
        ]::INT[] AS context_codes
    FROM counted_events LEFT JOIN people USING (user_id)
    ORDER BY day, user_id, event_time, impression_id"""

CONTENDERS = {"ours": ours, "duckdb": duckdb}
COMPARED = TwoSizes(__name__, CONTENDERS, IMPRESSIONS, generate)
