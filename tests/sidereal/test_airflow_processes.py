"""Processes of an embedded Airflow: they start, are watched, and never outlive the block."""

import os
import subprocess
import sys
import time

import pytest

from sidereal.airflow_processes import (
    AirflowError,
    component_log,
    descendants,
    end_descendants,
    running_airflow,
    tail,
)
from sidereal.environment import OWNER

SCRIPT = """#!{python}
import subprocess, sys, time
if sys.argv[1] == "db":
    print("migrating"); sys.exit({migrate_code})
if sys.argv[1] == "api-server":
    time.sleep(0.3); sys.exit("port taken") if {dies} else None
# A task: a session of its own, which a signal to the component's group would not reach.
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
time.sleep(300)
"""


@pytest.fixture
def airflow_stand_in(tmp_path):
    """An `airflow` command that starts processes as the real one does; returns home and env."""

    def make(*, migrate_code=0, dies=False):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        script = folder / "airflow"
        script.write_text(
            SCRIPT.format(python=sys.executable, migrate_code=migrate_code, dies=dies)
        )
        script.chmod(0o755)
        home = tmp_path / "airflow"
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        return home, {**os.environ, "PATH": path, OWNER: str(home)}

    return make


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_nothing_outlives_the_block(airflow_stand_in):
    home, environment = airflow_stand_in()
    with running_airflow(home, environment, ["scheduler", "dag-processor"]) as airflow:
        airflow.check()
        assert wait_until(lambda: len(descendants(home)) == 4)
    assert descendants(home) == []


def test_nothing_outlives_an_interrupted_block(airflow_stand_in):
    home, environment = airflow_stand_in()
    with pytest.raises(KeyboardInterrupt), running_airflow(home, environment, ["scheduler"]):
        assert wait_until(lambda: len(descendants(home)) == 2)
        raise KeyboardInterrupt
    assert descendants(home) == []


def test_a_process_that_ignores_the_polite_signal_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("sidereal.airflow_processes.GRACE_SECONDS", 0.5)
    code = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(tmp_path / 'stubborn')!r}).touch(); time.sleep(300)"
    )
    environment = {**os.environ, OWNER: str(tmp_path)}
    subprocess.Popen([sys.executable, "-c", code], env=environment)
    assert wait_until((tmp_path / "stubborn").exists)
    assert len(descendants(tmp_path)) == 1
    end_descendants(tmp_path)
    assert descendants(tmp_path) == []


def test_a_triggerer_that_died_ends_no_run(airflow_stand_in):
    home, environment = airflow_stand_in()
    with running_airflow(home, environment, ["triggerer"]) as airflow:
        airflow.processes["triggerer"].kill()
        airflow.processes["triggerer"].wait(20)
        airflow.check()


def test_a_component_that_died_is_reported_with_the_end_of_its_log(airflow_stand_in):
    home, environment = airflow_stand_in(dies=True)
    with running_airflow(home, environment, ["api-server"]) as airflow:
        airflow.processes["api-server"].wait(20)
        with pytest.raises(AirflowError, match=r"api-server ended with exit code 1(.|\n)*taken"):
            airflow.check()


def test_a_database_that_cannot_be_set_up_is_reported(airflow_stand_in):
    home, environment = airflow_stand_in(migrate_code=1)
    with (
        pytest.raises(AirflowError, match=r"db migrate failed(.|\n)*migrating"),
        running_airflow(home, environment, []),
    ):
        pass


def test_a_second_run_on_the_same_home_is_refused(airflow_stand_in):
    home, environment = airflow_stand_in()
    with (
        running_airflow(home, environment, []),
        pytest.raises(AirflowError, match="another `sidereal run` or `sidereal ui` uses"),
        running_airflow(home, environment, []),
    ):
        pass


def test_what_a_killed_run_left_behind_is_ended_by_the_next(airflow_stand_in):
    home, environment = airflow_stand_in()
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], env=environment)
    assert wait_until(lambda: descendants(home))
    with running_airflow(home, environment, []):
        assert descendants(home) == []


def test_the_tail_of_a_log_that_is_not_there_is_empty(tmp_path):
    assert tail(component_log(tmp_path, "scheduler"), 5) == []
