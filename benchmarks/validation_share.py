"""What validation adds to the jobs that it guards: its seconds as a share of the jobs' seconds.

Each job is a process of its own, as in production, so that the import of Great Expectations and
Spark's first, uncompiled queries count. A job's seconds include its validation, which is clocked
inside it: both come from one run.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from feature_store.settings import Settings
from pipelines.sources.fetch import fetch

GOAL = 0.25
JOBS = ("build_items", "ingest_interactions", "build_user_sequences")
DAY = date(1998, 4, 20)
NUM_USERS, NUM_ITEMS = 100_000, 20_000
SECONDS_PER_DAY = 86_400


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Share of validation in the three jobs together, on a small log and on a large day.

    Args:
        settings: where fetched data lies, and Spark's master and memory.
        quick: the generated day alone, with a hundredth of its rows, once.
    Returns:
        The measure; `ours` is the worse of the two shares, `parts` has both and each job's.
    """
    rows = 20_000 if quick else 2_000_000
    parts = {}
    with tempfile.TemporaryDirectory() as scratch:
        preset = write_world(Path(scratch), num_rows=rows)
        parts[f"{rows:,} generated rows"] = share(settings, preset, rounds=1 if quick else 3)
    if not quick:
        fetch("movielens-100k", settings)
        parts["MovieLens-100K"] = share(settings, "movielens-100k", rounds=3)
    worst = max(part["share"] for part in parts.values())
    return {
        "name": "validation_share",
        "work": f"{' + '.join(JOBS)} on {' and on '.join(parts)}; the worse of them",
        "unit": "share",
        "ours": worst,
        "peers": {},
        "ratio": worst,
        "goal": GOAL,
        "parts": parts,
    }


def share(settings: Settings, preset: str, *, rounds: int) -> dict[str, Any]:
    """Median share over rounds that each start from nothing, after one that only warms up."""
    found = [_round(settings, preset) for _ in range(rounds + (rounds > 1))][-rounds:]
    shares = [sum(v for _, v in jobs.values()) / sum(s for s, _ in jobs.values()) for jobs in found]
    seconds = {
        name: {
            "job_seconds": statistics.median(jobs[name][0] for jobs in found),
            "validation_seconds": statistics.median(jobs[name][1] for jobs in found),
        }
        for name in JOBS
    }
    return {"share": statistics.median(shares), "shares": shares, "jobs": seconds}


def _round(settings: Settings, preset: str) -> dict[str, tuple[float, float]]:
    """Seconds of each job and of its validation, in a state of its own."""
    with tempfile.TemporaryDirectory() as home:
        places = {"SIDEREAL_HOME": home, "SIDEREAL_DATA": str(settings.data_path)}
        found = {name: _facts(name, preset, {**os.environ, **places}) for name in JOBS}
    return {name: (one["seconds"], one["validation"]["seconds"]) for name, one in found.items()}


def _facts(job: str, preset: str, environment: dict[str, str]) -> dict[str, Any]:
    arguments: Sequence[str] = (job, "--preset", preset, "--day", DAY.isoformat(), "--json")
    finished = subprocess.run(
        [sys.executable, "-m", "pipelines.submit", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    facts: dict[str, Any] = json.loads(finished.stdout)
    return facts


def write_world(folder: Path, *, num_rows: int) -> str:
    """Write a day's log, a catalogue and a preset over both; returns the preset's path.

    Items are drawn by a power law, so that a few are in most histories, as in real logs.
    """
    random = np.random.default_rng(0)
    popular = random.zipf(1.3, num_rows) % NUM_ITEMS
    midnight = np.datetime64(DAY, "us").astype(np.int64)
    log = pa.table(
        {
            "user": pa.array(_names("u", random.integers(NUM_USERS, size=num_rows))),
            "item": pa.array(_names("i", popular)),
            "time": midnight + random.integers(SECONDS_PER_DAY * 1_000_000, size=num_rows),
            "click": random.integers(2, size=num_rows, dtype=np.int32),
            "seconds": random.exponential(20, num_rows).astype(np.float32),
        }
    )
    pq.write_table(log, folder / "log.parquet")
    items = _names("i", np.arange(NUM_ITEMS))
    pq.write_table(pa.table({"item": items, "kind": items}), folder / "items.parquet")
    preset = folder / "generated.yaml"
    preset.write_text(yaml.safe_dump(_preset(folder)), encoding="utf-8")
    return str(preset)


def _names(prefix: str, numbers: np.ndarray) -> np.ndarray:
    return np.char.add(prefix, numbers.astype(str))


def _preset(folder: Path) -> dict[str, Any]:
    return {
        "name": "generated",
        "source": {
            "layout": "table",
            "path": str(folder / "log.parquet"),
            "columns": {
                "user_id": "user",
                "item_id": "item",
                "event_time": {"column": "time", "unit": "microseconds"},
                "dwell_seconds": "seconds",
                "signals": ["click"],
            },
            "strength": [
                {"strength": 1, "when": "click = 1"},
                {"strength": 0, "when": "click = 0"},
            ],
            "catalogue": {
                "path": str(folder / "items.parquet"),
                "format": "parquet",
                "item_id": "item",
                "attributes": ["kind"],
            },
        },
    }
