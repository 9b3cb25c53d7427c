"""What every DAG shares: the day of a run, the closed list of tags, retries, and the preset.

Read from the environment of the Airflow processes (each is written out in infra/README.md):

    SIDEREAL_PRESET                preset the chain runs for, by name or path    movielens-100k
    SIDEREAL_PRESET_NAME           its name, where it isn't the file's stem      the stem
    SIDEREAL_OVERRIDES             JSON list of `section.key=value` texts     []
    SIDEREAL_DAILY_CRON            when the day before is run (UTC), or `none`   0 2 * * *
    SIDEREAL_TASK_RETRIES          retries of a failed task                   2
    SIDEREAL_RETRY_DELAY_SECONDS   wait before the first retry, then doubled  60
"""

import json
import os
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from airflow.sdk import CronPartitionTimetable, PartitionedAtRuntime

from dags.common.retries import UnlessHopeless

DAY = "{{ partition_key }}"
"""The day a run is for, as `%Y-%m-%d`. Never the logical date: asset-triggered runs have none."""


FIRST_DAY = (
    "{{ (dag_run.conf or {}).get('first_day', partition_key) if dag_run is defined "
    "else partition_key }}"
)
"""The first of the days that a run fills in: `first_day` of its conf, else its day alone."""


class Tag(StrEnum):
    """The closed list of tags; the test of the DAGs refuses any other."""

    DAILY = "daily"
    WEEKLY = "weekly"
    SPARK = "spark"
    TRAINING = "training"
    TABLES = "tables"


def dag_defaults() -> dict[str, Any]:
    """Arguments that all DAGs pass on.

    No start date: any past day can be run, and a DAG that is switched on waits for its next tick
    (with one, Airflow runs the last tick at once). One run of a DAG at a time: two days would race
    for the same tables, and the second day's gate must find the first day's champion.
    """
    retries = int(os.environ.get("SIDEREAL_TASK_RETRIES", "2"))
    delay_seconds = float(os.environ.get("SIDEREAL_RETRY_DELAY_SECONDS", "60"))
    return {
        "catchup": False,
        "max_active_runs": 1,
        "default_args": {
            "owner": "recommendations",
            "retries": retries,
            "retry_delay": timedelta(seconds=delay_seconds),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(minutes=15),
            "retry_policy": UnlessHopeless(),
        },
    }


def daily_schedule() -> CronPartitionTimetable | PartitionedAtRuntime:
    """Each night for the day before; under `none`, only days that somebody asks for."""
    cron = os.environ.get("SIDEREAL_DAILY_CRON", "0 2 * * *")
    if cron == "none":
        return PartitionedAtRuntime()
    return CronPartitionTimetable(cron, timezone="UTC", run_offset=-1, key_format="%Y-%m-%d")


def preset_name() -> str:
    """Name of the preset, as its tables go by; YAML isn't read where DAGs are parsed."""
    return os.environ.get("SIDEREAL_PRESET_NAME") or Path(preset()).stem


def preset() -> str:
    """The preset as the steps are given it: a name or a path."""
    return os.environ.get("SIDEREAL_PRESET", "movielens-100k")


def preset_arguments() -> list[str]:
    """The `--preset`, `--day` and `--set` arguments of every step.

    Raises:
        ValueError: SIDEREAL_OVERRIDES is not a JSON list of texts.
    """
    text = os.environ.get("SIDEREAL_OVERRIDES", "[]")
    try:
        overrides = json.loads(text)
    except json.JSONDecodeError:
        overrides = None
    if not isinstance(overrides, list) or not all(isinstance(each, str) for each in overrides):
        raise ValueError(
            f"SIDEREAL_OVERRIDES is {text!r}; expected a JSON list of 'section.key=value' texts, "
            'such as ["models.challenger=sasrec"]'
        )
    arguments = ["--preset", preset(), "--day", DAY]
    for override in overrides:
        arguments += ["--set", override]
    return arguments
