"""What the processes of an embedded Airflow inherit."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from feature_store.settings import REPOSITORY
from sidereal.environment import OWNER, airflow_environment, free_port, read_variables


def test_everything_stays_below_the_home_and_on_loopback(settings):
    found = airflow_environment(
        settings, port=1234, preset="/x/mine.yaml", name="mine", overrides=["a.b=c d"]
    )
    assert found["AIRFLOW_HOME"] == found[OWNER] == str(settings.home / "airflow")
    assert found["SIDEREAL_HOME"] == str(settings.home)
    assert (found["SIDEREAL_PRESET"], found["SIDEREAL_PRESET_NAME"]) == ("/x/mine.yaml", "mine")
    assert found["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert found["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:1234/execution/"
    assert json.loads(found["SIDEREAL_OVERRIDES"]) == ["a.b=c d"]
    assert json.loads(found["AIRFLOW_CONN_SPARK_DEFAULT"])["host"] == "local[*]"


def test_neither_mlflow_s_server_nor_its_ui_tells_anybody_what_runs_here(settings):
    code = (
        "import os\n"
        "os.environ['_MLFLOW_SERVER_ARTIFACT_ROOT'] = '.'\n"
        "from mlflow.server import app\n"
        "from mlflow.server.handlers import get_ui_telemetry_handler\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "with app.test_request_context():\n"
        "    print(is_telemetry_disabled(), get_ui_telemetry_handler().json)\n"
    )
    environment = airflow_environment(settings, port=1)
    told = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    disabled, _, ui = told.strip().partition(" ")
    assert disabled == "True"
    assert "'disable_ui_telemetry': True" in ui
    for path in (REPOSITORY / "infra" / "cluster.env", REPOSITORY / "infra/kubernetes/config.yaml"):
        assert "MLFLOW_DISABLE_TELEMETRY" in path.read_text()


def test_a_variable_that_is_set_wins_over_the_file(settings, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "16")
    assert airflow_environment(settings, port=1)["AIRFLOW__CORE__PARALLELISM"] == "16"


def test_spark_s_jvm_is_told_where_its_logging_is_set(settings):
    options = json.loads(airflow_environment(settings, port=1)["SIDEREAL_SPARK_CONF"])
    text = options["spark.driver.extraJavaOptions"]
    path = text.split("-Dlog4j2.configurationFile=file://")[1].split()[0]
    assert Path(path).is_file()
    assert settings.spark_driver_java_options in text


def test_two_runs_never_share_a_secret(settings):
    secrets = {
        airflow_environment(settings, port=1)["AIRFLOW__API_AUTH__JWT_SECRET"] for _ in range(2)
    }
    assert len(secrets) == 2


def test_values_of_a_file_are_taken_as_they_stand(tmp_path):
    path = tmp_path / "some.env"
    path.write_text('# why\n\nA=1\nB={"host": "local[*]"}\nC=a=b # kept\nD=\n')
    assert read_variables(path) == {
        "A": "1",
        "B": '{"host": "local[*]"}',
        "C": "a=b # kept",
        "D": "",
    }


def test_a_line_that_is_no_variable_is_refused_with_its_place(tmp_path):
    path = tmp_path / "some.env"
    path.write_text("A=1\nexport B\n")
    with pytest.raises(ValueError, match=r"some\.env, line 2: 'export B' is not of the form"):
        read_variables(path)


def test_a_port_in_use_is_avoided():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port
