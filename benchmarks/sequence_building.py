"""sequence_building: interactions × items → user_sequences, against DuckDB and Polars.

All read the same Parquet files and write Parquet files with the same rows (their digests are
compared). Each contender has its own process on the same two cores and stays warm in it; runs take
turns, so that whatever else the machine does falls on all of them. A peer's time is that of its
fastest query: of the ways to say it that were tried, the one that won is here.
"""

import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.turns import CORES, take_turns
from feature_store.arrow import arrow_schema, conform
from feature_store.content_hash import Digest, digest
from feature_store.settings import Settings
from feature_store.tables.user_sequences import USER_SEQUENCES

GOAL = 1.0
DAYS = 30
FIRST_DAY = date(2024, 1, 1)
LAST_DAY = FIRST_DAY + timedelta(days=DAYS - 1)
MAX_EVENTS = 1000
DAY_US = 86_400 * 10**6
_ORDER = ["event_time", "tie_order", "item_index", "strength"]


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Median seconds of ours and of the peers on the same files, and whether the rows agree.

    Raises:
        RuntimeError: a contender failed, or its rows differ from ours.
    """
    events, users, items = (200_000, 5_000, 2_000) if quick else (20_000_000, 200_000, 50_000)
    rounds = 2 if quick else 5
    folder = settings.home.absolute() / "bench" / "sequence_building"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        generate(folder, events=events, users=users, items=items)
        seconds = take_turns(__name__, CONTENDERS, folder, rounds=rounds)
        _refuse_differences(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ours = seconds.pop("ours")
    return {
        "name": "sequence_building",
        "work": f"{events:,} events of {users:,} users in {DAYS} day files, {CORES} cores, warm",
        "unit": "s",
        "ours": ours,
        "peers": seconds,
        "ratio": ours / min(seconds.values()),
        "ratio_duckdb": ours / seconds["duckdb"],
        "goal": GOAL,
    }


def generate(folder: Path, *, events: int, users: int, items: int) -> None:
    """Write items.parquet and a file of interactions per day, sorted as the contract says.

    Activity is log-normal (a few users pass `MAX_EVENTS`), popularity falls as rank^-0.8.
    """
    draw = np.random.default_rng(0)
    (folder / "interactions").mkdir(parents=True)
    user_ids = pa.array([f"user{number:07d}" for number in range(users)])
    item_ids = pa.array([f"item{number:06d}" for number in draw.permutation(items)])
    indices = pa.array(np.arange(items, dtype=np.int32))
    pq.write_table(pa.table({"item_id": item_ids, "item_index": indices}), folder / "items.parquet")
    activity = np.cumsum(draw.lognormal(0, 1.2, users))
    popularity = np.cumsum(np.arange(1, items + 1) ** -0.8)
    start = (FIRST_DAY - date(1970, 1, 1)).days
    for number in range(DAYS):
        rows = events // DAYS
        user = np.searchsorted(activity / activity[-1], draw.random(rows))
        item = np.searchsorted(popularity / popularity[-1], draw.random(rows))
        time = (start + number) * DAY_US + draw.integers(0, 86_400, rows) * 10**6
        strength = draw.choice(
            np.arange(-1, 4, dtype=np.int32), rows, p=[0.05, 0.5, 0.25, 0.15, 0.05]
        )
        order = np.lexsort((item, time, user))
        table = pa.table(
            {
                "user_id": user_ids.take(pa.array(user[order])),
                "item_id": item_ids.take(pa.array(item[order])),
                "event_time": pa.array(time[order], pa.timestamp("us", tz="UTC")),
                "strength": pa.array(strength[order]),
                "tie_order": pa.array(draw.integers(0, 2**63, rows)),
            }
        )
        path = folder / "interactions" / f"{number:02d}.parquet"
        pq.write_table(table, path, compression="zstd")


def ours(folder: Path) -> Callable[[], object]:
    """The job's own build, in a session as the job has it."""
    from pyarrow import fs

    from feature_store.storage import Folder
    from pipelines.session import build_session
    from pipelines.transforms.sequences import SequenceBuild, SequenceFiles, buckets_for

    spark = build_session(Settings(spark_master=f"local[{CORES}]"), name="sequence_building")
    files = [str(path) for path in sorted((folder / "interactions").iterdir())]
    out = str(folder / "ours")
    build = SequenceBuild(
        files=SequenceFiles(events=files, histories=[], items=[str(folder / "items.parquet")]),
        folder=Folder(out, out, fs.LocalFileSystem()),
        day=LAST_DAY,
        max_events=MAX_EVENTS,
        minimum_strength=-1,
        buckets=buckets_for(sum(pq.read_metadata(file).num_rows for file in files)),
    )
    return lambda: build.run(spark)


