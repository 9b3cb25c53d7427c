"""What a step has nothing to do for, as a preset says without any data: found out before Spark."""

from datetime import date
from time import perf_counter
from typing import Any

from feature_store.run_record import timed, write_step
from feature_store.settings import Settings
from pipelines.config import PipelineConfig

Facts = dict[str, Any]


def idle(name: str, config: PipelineConfig, settings: Settings, day: date) -> Facts | None:
    """Facts of a run that does nothing, which become the day's record; None: the job is to be run.

    Args:
        name: of the step.
        config: the pipelines' part of the preset.
        settings: where records are.
        day: the partition.
    """
    started = perf_counter()
    why = _why(name, config)
    if why is None:
        return None
    facts = {"step": name, "day": day.isoformat(), "preset": config.name, "status": "unchanged"}
    facts = timed({**facts, "message": why}, perf_counter() - started)
    write_step(settings.runs_of(config.name), day, name, facts)
    return facts


def _why(name: str, config: PipelineConfig) -> str | None:
    if name == "build_impressions" and not config.impressions.fields:
        return "the preset names no fields of impressions (impressions.fields)"
    source = config.source
    if name == "build_users" and source.layout == "movielens":
        return "nothing is read of MovieLens' people"
    if name == "build_users" and source.layout == "table" and source.users is None:
        return "the preset maps no file on users (source.users)"
    return None
