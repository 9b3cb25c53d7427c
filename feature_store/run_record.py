"""What each step of a day's run found and did, as one JSON file per step.

`sidereal run`, the report and the gate read these records; the tables and the registry stay the
source of truth. A record is replaced as a whole: write beside, then rename.
"""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

Facts = Mapping[str, Any]


def write_step(runs: Path, day: date, step: str, facts: Facts) -> Path:
    """Replace the record of one step of one day; returns its path.

    Args:
        runs: `Settings.runs_path`.
        day: the partition the step worked on.
        step: the command's name (`build_user_sequences`, `train_recommender-tiger`).
        facts: JSON-serialisable facts, units in the names (`seconds`, `rows_in`).
    """
    folder = runs / day.isoformat() / "steps"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{step}.json"
    beside = path.with_suffix(".json.tmp")
    beside.write_text(json.dumps(facts, indent=1, sort_keys=True, default=str), encoding="utf-8")
    beside.replace(path)
    return path


def read_steps(runs: Path, day: date) -> dict[str, dict[str, Any]]:
    """Records of a day by step name; empty where the day has none."""
    folder = runs / day.isoformat() / "steps"
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }
