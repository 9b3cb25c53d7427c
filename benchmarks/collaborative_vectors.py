"""collaborative_vectors: the step, tables to table, against SciPy's `svds` of the same matrix.

The step reads histories, counts, decomposes, audits, checks and commits; SciPy reads the same files
and decomposes (ARPACK, to rounding). Each is a process on the same two cores. How well ours agrees
with it is measured in the same run: where the eight passes have not converged, it shows.
"""

import json
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from benchmarks.turns import CORES, take_turns
from feature_store.arrow import arrow_schema
from feature_store.held_out import HeldOut, trained_until
from feature_store.settings import Settings
from feature_store.store import FeatureStore
from feature_store.tables import CATALOG

GOAL = "at most 300 s"
"""Of the step. Its peer holds all events in memory, and neither audits nor commits."""
DAYS = 365
LAST_DAY = date(2024, 12, 30)
MAX_EVENTS = 1000
TASTES = 200
_PRESET = "bench"
_DAY_US = 86_400 * 10**6
_USERS_AT_ONCE = 20_000


def measure(settings: Settings, *, quick: bool = False, events: int = 20_000_000) -> dict[str, Any]:
    """Seconds of the step and of `svds`, and how far their vectors agree.

    Args:
        settings: where the files go, and the memory of Spark's driver.
        quick: 60,000 events of 2,000 users and 1,000 items.
        events: of the full size, whose users and items follow from it.
    Returns:
        The measure. `cosine`: of an item's vector and SciPy's, after the best rotation, mean over
        items; `subspace`: mean squared cosine of the principal angles between both spaces;
        `peak_gib`: by contender, memory at its peak, summed over its processes.
    Raises:
        RuntimeError: a contender failed.
    """
    users, items = (2_000, 1_000) if quick else (events // 100, 50_000)
    events = 60_000 if quick else events
    folder = settings.home.absolute() / "bench" / "collaborative_vectors"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        generate(folder, events=events, users=users, items=items)
        seconds = take_turns(__name__, CONTENDERS, folder, rounds=1, warm_up=0)
        found = compare(folder)
        peaks = {name: json.loads((folder / f"{name}.json").read_text()) for name in CONTENDERS}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "name": "collaborative_vectors",
        "work": f"{events:,} events of {users:,} users and {items:,} items, {CORES} cores, cold",
        "unit": "s",
        "ours": seconds["ours"],
        "peers": {"svds": seconds["svds"]},
        "ratio": seconds["ours"] / seconds["svds"],
        "goal": GOAL,
        **found,
        "peak_gib": peaks,
    }


