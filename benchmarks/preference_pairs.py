"""preference_pairs: slates → pairs of the kinds ranking and interest, against DuckDB.

Both read the same Parquet files of generated slates and write Parquet files with the same rows
(their digests are compared): chance comes from MD5 and arithmetic that both have. Diversity is left
out: it is a search in embeddings, which DuckDB has no counterpart of.

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

from benchmarks.turns import CORES
from benchmarks.two_sizes import TwoSizes, duckdb_connection, job_session
from feature_store.arrow import arrow_schema
from feature_store.settings import Settings
from feature_store.tables.preference_pairs import PREFERENCE_PAIRS
from feature_store.tables.slates import SLATES
from pipelines.config import Preferences

ROWS = 20_000_000
DAYS = 5
FIRST_DAY, LAST_DAY = date(2024, 1, 1), date(2024, 1, DAYS)
ITEMS = 50_000
ITEMS_PER_SLATE = (2, 10)
SLATES_PER_USER = 6
CONFIG = Preferences(diversity=0, pairs_per_context=2)
GOAL = 1.0
_DAY_US = 86_400 * 10**6
_PRIME, _STEP = 2**31 - 1, 48_271


def measure(settings: Settings, *, quick: bool = False, rows: int = ROWS) -> dict[str, Any]:
    """What `TwoSizes.measure` says of so many exposures."""
    work = f"exposures in slates of {DAYS} days, ranking and interest, {CORES} cores, warm"
    return COMPARED.measure(settings, rows=rows, quick=quick, work=work, goal=GOAL)


def generate(folder: Path, exposures: int) -> None:
    """Write a file of `slates` per day; half of what is shown is left, as in real logs."""
    draw = np.random.default_rng(0)
    (folder / "slates").mkdir(parents=True)
    low, high = ITEMS_PER_SLATE
    count = max(2 * exposures // (low + high) // DAYS, 1)
    users = max(count * DAYS // SLATES_PER_USER, 1)
    popularity = np.cumsum(np.arange(1, ITEMS + 1) ** -0.8)
    popularity /= popularity[-1]
    first = (LAST_DAY - date(1970, 1, 1)).days - DAYS + 1
    for number in range(DAYS):
        sizes = draw.integers(low, high + 1, count)
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        total = int(starts[-1])
        # Distinct within a slate: neighbours in rank of one popular item.
        item = np.searchsorted(popularity, draw.random(count)).repeat(sizes)
        item = (item + np.arange(total) - starts[:-1].repeat(sizes)) % ITEMS
        strength = draw.choice(np.arange(-1, 4), total, p=[0.05, 0.5, 0.25, 0.15, 0.05])
        dwell = draw.random(total).astype(np.float32) * 60
        dwell[draw.random(total) < 0.2] = np.nan
        start = (first + number) * _DAY_US + draw.integers(0, 80_000, count) * 10**6
        times = pa.timestamp("us", tz="UTC")
        table = pa.table(
            [
                pa.array([LAST_DAY - timedelta(days=DAYS - 1 - number)] * count, pa.date32()),
                pa.array([f"{number:02d}-{place:08d}" for place in range(count)]),
                pa.array([f"user{user:07d}" for user in draw.integers(0, users, count)]),
                pa.array(start, times),
                pa.array(start + sizes * 10**6, times),
                pa.ListArray.from_arrays(starts, pa.array(item, pa.int32())),
                pa.ListArray.from_arrays(starts, pa.array(strength, pa.int32())),
                pa.ListArray.from_arrays(starts, pa.array(dwell)),
                pa.array(["request"] * count),
            ],
            schema=arrow_schema(SLATES),
        )
        path = folder / "slates" / f"{number:02d}.parquet"
        pq.write_table(table.sort_by("user_id"), path, compression="zstd")


def ours(folder: Path) -> Callable[[], object]:
    """The job's own transforms and the runner's own writing, in a session as the job has it."""
    from pyspark.sql import functions as F

    from pipelines.files import write_staged
    from pipelines.schema import spark_schema
    from pipelines.transforms.preferences import made, rearranged

    spark = job_session("preference_pairs")
    files = [str(path) for path in sorted((folder / "slates").iterdir())]

    def run() -> None:
        shutil.rmtree(folder / "ours", ignore_errors=True)
        slates = spark.read.schema(spark_schema(SLATES)).parquet(*files)
        pairs = made(rearranged(slates, CONFIG, days=(FIRST_DAY, LAST_DAY)))
        spread = pairs.repartition("day", F.pmod(F.xxhash64("user_id"), F.lit(1)))
        write_staged(spread, PREFERENCE_PAIRS, f"file:{folder}/ours")

    return run


def duckdb(folder: Path) -> Callable[[], object]:
    """The same rules in DuckDB's SQL, with its list functions."""
    connection = duckdb_connection()
    (folder / "duckdb").mkdir(exist_ok=True)
    query = f"""
        COPY ({_QUERY.format(folder=folder, prime=_PRIME, step=_STEP, **CONFIG.model_dump())})
        TO '{folder}/duckdb/part.parquet' (FORMAT parquet, COMPRESSION zstd)"""
    return lambda: connection.execute(query)


