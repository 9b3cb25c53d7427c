"""write_report: one self-contained HTML page about the day.

Reads the day's run records and the tables' snapshots; recomputes nothing. A day whose chain
stopped half-way gets a report of the half that ran.
"""

from datetime import date
from importlib.resources import files
from typing import Any

import jinja2
import pyarrow.compute as pc

from feature_store.run_record import read_steps
from feature_store.store import FeatureStore
from training.evaluation.record import RecordError
from training.programs.interface import Facts, ProgramError, Task
from training.report import sections
from training.report.blocks import Section

_VOLUME_DAYS = 30
"""Days of traffic drawn."""


def run(task: Task) -> Facts:
    """Write `report.html` beside the day's run records.

    Raises:
        ProgramError: no step of the day left a record, or the evaluation's is of an older version.
    """
    steps = read_steps(task.runs, task.day)
    if not steps:
        raise ProgramError(f"no step has run for {task.day} under {task.runs}; run the day first")
    try:
        found = _sections(task, steps)
    except RecordError as error:
        raise ProgramError(f"{task.day}: {error}") from error
    page = _template().render(
        preset=task.config.name,
        day=task.day.isoformat(),
        description=task.config.description,
        sections=[section for section in found if section is not None],
    )
    path = task.runs / task.day.isoformat() / "report.html"
    beside = path.with_suffix(".html.tmp")
    beside.write_text(page, encoding="utf-8")
    beside.replace(path)
    return {"path": str(path), "bytes": len(page.encode()), "message": f"wrote {path}"}


def _sections(task: Task, steps: sections.Steps) -> list[Section | None]:
    return [
        sections.verdict(steps),
        sections.metrics(steps),
        sections.ranking(steps),
        sections.slates(steps),
        sections.data_health(steps, _volume(task.store, task.day)),
        sections.validation(steps),
        sections.tokenizer(steps),
        sections.training(steps),
        sections.alignment(steps),
        sections.cost(steps, task.settings.machine_cost_per_hour),
        sections.lineage(steps, _lineage(task.store, task.day)),
    ]


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    text = files("training.report").joinpath("template.html").read_text(encoding="utf-8")
    return environment.from_string(text)


def _volume(store: FeatureStore, day: date) -> dict[str, Any] | None:
    """Rows per strength of the last published days up to this one; reads two small columns."""
    days = [found for found in store.partitions("interactions") if found <= day][-_VOLUME_DAYS:]
    counts: dict[int, list[int]] = {}
    for place, found in enumerate(days):
        for batch in store.scan("interactions", partition=found, columns=["strength"]):
            for value in pc.value_counts(batch.column("strength")).to_pylist():
                per_day = counts.setdefault(int(value["values"]), [0] * len(days))
                per_day[place] += value["counts"]
    return {"days": [found.isoformat() for found in days], "counts": counts} if days else None


def _lineage(store: FeatureStore, day: date) -> list[dict[str, Any]]:
    """One row per table that the day's recommendations come from, the recommendations first."""
    if store.snapshot_id("recommendations", at=day) is None:
        return []
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    _walk(store.lineage("recommendations", at=day), rows)
    return list(rows.values())


def _walk(node: dict[str, Any], rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    key = (node["table"], str(node["snapshot_id"]))
    if key in rows:
        return
    inputs = node.get("inputs", {})
    raw = [str(file) for name, value in inputs.items() if name == "raw_files" for file in value]
    made_from = [name for name in inputs if name != "raw_files"]
    made_from += [file.rsplit("/", 1)[-1] for file in raw[:3]]
    made_from += [f"{len(raw) - 3} more files"] if len(raw) > 3 else []
    rows[key] = {
        "table": node["table"],
        "rows": f"{node['rows']:,}" if node.get("rows") is not None else "–",
        "snapshot": key[1],
        "made by": node.get("job", ""),
        "day": str(node.get("day", "")),
        "code": str(node.get("code_revision", ""))[:10],
        "from": ", ".join(made_from),
    }
    for child in inputs.values():
        if isinstance(child, dict):
            _walk(child, rows)
