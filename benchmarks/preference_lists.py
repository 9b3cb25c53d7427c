"""preference_lists: slates → lists in tiers with pseudo-exposures, against DuckDB.

Both read the same Parquet files of generated slates and items and write Parquet files with the same
rows (their digests are compared): chance comes from MD5 and arithmetic that both have.

The second, smaller size shows whether seconds grow as exposures do.
"""

import shutil
from collections.abc import Callable
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from benchmarks.preference_pairs import DAYS, FIRST_DAY, ITEMS, LAST_DAY, generate
from benchmarks.turns import CORES
from benchmarks.two_sizes import TwoSizes, duckdb_connection, job_session
from feature_store.settings import Settings
from feature_store.storage import Folder
from feature_store.tables.preference_lists import PREFERENCE_LISTS
from feature_store.tables.slates import SLATES
from pipelines.config import PreferenceLists

ROWS = 2_000_000
"""`measure(…, rows=20_000_000)` is the size that the job's goal speaks of."""
CONFIG = PreferenceLists(most_per_tier=3, window_days=3)
GOAL = 2.0
_PRIME, _STEP = 2**31 - 1, 48_271
_KEYS = [pow(_STEP, number, _PRIME) for number in (1, 2, 3, 4)]
_TRIES, _MOST = 19, 128


def measure(settings: Settings, *, quick: bool = False, rows: int = ROWS) -> dict[str, Any]:
    """What `TwoSizes.measure` says of so many exposures."""
    work = (
        f"exposures in slates of {DAYS} days, {CONFIG.pseudo_exposures} of {ITEMS:,} items drawn "
        f"for each, {CORES} cores, warm"
    )
    return COMPARED.measure(settings, rows=rows, quick=quick, work=work, goal=GOAL)


def _generate(folder: Path, exposures: int) -> None:
    generate(folder, exposures)
    generate_items(folder)


def generate_items(folder: Path) -> None:
    """Write the columns of `items` that the work reads: a tenth comes late, a tenth goes."""
    draw = np.random.default_rng(1)
    first = np.datetime64(FIRST_DAY)
    came = first + np.where(draw.random(ITEMS) < 0.1, draw.integers(1, DAYS, ITEMS), 0)
    gone = first + draw.integers(0, DAYS, ITEMS)
    columns = {
        "item_index": pa.array(np.arange(ITEMS), pa.int32()),
        "first_day": pa.array(came, pa.date32()),
        "last_listed_day": pa.array(gone, pa.date32(), mask=draw.random(ITEMS) > 0.1),
    }
    (folder / "items").mkdir()
    pq.write_table(pa.table(columns), folder / "items" / "00.parquet")


def ours(folder: Path) -> Callable[[], object]:
    """The job's own transforms and the runner's own writing, in a session as the job has it."""
    from pyspark.sql import functions as F

    from pipelines.files import write_staged
    from pipelines.schema import spark_schema
    from pipelines.transforms.listed_items import TableFiles
    from pipelines.transforms.preference_lists import made, tiered

    spark = job_session("preference_lists")
    files = [str(path) for path in sorted((folder / "slates").iterdir())]
    place = Folder(f"file://{folder}/items", f"{folder}/items", fs.LocalFileSystem())
    items = TableFiles(place, (f"{place.uri}/00.parquet",))

    def run() -> None:
        shutil.rmtree(folder / "ours", ignore_errors=True)
        slates = spark.read.schema(spark_schema(SLATES)).parquet(*files)
        lists = made(tiered(slates, items, CONFIG, days=(FIRST_DAY, LAST_DAY)))
        spread = lists.repartition("day", F.pmod(F.xxhash64("user_id"), F.lit(1)))
        write_staged(spread, PREFERENCE_LISTS, f"file:{folder}/ours")

    return run


def duckdb(folder: Path) -> Callable[[], object]:
    """The same rules in DuckDB's SQL, with its list functions."""
    connection = duckdb_connection()
    connection.execute(
        f"""CREATE MACRO hashed(number, key) AS
        ((number + 1) * key % {_PRIME} + {_STEP}) * ((number + 1) * key % {_PRIME} + {_STEP})
        % {_PRIME}"""
    )
    (folder / "duckdb").mkdir(exist_ok=True)
    places = {"folder": folder, "grid": _grids(folder), "prime": _PRIME, "keys": _KEYS}
    values = {**CONFIG.model_dump(), **places}
    draws = {
        "first_draws": _DRAWS.format(slates="with_earlier", tries=_TRIES, **values),
        "more_draws": _DRAWS.format(slates=_LACKING.format(**values), tries=_MOST, **values),
    }
    query = f"""
        COPY ({_QUERY.format(**draws, **values)})
        TO '{folder}/duckdb/part.parquet' (FORMAT parquet, COMPRESSION zstd)"""
    return lambda: connection.execute(query)