def generate(folder: Path, *, events: int, users: int, items: int) -> None:
    """Publish `items` and a day of `user_sequences`.

    Activity is log-normal, popularity falls as rank^-0.8; of a user's events half are of one of
    `TASTES` groups of items, the commonest of which a quarter of the users share.
    """
    draw = np.random.default_rng(0)
    store = FeatureStore.open(_settings(folder), _PRESET)
    stage = store.stage("items", day=LAST_DAY, job="generated")
    stage.write(_items(items))
    store.publish(stage)
    activity = draw.lognormal(0, 1.2, users)
    length = np.minimum((activity / activity.mean() * events).astype(int) // users + 1, MAX_EVENTS)
    popularity = np.cumsum(np.arange(1, items + 1) ** -0.8)
    shares = np.cumsum(np.arange(1, TASTES + 1) ** -0.8)
    taste = np.searchsorted(shares / shares[-1], draw.random(users))
    place = draw.permutation(items)
    stage = store.stage("user_sequences", day=LAST_DAY, job="generated")
    for first in range(0, users, _USERS_AT_ONCE):
        some = slice(first, min(first + _USERS_AT_ONCE, users))
        total = int(length[some].sum())
        rank = np.searchsorted(popularity / popularity[-1], draw.random(total))
        of_taste = rank - rank % TASTES + taste[some].repeat(length[some])
        rank = np.where(draw.random(total) < 0.5, np.minimum(of_taste, items - 1), rank)
        stage.write(_histories(draw, first, length[some], place[rank]))
    store.publish(stage)


def _histories(
    draw: np.random.Generator, first: int, length: np.ndarray, item: np.ndarray
) -> pa.Table:
    offsets = np.concatenate([[0], np.cumsum(length)]).astype(np.int32)
    user = np.arange(len(length)).repeat(length)
    time = draw.integers(0, DAYS * 86_400, len(item)) * 10**6
    start = ((LAST_DAY - date(1970, 1, 1)).days + 1 - DAYS) * _DAY_US
    time = start + time[np.lexsort((time, user))]
    strength = draw.choice(np.arange(-1, 4), len(item), p=[0.05, 0.1, 0.5, 0.25, 0.1])
    count = len(length)
    columns = [
        pa.array([LAST_DAY] * count, pa.date32()),
        pa.array([f"user{first + number:08d}" for number in range(count)]),
        pa.ListArray.from_arrays(offsets, pa.array(item, pa.int32())),
        pa.ListArray.from_arrays(offsets, pa.array(strength, pa.int32())),
        pa.ListArray.from_arrays(offsets, pa.array(time, pa.timestamp("us", tz="UTC"))),
        pa.array(length, pa.int64()),
    ]
    return pa.table(columns, schema=arrow_schema(CATALOG["user_sequences"]))


def _items(number: int) -> pa.Table:
    first = [LAST_DAY - timedelta(days=DAYS)] * number
    columns = {
        "item_id": [f"item{each:07d}" for each in range(number)],
        "item_index": pa.array(np.arange(number), pa.int32()),
        "first_day": pa.array(first, pa.date32()),
        "attributes": pa.array([[]] * number, pa.map_(pa.string(), pa.string())),
    }
    schema = arrow_schema(CATALOG["items"])
    return pa.table(
        [columns.get(field.name, pa.nulls(number, field.type)) for field in schema], schema=schema
    )


def _settings(folder: Path) -> Settings:
    return Settings(home=folder / "home", spark_master=f"local[{CORES}]")


def ours(folder: Path) -> Callable[[], object]:
    """The step, as the runner runs it."""
    from pipelines.config import PipelineConfig
    from pipelines.runner import run_job

    config = PipelineConfig.model_validate(
        {
            "name": _PRESET,
            "source": {
                "layout": "movielens",
                "dataset": "100k",
                "strength": [{"strength": 0, "when": "TRUE"}],
            },
            "embedding": {"encoder": "categorical", "dimensions": 4},
        }
    )

    def run() -> None:
        settings = _settings(folder)
        name = "build_collaborative_vectors"
        run_job(name, preset_config=config, settings=settings, day=LAST_DAY)
        _note_peak(folder / "ours.json")

    return run


def svds(folder: Path) -> Callable[[], object]:
    """The same matrix whole in memory, decomposed by Lanczos iteration."""
    from scipy.sparse import csr_array, diags_array, linalg

    from pipelines.transforms.collaborative_vectors import WIDTH

    def run() -> None:
        store = FeatureStore.open(_settings(folder), _PRESET)
        rows = store.read("user_sequences", partition=LAST_DAY).combine_chunks()
        lists = {name: rows[name].chunk(0) for name in ("item_indices", "strengths", "event_times")}
        length = np.diff(lists["item_indices"].offsets.to_numpy())
        user = np.arange(len(length)).repeat(length)
        time = lists["event_times"].values.cast(pa.int64()).to_numpy()
        until = trained_until(int(time.min()), LAST_DAY, HeldOut())
        assert until is not None
        end = (until - date(1970, 1, 1)).days * _DAY_US
        taken = (time < end) & (lists["strengths"].values.to_numpy() != 0)
        num_items = store.row_count("items")
        user, item = user[taken], lists["item_indices"].values.to_numpy()[taken]
        matrix = csr_array((np.ones(len(user)), (user, item)), shape=(len(length), num_items))
        matrix.data[:] = 1
        by_user = 1 / np.sqrt(matrix.sum(1) + 5)
        by_item = 1 / np.sqrt(matrix.sum(0) + 1)
        _, sizes, turned = linalg.svds(
            diags_array(by_user) @ matrix @ diags_array(by_item), k=min(WIDTH, num_items - 1), rng=0
        )
        np.save(folder / "svds.npy", (turned.T * sizes)[:, ::-1])
        _note_peak(folder / "svds.json")

    return run


def _note_peak(path: Path) -> None:
    """The most that this process and those that it started have held, each at its own time."""
    me = psutil.Process()
    texts = [
        Path(f"/proc/{each.pid}/status").read_text() for each in (me, *me.children(recursive=True))
    ]
    held = [int(text.split("VmHWM:")[1].split()[0]) for text in texts if "VmHWM:" in text]
    path.write_text(json.dumps(sum(held) / 2**20))


CONTENDERS = {"ours": ours, "svds": svds}


def compare(folder: Path) -> dict[str, float]:
    """How far the published vectors agree with those of `svds`."""
    rows = FeatureStore.open(_settings(folder), _PRESET).read("collaborative_vectors")
    index = rows["item_index"].to_numpy()
    found = np.stack(rows["embedding"].to_numpy()).astype(np.float64)
    exact = np.load(folder / "svds.npy")[index]
    length = np.linalg.norm(exact, axis=1, keepdims=True)
    left, _, right = np.linalg.svd(found.T @ (exact / length))
    basis, peer = (np.linalg.qr(each)[0] for each in (found * length, exact))
    return {
        "cosine": float(((found @ (left @ right)) * exact / length).sum(axis=1).mean()),
        "subspace": float((np.linalg.norm(basis.T @ peer) ** 2) / exact.shape[1]),
    }
