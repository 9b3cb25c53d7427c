"""Two presets under one Airflow: what one has half emitted never starts a DAG of the other.

The commands are stand-ins that note how they were called.
"""

import json
import os
import sys
import time
from contextlib import contextmanager
from datetime import UTC, date, datetime

import pytest

from feature_store.settings import Settings
from sidereal.airflow_api import AirflowApi
from sidereal.airflow_processes import running_airflow
from sidereal.chain import CHAIN, DayChain
from sidereal.environment import airflow_environment, airflow_home, free_port

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.end_to_end,
    pytest.mark.exhaustive,
    pytest.mark.xdist_group("airflow"),
    pytest.mark.timeout(400),
]

DAY = date(1998, 4, 20)

# The films' pairs fail, while semantic IDs are emitted all the same; the shop's semantic
# IDs take their time.
STAND_IN = """#!{python}
import json, pathlib, sys, time
if "shop" in sys.argv and "build_semantic_ids" in sys.argv:
    time.sleep(8)
with pathlib.Path({calls!r}).open("a") as file:
    file.write(json.dumps(sys.argv) + "\\n")
if "films" in sys.argv and "build_preference_pairs" in sys.argv:
    sys.exit(3)
"""


@contextmanager
def airflow_of(folder, preset):
    """A client of an Airflow that runs a preset, each step a task of its own."""
    settings = Settings(home=folder / "home")
    port, home = free_port(8090), airflow_home(settings)
    environment = airflow_environment(settings, port=port, preset=preset, name=preset)
    environment["SIDEREAL_TASK_PER"] = "step"
    environment["PATH"] = f"{folder / 'bin'}{os.pathsep}{environment['PATH']}"
    since = datetime.now(UTC)
    with running_airflow(home, environment) as processes:
        api = AirflowApi(f"http://127.0.0.1:{port}")
        while not api.parsed_dags(CHAIN, since):
            processes.check()
            assert not api.import_errors()
            time.sleep(0.5)
        api.abandon(CHAIN)
        for dag_id in CHAIN:
            api.switch(dag_id, on=True)
        yield api, processes


def test_what_one_preset_left_half_done_starts_nothing_of_another(tmp_path):
    calls = tmp_path / "calls.jsonl"
    for name in ("sidereal", "spark-submit"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(STAND_IN.format(python=sys.executable, calls=str(calls)))
        path.chmod(0o755)

    with airflow_of(tmp_path, "films") as (api, processes):
        follow = DayChain(api, DAY, DAY, processes.check).follow()
        assert any(
            task.task_id == "build_semantic_ids" and task.state == "success"
            for progress in follow
            for task in progress.tasks
        )
        assert not any("train_recommender" in line for line in calls.open())

    with airflow_of(tmp_path, "shop") as (api, processes):
        *_, last = DayChain(api, DAY, DAY, processes.check).follow()
        assert last.done

    shop = [call for call in map(json.loads, calls.open()) if "shop" in call]
    steps = [call[call.index("--preset") - 1] for call in shop]
    assert steps.index("build_semantic_ids") < steps.index("train_recommender")
    assert len(steps) == len(set(steps))
