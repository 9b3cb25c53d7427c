"""The real DAGs under the real scheduler: a day walks from the first task to the last.

The commands themselves are stand-ins that only note how they were called, so that what is tested is
Airflow's part: partition keys, hand-over between DAGs, order, retries, and a clean end.
"""

import json
import os
import sys
import time
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest

from sidereal.airflow_api import AirflowApi
from sidereal.airflow_processes import descendants, running_airflow
from sidereal.chain import CHAIN, DayChain
from sidereal.environment import airflow_environment, airflow_home, free_port
from sidereal.failure import explain

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("airflow"),
    pytest.mark.timeout(300),
]

GOOD, REFUSED, LEFT = date(1998, 4, 20), date(1998, 4, 21), date(1998, 4, 22)
LATER = date(1998, 4, 25)
TAIL = [
    "blend_recommenders",
    "evaluate_recommender",
    "promote_recommender",
    "recommend",
    "compare_answers",
    "sample_beams",
    "write_report",
]
"""Steps of one task, after the fits."""

# Fails recommend once, and refuses train_tokenizer of one day.
STAND_IN = """#!{python}
import json, pathlib, sys
calls = pathlib.Path({calls!r})
known = calls.read_text() if calls.exists() else ""
call = json.dumps(sys.argv)
with calls.open("a") as file:
    file.write(call + "\\n")
print("called with", sys.argv[1:])
if "train_tokenizer" in sys.argv and "{refused}" in sys.argv:
    print("rule volume refused 12 rows"); sys.exit(3)
if "recommend" in sys.argv and call not in known:
    sys.exit(1)
"""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    """A running Airflow, a client of it, and the list of calls that its tasks have made."""
    from feature_store.settings import Settings

    folder = tmp_path_factory.mktemp("airflow-chain")
    calls = folder / "calls.jsonl"
    script = STAND_IN.format(python=sys.executable, calls=str(calls), refused=REFUSED)
    for name in ("sidereal", "spark-submit"):
        path = folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
    settings = Settings(home=folder / "home")
    port, home = free_port(8090), airflow_home(settings)
    environment = airflow_environment(settings, port=port, preset="mine", overrides=["a.b=1"])
    environment["PATH"] = f"{folder / 'bin'}{os.pathsep}{environment['PATH']}"
    since = datetime.now(UTC)
    with running_airflow(home, environment) as processes:
        api = AirflowApi(f"http://127.0.0.1:{port}")
        while not api.parsed_dags(CHAIN, since):
            processes.check()
            assert not api.import_errors()
            time.sleep(0.5)
        for dag_id in CHAIN:
            api.switch(dag_id, on=True)
        yield processes, api, lambda: [json.loads(line) for line in calls.open()]
    assert descendants(home) == []


def follow(airflow, day, first=None):
    """The day's progress as it ended."""
    processes, api, _ = airflow
    *_, last = DayChain(api, day, first or day, processes.check).follow()
    return last


def called(airflow, day):
    """Steps that were called for a day, in order."""
    calls = [call for call in airflow[2]() if day.isoformat() in call]
    return [step for call in calls for step in _steps(call)]


def _steps(call):
    before = next(i for i, part in enumerate(call) if part == "step" or part.endswith("submit.py"))
    return call[before + 1 : call.index("--preset")]


@pytest.fixture(scope="module")
def good_day(airflow):
    """A day that went well, but for one task's first try."""
    return follow(airflow, GOOD)


def test_a_day_goes_through_all_dags_by_what_each_publishes(airflow, good_day):
    assert good_day.done
    assert {task.state for task in good_day.tasks} == {"success"}
    steps = list(dict.fromkeys(called(airflow, GOOD)))
    assert sorted(steps) == sorted(step for task in good_day.tasks for step in task.steps)
    assert len(steps) > len(good_day.tasks), "steps of a DAG share a task"
    assert steps[:3] == ["build_items", "build_users", "ingest_interactions"]
    assert steps.index("embed_items") < steps.index("train_tokenizer")
    # Both of its tables are waited for, whichever comes last.
    for earlier in ("build_user_sequences", "build_semantic_ids"):
        assert steps.index(earlier) < steps.index("train_recommender")
    assert steps[-len(TAIL) :] == TAIL


def test_a_passing_failure_is_retried(airflow, good_day):
    tries = {step: task.try_number for task in good_day.tasks for step in task.steps}
    assert {step for step, number in tries.items() if number == 2} == set(TAIL)
    assert set(tries.values()) == {1, 2}
    assert called(airflow, GOOD).count("recommend") == 2


def test_every_command_gets_the_preset_the_overrides_and_the_day(airflow, good_day):
    calls = [call for call in airflow[2]() if GOOD.isoformat() in call]
    for call in calls:
        text = " ".join(call)
        assert f"--preset mine --day {GOOD} --set a.b=1" in text
    assert {"--master local[*]" in " ".join(call) for call in calls if "step" not in call} == {True}


def test_a_range_is_brought_in_and_the_rest_is_done_once_for_its_last_day(airflow):
    assert follow(airflow, LATER, first=LATER - timedelta(days=2)).done
    ingested, *others = [call for call in airflow[2]() if "--day" in call and str(LATER) in call]
    assert ingested[-2:] == ["--from", "1998-04-23"]
    assert others
    assert not any("--from" in call for call in others)


def test_refused_data_fails_at_once_and_stops_what_depends_on_it(airflow):
    last = follow(airflow, REFUSED)
    assert last.failed
    assert [(task.task_id, task.try_number) for task in last.failures] == [("semantic_ids", 1)]
    assert "train_recommender" not in called(airflow, REFUSED)
    text = explain(airflow[1], last)
    assert "rule volume refused 12 rows" in text
    assert "From the runbook of semantic_ids_weekly" in text


def test_runs_that_an_interrupted_airflow_left_are_abandoned(airflow):
    api = airflow[1]
    api.switch(CHAIN[0], on=False)
    since = api.trigger(CHAIN[0], LEFT)
    assert [(run.dag_id, run.state) for run in api.abandon(CHAIN)] == [(CHAIN[0], "queued")]
    assert [run.state for run in api.runs(LEFT, since)] == ["failed"]
    assert api.abandon(CHAIN) == []


def test_what_airflow_refuses_is_an_error_here(airflow):
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        airflow[1].trigger("no_such_dag", GOOD)
