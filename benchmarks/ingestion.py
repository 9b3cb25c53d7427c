"""Ingestion of a large day, now and at an earlier revision of this repository.

What a delivery means is worth little if reading it has become slow. Both revisions run the same
command on the same files in turn, each in a process and a home of its own, so that whatever else
the machine does falls on both.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import yaml

from feature_store.settings import REPOSITORY, Settings

EARLIER = "d208312"
"""The last revision before deliveries had stated meanings."""
GOAL = 1.0
DAY = date(2026, 3, 1)
NUM_USERS, NUM_ITEMS = 100_000, 20_000
SECONDS_PER_DAY = 86_400
FORMATS = ("csv", "parquet")


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Seconds of `ingest_interactions` on 2 M rows, CSV and Parquet.

    Args:
        settings: Spark's master and memory.
        quick: a hundredth of the rows, CSV alone, once.
    Returns:
        The measure; `ours` and the peer are seconds of both formats together, `parts` has each
        format's seconds by revision, medians over the rounds.

    Raises:
        RuntimeError: the earlier revision isn't in this checkout's history, or a run failed.
    """
    rows = 20_000 if quick else 2_000_000
    formats = FORMATS[:1] if quick else FORMATS
    with tempfile.TemporaryDirectory() as scratch, earlier_checkout() as earlier:
        checkouts = {"now": REPOSITORY, EARLIER: earlier}
        parts = {
            kind: _take_turns(
                checkouts, write_day(Path(scratch), kind, num_rows=rows), rounds=1 if quick else 3
            )
            for kind in formats
        }
    seconds = {name: sum(parts[kind][name]["seconds"] for kind in formats) for name in checkouts}
    return {
        "name": "ingestion",
        "work": f"ingest_interactions of {rows:,} rows, from {' and from '.join(formats)}",
        "unit": "s",
        "ours": seconds["now"],
        "peers": {EARLIER: seconds[EARLIER]},
        "ratio": seconds["now"] / seconds[EARLIER],
        "goal": GOAL,
        "parts": parts,
    }


@contextmanager
def earlier_checkout() -> Iterator[Path]:
    """The files of the earlier revision, in a folder of their own.

    Raises:
        RuntimeError: git isn't there, or doesn't know the revision.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "checkout"
        archive = ["git", "-C", str(REPOSITORY), "worktree", "add", "--detach", str(place), EARLIER]
        made = subprocess.run(archive, capture_output=True, text=True, check=False)
        if made.returncode:
            raise RuntimeError(
                f"revision {EARLIER} can't be checked out ({made.stderr.strip()}); run the "
                "benchmark in a clone that has the whole history"
            )
        try:
            yield place
        finally:
            remove = ["git", "-C", str(REPOSITORY), "worktree", "remove", "--force", str(place)]
            subprocess.run(remove, capture_output=True, check=False)


def write_day(folder: Path, kind: str, *, num_rows: int) -> Path:
    """Write a day's log in one format and a preset over it; returns the preset's path."""
    random = np.random.default_rng(0)
    midnight = np.datetime64(DAY, "ms").astype(np.int64)
    log = pa.table(
        {
            "user": pa.array(
                np.char.add("u", random.integers(NUM_USERS, size=num_rows).astype(str))
            ),
            "item": pa.array(
                np.char.add("i", (random.zipf(1.3, num_rows) % NUM_ITEMS).astype(str))
            ),
            "time": midnight + random.integers(SECONDS_PER_DAY * 1_000, size=num_rows),
            "click": random.integers(2, size=num_rows, dtype=np.int32),
            "seconds": random.exponential(20, num_rows).astype(np.float32),
        }
    )
    day = folder / kind / DAY.isoformat()
    day.mkdir(parents=True)
    if kind == "csv":
        pacsv.write_csv(log, day / "part.csv")
    else:
        pq.write_table(log, day / "part.parquet")
    preset = folder / f"{kind}.yaml"
    preset.write_text(yaml.safe_dump(_preset(folder, kind)), encoding="utf-8")
    return preset


def _take_turns(
    checkouts: dict[str, Path], preset: Path, *, rounds: int
) -> dict[str, dict[str, float]]:
    """Median seconds by revision, after a round that only warms up."""
    turns = [
        {name: _ingest(checkout, preset) for name, checkout in checkouts.items()}
        for _ in range(rounds + (rounds > 1))
    ][-rounds:]
    return {name: {"seconds": median(turn[name] for turn in turns)} for name in checkouts}


def _ingest(checkout: Path, preset: Path) -> float:
    """Seconds that the job states."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "pipelines.submit", "ingest_interactions"]
        done = subprocess.run(
            [*command, "--preset", str(preset), "--day", DAY.isoformat(), "--json"],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout), "SIDEREAL_HOME": home},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"ingestion in {checkout} ended with {done.returncode}:\n{done.stderr}")
    return float(yaml.safe_load(done.stdout)["seconds"])


def _preset(folder: Path, kind: str) -> dict[str, Any]:
    return {
        "name": "generated",
        "source": {
            "layout": "table",
            "path": str(folder / kind / "{day}"),
            "format": kind,
            "columns": {
                "user_id": "user",
                "item_id": "item",
                "event_time": {"column": "time", "unit": "milliseconds"},
                "dwell_seconds": "seconds",
                "signals": ["click"],
            },
            "strength": [
                {"strength": 1, "when": "click = 1"},
                {"strength": 0, "when": "TRUE"},
            ],
        },
    }
