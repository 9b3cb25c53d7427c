"""`sidereal run` as a person starts it and then thinks better of it."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from sidereal.airflow_processes import descendants
from sidereal.environment import airflow_home

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("airflow"),
    pytest.mark.timeout(300),
]


def test_an_interrupted_run_leaves_no_process_behind(settings):
    (settings.data_path / "kuairand").mkdir(parents=True)
    run = subprocess.Popen(
        [
            *(sys.executable, "-m", "sidereal.cli", "run"),
            *("--preset", "kuairand", "--day", "2022-04-20"),  # a day without a delivery
        ],
        env={**os.environ, "SIDEREAL_HOME": str(settings.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # What is started in the background is told to ignore SIGINT, and would pass that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    watchdog = threading.Timer(200, run.kill)
    watchdog.start()
    assert run.stdout is not None
    seen = []
    for line in run.stdout:
        seen.append(line)
        if "interactions_daily.spark_jobs running" in line:
            assert len(descendants(airflow_home(settings))) > 3
            run.send_signal(signal.SIGINT)
    watchdog.cancel()
    assert run.wait() == 130, "".join(seen)
    assert "interrupted; Airflow and all its tasks were ended" in "".join(seen)
    assert descendants(airflow_home(settings)) == []