# With two pairs and two kinds of equal share every slate is asked for one pair of each, so that a
# pair can't repeat another and the draw of the kinds decides nothing.
_QUERY = """
    WITH with_chosen AS (
        SELECT day, slate_id, user_id, started_at, ended_at, item_indices, number,
            list_transform(list_sort(list_filter(
                list_transform(item_indices, lambda item, n: struct_pack(
                    weakness := -strengths[n],
                    haste := CASE WHEN isnan(dwell_seconds[n]) THEN 'infinity'::DOUBLE
                             ELSE -dwell_seconds[n]::DOUBLE END,
                    by := ((item + 1) * number % {prime} + {step})
                        * ((item + 1) * number % {prime} + {step}) % {prime}, item := item)),
                lambda e: e.weakness <= -{positive_strength})), lambda e: struct_pack(
                    weakness := e.weakness, item := e.item)) AS ordered,
            list_transform(ordered, lambda e: e.item) AS chosen,
            list_filter(list_transform(item_indices, lambda item, n: struct_pack(
                strength := strengths[n], item := item)),
                lambda e: e.strength <= {negative_strength}) AS "left",
            list_filter(item_indices,
                lambda item, n: strengths[n] > {negative_strength}) AS liked
        FROM (SELECT *, ('0x' || substr(md5('{seed}|' || slate_id), 1, 8))::BIGINT
                % ({prime} - 1) + 1 AS number FROM read_parquet('{folder}/slates/*.parquet'))
    ), with_last AS (
        SELECT *, coalesce(list(struct_pack(ended_at := ended_at, day := day,
                items := list_transform("left", lambda e: e.item), liked := liked)) OVER (
            PARTITION BY user_id ORDER BY started_at, slate_id
            ROWS BETWEEN {earlier_slates} PRECEDING AND 1 PRECEDING), []) AS last
        FROM with_chosen
    ), with_earlier AS (
        SELECT * EXCLUDE (last, liked), list_filter(list_reverse(last), lambda s:
            s.ended_at <= started_at AND s.day >= day - {window_days} + 1) AS earlier
        FROM with_last
    ), with_borrowable AS (
        SELECT *, list_filter(flat, lambda item, n: list_position(flat, item) = n
            AND NOT list_contains(item_indices, item) AND NOT list_contains(liked, item)
            ) AS borrowable
        FROM (SELECT *, flatten(list_transform(earlier, lambda s: s.items)) AS flat,
                flatten(list_transform(earlier, lambda s: s.liked)) AS liked FROM with_earlier)
    ), with_keys AS (
        SELECT *,
            least(len("left") + len(borrowable),
                ceil(len(chosen) * {replaced_share}::DOUBLE)::INT) AS replaced,
            number * {step} % {prime} AS by_ranking,
            number * {step} % {prime} * {step} % {prime} AS by_interest
        FROM with_borrowable
    ), ranking AS (
        SELECT *, list_sort(list_transform(ordered, lambda e: struct_pack(
            by := (e.item + 1) * by_ranking % {prime}, weakness := e.weakness, item := e.item)))
            AS permuted
        FROM with_keys WHERE ordered[1].weakness < ordered[-1].weakness
    ), interest AS (
        SELECT *,
            list_concat(list_transform(list_sort(list_transform("left", lambda e: struct_pack(
                strength := e.strength, by := (e.item + 1) * by_interest % {prime},
                item := e.item))), lambda e: e.item), borrowable) AS candidates,
            list_transform(list_sort(list_transform(chosen, lambda item, n: struct_pack(
                by := n * by_interest % {prime}, place := n))), lambda e: e.place)
                [1:replaced] AS places
        FROM with_keys WHERE len(chosen) > 0 AND replaced > 0
    )
    SELECT day, slate_id, user_id, started_at AS context_until, 'ranking' AS kind, 0::INT AS pair,
        chosen, CASE WHEN list_transform(permuted, lambda e: e.weakness)
                = list_transform(ordered, lambda e: e.weakness)
            THEN list_concat(chosen[2:], chosen[1:1])
            ELSE list_transform(permuted, lambda e: e.item) END AS rejected,
        'the chosen, weaker feedback before stronger' AS source, ended_at AS newest_source
    FROM ranking
    UNION ALL
    SELECT day, slate_id, user_id, started_at, 'interest', 0::INT, chosen,
        list_transform(chosen, lambda item, n:
            coalesce(candidates[list_position(places, n)], item)),
        format('{{}} left in the slate, {{}} in earlier ones', least(len("left"), replaced),
            replaced - least(len("left"), replaced)),
        CASE WHEN len("left") > 0 THEN ended_at ELSE list_filter(earlier,
            lambda s: list_contains(s.items, borrowable[1]))[1].ended_at END
    FROM interest
    ORDER BY user_id, context_until, slate_id, kind, pair"""

CONTENDERS = {"ours": ours, "duckdb": duckdb}
COMPARED = TwoSizes(__name__, CONTENDERS, PREFERENCE_PAIRS, generate)
