"""What each step of a day's run found and did, as one JSON file per step.

`sidereal run`, the report and the gate read these records; the tables and the registry stay the
source of truth. A record is replaced as a whole: write beside, then rename.
"""

import json
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from feature_store.errors import OldHome

Facts = Mapping[str, Any]


def write_step(runs: Path, day: date, step: str, facts: Facts) -> Path:
    """Replace the record of one step of one day; returns its path.

    Args:
        runs: `Settings.runs_of` the preset.
        day: the partition the step worked on.
        step: the command's name (`build_user_sequences`, `train_recommender-tiger`).
        facts: JSON-serialisable facts, units in the names (`seconds`, `rows_in`).
    """
    folder = runs / day.isoformat() / "steps"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{step}.json"
    # Two processes may write one record: each has a file of its own beside it.
    beside = path.with_suffix(f".json.{os.getpid()}.tmp")
    beside.write_text(json.dumps(facts, indent=1, sort_keys=True, default=str), encoding="utf-8")
    beside.replace(path)
    return path


def timed(facts: Facts, seconds: float) -> dict[str, Any]:
    """The facts of a step with the seconds that it took, and the share of them that checks took."""
    complete = {**facts, "seconds": round(seconds, 3)}
    if checks := complete.get("validation"):
        complete["validation"] = {**checks, "share": checks["seconds"] / complete["seconds"]}
    return complete


def read_steps(runs: Path, day: date) -> dict[str, dict[str, Any]]:
    """Records of a day by step name; empty where the day has none.

    Args:
        runs: `Settings.runs_of` the preset.
        day: the partition.
    """
    folder = runs / day.isoformat() / "steps"
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }


def refuse_old_records(runs: Path) -> None:
    """Make sure that records lie below their presets.

    Args:
        runs: `Settings.runs_path`.
    Raises:
        OldHome: records of a day lie there whose preset no folder tells.
    """
    old = sorted(path.parent.name for path in runs.glob("????-??-??/steps"))
    if old:
        raise OldHome(
            f"{runs} holds the records of {len(old)} day(s), {old[0]} for example, of an earlier "
            "version, which did not keep presets apart; set SIDEREAL_HOME to a new place and run "
            "your days again, or move these records away: nothing there was read or changed"
        )