def _grids(folder: Path) -> str:
    """A row per day: the grid that its items are drawn from (`pseudo_exposures.by_chance`)."""
    items = pq.read_table(folder / "items")
    came, gone = (items[name].to_numpy() for name in ("first_day", "last_listed_day"))
    rows = []
    for number in range(DAYS):
        day = np.datetime64(FIRST_DAY) + number
        size = int(((came <= day) & ~(gone < day)).sum())
        up = isqrt(size - 1) + 1
        rows.append(f"(DATE '{day}', {up}, {-(-size // up)})")
    return f"(VALUES {', '.join(rows)})"


# Unnested draws: the same in functions of lists took five times as long.
_DRAWS = """
    SELECT number_of_slate, list(item_index ORDER BY turn)[1:{pseudo_exposures}] AS pseudo
    FROM (SELECT *, r2 * across + (c1 + hashed(r2, number * {keys[3]} % {prime})) % across AS place
        FROM (SELECT *, (r1 + hashed(c1, number * {keys[2]} % {prime})) % up AS r2
        FROM (SELECT *, (turn % across + hashed(r1, number * {keys[1]} % {prime})) % across AS c1
        FROM (SELECT *,
            (turn // across + hashed(turn % across, number * {keys[0]} % {prime})) % up AS r1
        FROM (SELECT number_of_slate, day, number, up, across, earlier,
            unnest(range({tries})) AS turn FROM {slates})))))
        JOIN catalogue USING (day, place)
    WHERE NOT list_contains(earlier, item_index)
    GROUP BY number_of_slate"""

_LACKING = """(FROM with_earlier ANTI JOIN (
        FROM first_draws WHERE len(pseudo) = {pseudo_exposures}) USING (number_of_slate))"""

_QUERY = """
    WITH grid AS (FROM {grid} AS grid(day, up, across)), catalogue AS MATERIALIZED (
        SELECT grid.day, item_index,
            row_number() OVER (PARTITION BY grid.day ORDER BY first_day, item_index) - 1 AS place
        FROM grid, read_parquet('{folder}/items/*.parquet')
        WHERE first_day <= grid.day AND coalesce(last_listed_day >= grid.day, true)
    ), with_number AS (
        SELECT *, row_number() OVER () AS number_of_slate,
            ('0x' || substr(md5('{seed}|' || slate_id), 1, 8))::BIGINT % ({prime} - 1) + 1 AS number
        FROM read_parquet('{folder}/slates/*.parquet')
    ), with_shown AS (
        SELECT day, slate_id, user_id, started_at, ended_at, number, number_of_slate,
            list_sort(list_transform(item_indices, lambda item, n: struct_pack(
                weakness := -strengths[n],
                haste := CASE WHEN isnan(dwell_seconds[n]) THEN 'infinity'::DOUBLE
                         ELSE -dwell_seconds[n]::DOUBLE END,
                by := hashed(item, number), item := item,
                tier := 3 - (strengths[n] >= {second_strength})::INT
                    - (strengths[n] >= {first_strength})::INT))) AS ordered,
            list_transform(ordered, lambda e: e.tier) AS tiers,
            list_filter(ordered, lambda e, n:
                n - list_position(tiers, e.tier) < {most_per_tier}) AS kept,
            list(struct_pack(day := day, items := item_indices)) OVER (
                PARTITION BY user_id ORDER BY started_at, slate_id
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS slates
        FROM with_number
    ), with_earlier AS MATERIALIZED (
        SELECT * EXCLUDE (slates, ordered, tiers), flatten(list_transform(list_filter(slates,
            lambda s: s.day > with_shown.day - {window_days}), lambda s: s.items)) AS earlier
        FROM with_shown JOIN grid USING (day)
    ), first_draws AS MATERIALIZED ({first_draws}), more_draws AS ({more_draws})
    SELECT day, slate_id, user_id, started_at AS context_until, ended_at,
        list_concat(list_transform(kept, lambda e: e.item), drawn) AS item_indices,
        list_concat(list_transform(kept, lambda e: e.tier::INT),
            list_transform(drawn, lambda item: 4::INT)) AS tiers
    FROM (SELECT with_earlier.*, coalesce(more_draws.pseudo, first_draws.pseudo, []) AS drawn
        FROM with_earlier LEFT JOIN first_draws USING (number_of_slate)
        LEFT JOIN more_draws USING (number_of_slate))
    WHERE len(list_distinct(tiers)) > 1
    ORDER BY user_id, context_until, slate_id"""

CONTENDERS = {"ours": ours, "duckdb": duckdb}
COMPARED = TwoSizes(__name__, CONTENDERS, PREFERENCE_LISTS, _generate)
