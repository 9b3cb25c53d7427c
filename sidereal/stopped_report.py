"""The report of a day that stopped: its own step is the last of the chain and never ran."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import date

from feature_store.run_record import read_steps
from feature_store.settings import Settings
from sidereal.chain import Progress

_SAID = ("failed", "refused")


def report_stopped(
    settings: Settings,
    preset: str,
    overrides: Collection[str],
    progress: Progress,
    filled: Iterable[date] = (),
) -> str:
    """Write the report of the half that ran; returns the line that tells where it is.

    Args:
        settings: where the records are.
        preset: name, or path of a YAML, as the steps were given it.
        overrides: `section.key=value` texts.
        progress: the day as it ended.
        filled: days that were filled in before it: where one of them failed, it is that one's.
    """
    from feature_store.preset import load
    from training.config import PART
    from training.programs import write_report
    from training.programs.interface import Task

    try:
        config = load(PART, preset, folder=settings.presets, overrides=tuple(overrides))
        progress = replace(progress, day=_day_of(settings, config.name, progress, filled))
        task = Task(settings, config, progress.day, step="write_report")
        facts = write_report.run(task, stopped_at(settings, config.name, progress))
    except Exception as error:  # what failed before is what has to be told
        return f"no report of {progress.day} could be written: {error}"
    return f"report {facts['path']}"


def _day_of(settings: Settings, preset: str, progress: Progress, filled: Iterable[date]) -> date:
    """The first day that was filled in and whose record tells of the failure, else the day."""
    failed = {step for task in progress.failures for step in task.steps}
    for day in filled:
        records = read_steps(settings.runs_of(preset), day)
        if any(records[step].get("status") in _SAID for step in failed & records.keys()):
            return day
    return progress.day


def stopped_at(settings: Settings, preset: str, progress: Progress) -> str:
    """The step of a failed task that left no record of its failure: it was killed, for example.

    Where the task's steps all have records, those may be of an earlier run: then it is the first.
    Empty where a record tells of the failure.
    """
    records = read_steps(settings.runs_of(preset), progress.day)
    steps = [step for task in progress.failures for step in task.steps]
    if not steps or any(records.get(step, {}).get("status") in _SAID for step in steps):
        return ""
    return next((step for step in steps if step not in records), steps[0])