def duckdb(folder: Path) -> Callable[[], object]:
    """One list of structs per user, sorted; three ordered aggregates take twice as long."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(
        f"SET threads = {CORES}; SET timezone = 'UTC'; SET enable_progress_bar = false"
    )
    (folder / "duckdb").mkdir(exist_ok=True)
    event = ", ".join(f"{column} := {column}" for column in _ORDER)
    query = f"""
        COPY (
            SELECT DATE '{LAST_DAY}' AS day, user_id,
                list_transform(events, lambda e: e.item_index) AS item_indices,
                list_transform(events, lambda e: e.strength) AS strengths,
                list_transform(events, lambda e: e.event_time) AS event_times, num_events
            FROM (
                SELECT user_id, count(*) AS num_events,
                    list_sort(list(struct_pack({event})))
                        [-{MAX_EVENTS}:] AS events
                FROM read_parquet('{folder}/interactions/*.parquet')
                JOIN read_parquet('{folder}/items.parquet') USING (item_id)
                WHERE strength >= -1
                GROUP BY user_id
            )
            ORDER BY user_id
        ) TO '{folder}/duckdb/part.parquet' (FORMAT parquet, COMPRESSION zstd)"""
    return lambda: connection.execute(query)


def polars(folder: Path) -> Callable[[], object]:
    """One list of structs per user, sorted, on the streaming engine."""
    import polars as pl

    (folder / "polars").mkdir(exist_ok=True)
    event = pl.element().struct
    events = (
        pl.scan_parquet(folder / "interactions" / "*.parquet")
        .filter(pl.col("strength") >= -1)
        .join(pl.scan_parquet(folder / "items.parquet"), on="item_id")
        .group_by("user_id")
        .agg(
            pl.struct(_ORDER).sort().tail(MAX_EVENTS).alias("events"),
            pl.len().cast(pl.Int64).alias("num_events"),
        )
        .sort("user_id")
        .select(
            pl.lit(LAST_DAY).alias("day"),
            "user_id",
            pl.col("events").list.eval(event.field("item_index")).alias("item_indices"),
            pl.col("events").list.eval(event.field("strength")).alias("strengths"),
            pl.col("events").list.eval(event.field("event_time")).alias("event_times"),
            "num_events",
        )
    )
    path = folder / "polars" / "part.parquet"
    return lambda: events.collect(engine="streaming").write_parquet(path, compression="zstd")


CONTENDERS = {"ours": ours, "duckdb": duckdb, "polars": polars}


def _refuse_differences(folder: Path) -> None:
    found = {name: _digest(folder / name) for name in CONTENDERS}
    if len(set(found.values())) > 1:
        raise RuntimeError(f"the contenders' rows differ: {found}")


def _digest(folder: Path) -> Digest:
    schema = arrow_schema(USER_SEQUENCES)
    total = Digest()
    for path in sorted(folder.glob("*.parquet")):
        batches = pq.ParquetFile(path).iter_batches(4096)
        total += digest(conform(batch, schema) for batch in batches)
    return total
