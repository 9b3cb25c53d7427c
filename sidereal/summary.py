"""The facts of a day's run, gathered from its run records, the tables and Airflow's own clock."""

import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from feature_store.run_record import read_steps
from feature_store.settings import Settings
from sidereal.airflow_api import Task
from sidereal.chain import Progress
from training.evaluation.record import RecordError, evaluation_of

Facts = dict[str, Any]
Steps = Mapping[str, Mapping[str, Any]]


def summarize(
    settings: Settings,
    preset: str,
    progress: Progress,
    *,
    seconds: float,
    given: str = "",
    filled: Iterable[date] = (),
) -> Facts:
    """What happened on a day, as plain data; parts whose step has not run are empty.

    Args:
        settings: where the records and tables are.
        preset: the name of what was run.
        progress: the day as it ended.
        seconds: from the first trigger to the last task.
        given: the preset as the command was given it, by which it is found again.
        filled: days that were brought in before it.
    """
    steps = read_steps(settings.runs_of(preset), progress.day)
    return {
        "day": progress.day.isoformat(),
        "preset": preset,
        "preset_given": given or preset,
        "status": "done" if progress.done else "failed",
        "seconds": round(seconds, 1),
        "tasks": [_task(task) for task in progress.tasks if task.run_id],
        "steps": [
            _step(task, name, steps.get(name, {}))
            for task in progress.tasks
            if task.run_id
            for name in task.steps
        ],
        "delivery": _delivery(steps),
        "filled": [
            {"day": day.isoformat(), **_delivery(read_steps(settings.runs_of(preset), day))}
            for day in filled
        ],
        "tables": _tables(settings, preset, steps),
        "validation": _validation(steps),
        "tokenizer": _tokenizer(steps),
        "evaluation": _evaluation(steps.get("evaluate_recommender", {})),
        "gate": _gate(steps.get("promote_recommender", {})),
        "paths": _paths(settings, preset, progress.day, steps),
    }


def write_summary(settings: Settings, facts: Facts) -> Path:
    """Write the summary beside the day's run records; returns its path."""
    path: Path = settings.runs_of(facts["preset"]) / facts["day"] / "summary.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=1, default=str), encoding="utf-8")
    return path


def _task(task: Task) -> Facts:
    return {
        "dag": task.dag_id,
        "task": task.task_id,
        "state": task.state,
        "tries": task.try_number,
        "seconds": round(task.seconds, 1) if task.seconds is not None else None,
    }


def _step(task: Task, name: str, facts: Facts) -> Facts:
    """What a step of a task recorded; several share the time that their task took to start."""
    return {
        "dag": task.dag_id,
        "task": task.task_id,
        "step": name,
        "seconds": facts.get("seconds"),
        "status": facts.get("status"),
        "message": facts.get("message") or facts.get("reason"),
    }


def _delivery(steps: Steps) -> Facts:
    account = ("rows_in", "published", "duplicates", "quarantined", "withheld")
    changes = ("added", "corrected", "unchanged", "withdrawn", "late_rows")
    named = (*account, *changes, "num_left_out", "missing_days")
    return _chosen(steps.get("ingest_interactions", {}), named)


def _tables(settings: Settings, preset: str, steps: Steps) -> Facts:
    """Per table: what the day's step committed, and the rows that the table holds now."""
    from feature_store.store import FeatureStore  # a second of imports that --help needn't pay
    from feature_store.tables import CATALOG

    written: Facts = {}
    for step, facts in steps.items():
        own = {facts["table"]: facts} if facts.get("table") else {}
        for name, published in {**own, **facts.get("tables", {})}.items():
            kept = ("rows", "changed", "snapshot_id", "content_hash")
            written[name] = {"step": step, **_chosen(published, kept)}
    store = FeatureStore.open(settings, preset) if written else None
    for name, facts in written.items():
        facts["total_rows"] = store.row_count(name) if store else None
    return {name: written[name] for name in CATALOG if name in written}


def _validation(steps: Steps) -> list[Facts]:
    """Per validated step: how many rules held, and what they cost."""
    found = []
    for step, facts in steps.items():
        validation = facts.get("validation")
        if not validation:
            continue
        rules = validation["rules"]
        found.append(
            {
                "step": step,
                "success": validation["success"],
                "rules": len(rules),
                "rules_failed": [rule["rule"] for rule in rules if not rule["success"]],
                **_chosen(validation, ("seconds", "share", "docs_paths")),
            }
        )
    return found


def _tokenizer(steps: Steps) -> Facts:
    facts = {**steps.get("train_tokenizer", {}), **steps.get("build_semantic_ids", {})}
    if "quality" not in facts:
        return {}
    quality = facts["quality"]
    per_level = ("used_codes", "used_share", "entropy_share", "perplexity", "residual_share")
    return {
        **_chosen(facts, ("generation", "policy", "new_items")),
        "alarms": [
            *(steps.get("embed_items", {}).get("alarms") or ()),
            *(facts.get("alarms") or ()),
        ],
        "tokenizer_message": steps.get("train_tokenizer", {}).get("message"),
        **_chosen(quality, ("items", "collision", "reconstruction_mse")),
        "levels": [_chosen(level, per_level) for level in quality["levels"]],
        "unseen_consistency": quality.get("held_out", {}).get("consistency"),
    }


def _evaluation(step: Mapping[str, Any]) -> Facts:
    """The day's evaluation on all targets, as `training.evaluation.record` reads it again."""
    try:
        record = evaluation_of(step)
    except RecordError:  # of an earlier run of the day: this one stopped before its evaluation
        return {}
    return record.brief().to_json() if record else {}


def _gate(facts: Mapping[str, Any]) -> Facts:
    named = ("decision", "challenger_version", "champion_version", "champion_family", "alarms")
    verdict = facts.get("verdict", {})
    return {**_chosen(facts, named), **_chosen(verdict, ("summary", "reasons"))}


def _paths(settings: Settings, preset: str, day: date, steps: Steps) -> Facts:
    folder = settings.runs_of(preset) / day.isoformat()
    docs = sorted(
        {
            path
            for facts in steps.values()
            if facts.get("validation")
            for path in facts["validation"]["docs_paths"]
        }
    )
    return {
        "report": steps.get("write_report", {}).get("path"),
        "data_docs_index": str(settings.data_docs_of(preset) / "index.html") if docs else None,
        "data_docs": docs,
        "run_records": str(folder / "steps"),
        "warehouse": settings.resolved_warehouse,
        "mlflow": settings.resolved_mlflow_tracking_uri,
    }


def _chosen(facts: Mapping[str, Any], names: tuple[str, ...]) -> Facts:
    return {name: facts[name] for name in names if name in facts}
