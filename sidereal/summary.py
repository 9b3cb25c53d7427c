"""The facts of a day's run, gathered from its run records, the tables and Airflow's own clock."""

import json
from pathlib import Path
from typing import Any

from feature_store.run_record import read_steps
from feature_store.settings import Settings
from sidereal.airflow_api import Task
from sidereal.chain import Progress

Facts = dict[str, Any]


def summarize(settings: Settings, preset: str, progress: Progress, *, seconds: float) -> Facts:
    """What happened on a day.

    Args:
        settings: where the records are.
        preset: what was run.
        progress: the day as it ended.
        seconds: from the first trigger to the last task.
    """
    steps = read_steps(settings.runs_path, progress.day)
    return {
        "day": progress.day.isoformat(),
        "preset": preset,
        "status": "done" if progress.done else "failed",
        "seconds": round(seconds, 1),
        "tasks": [_task(task, steps) for task in progress.tasks if task.run_id],
        "tables": _tables(steps),
        "tokenizer": steps.get("train_tokenizer", {}),
        "semantic_ids": steps.get("build_semantic_ids", {}),
        "evaluation": steps.get("evaluate_recommender", {}),
        "gate": steps.get("promote_recommender", {}),
        "paths": _paths(settings, progress, steps),
    }


def write_summary(settings: Settings, progress_day: Any, facts: Facts) -> Path:
    """Write the summary beside the day's run records; returns its path."""
    path = settings.runs_path / progress_day.isoformat() / "summary.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=1, default=str), encoding="utf-8")
    return path


def _task(task: Task, steps: dict[str, Facts]) -> Facts:
    facts = steps.get(task.task_id, {})
    return {
        "dag": task.dag_id,
        "task": task.task_id,
        "state": task.state,
        "tries": task.try_number,
        "seconds": round(task.seconds, 1) if task.seconds is not None else None,
        "work_seconds": facts.get("seconds"),
        "status": facts.get("status"),
    }


def _tables(steps: dict[str, Facts]) -> dict[str, Facts]:
    return {}


def _paths(settings: Settings, progress: Progress, steps: dict[str, Facts]) -> Facts:
    return {}
