"""The day's commands as the DAGs spell them, run one after another without Airflow."""

import importlib
import json
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from dags.common.defaults import DAY, FIRST_DAY
from sidereal.chain import CHAIN
from sidereal.cli import main


@contextmanager
def daily_steps(preset, overrides=(), **variables):
    """Within it, a function runs all steps of a day, with the preset as it is given for the day.

    Args:
        preset: name or path, as the DAGs are given it.
        overrides: `section.key=value` texts.
        variables: of the environment, as SIDEREAL_HOME.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDEREAL_DEVICE", "cpu")
        patch.setenv("SIDEREAL_PRESET", str(preset))
        patch.setenv("SIDEREAL_OVERRIDES", json.dumps(list(overrides)))
        for name, value in variables.items():
            patch.setenv(name, str(value))
        steps = steps_in_order()

        def run(day, given=preset):
            values = {DAY: str(day), FIRST_DAY: str(day), str(preset): str(given)}
            for task in steps:
                arguments = [values.get(part, part) for part in task]
                result = CliRunner().invoke(main, arguments)
                assert result.exit_code == 0, f"{arguments}\n{result.output}\n{result.exception!r}"

        yield run
    for name in CHAIN:
        importlib.reload(importlib.import_module(f"dags.{name}"))


def steps_in_order():
    """Arguments of `sidereal` for every task, as the DAG files give them in this environment."""
    steps = []
    for name in CHAIN:
        dag = importlib.reload(importlib.import_module(f"dags.{name}")).dag
        for task in dag.topological_sort():
            spark_arguments = getattr(task, "application_args", None)
            steps.append(["step", *spark_arguments] if spark_arguments else task.argv[1:])
    return steps
