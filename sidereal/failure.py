"""What a person needs when a task has failed: the end of its log and what the runbook says."""

from collections.abc import Iterable
from datetime import date

from feature_store.run_record import read_steps
from feature_store.settings import Settings
from sidereal.airflow_api import AirflowApi
from sidereal.chain import Progress

LOG_LINES = 25


def explain(api: AirflowApi, progress: Progress) -> str:
    """Per failed task the last lines of its log, then the triage section of each DAG concerned."""
    parts = []
    for task in progress.failures:
        lines = [f"    {line}" for event in api.log(task) for line in event.splitlines()]
        parts.append(
            f"{progress.day} {task.dag_id}.{task.task_id} failed in try {task.try_number}; "
            "its log ends with\n" + "\n".join(lines[-LOG_LINES:])
        )
    for dag_id in dict.fromkeys(task.dag_id for task in progress.failures):
        parts.append(f"From the runbook of {dag_id}:\n{triage(api.runbook(dag_id))}")
    return "\n\n".join(parts)


def triage(runbook: str) -> str:
    """The triage section of a DAG's docstring."""
    _, _, section = runbook.partition("## Triage")
    return section.strip()


def exit_code(
    settings: Settings, preset: str, progress: Progress, filled: Iterable[date] = ()
) -> int:
    """3 where validation refused the data of the day or of one filled in before it, else 1."""
    failed = {step for task in progress.failures for step in task.steps}
    days = (progress.day, *filled)
    return 3 if any(_refused(settings, preset, day) & failed for day in days) else 1


def _refused(settings: Settings, preset: str, day: date) -> set[str]:
    steps = read_steps(settings.runs_of(preset), day)
    return {name for name, facts in steps.items() if facts.get("status") == "refused"}
