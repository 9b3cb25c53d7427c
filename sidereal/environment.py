"""The variables that Airflow and the tasks get on one machine."""

import json
import os
import secrets
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

from feature_store.env_file import PATHS, read_variables
from feature_store.settings import REPOSITORY, Settings
from pipelines.java_options import driver_java_options

ONE_MACHINE = REPOSITORY / "infra" / "one-machine.env"

OWNER = "SIDEREAL_AIRFLOW_OWNER"
"""Marks every process that a run starts, so that none outlives it unseen."""


def airflow_environment(
    settings: Settings,
    *,
    port: int,
    preset: str = "",
    name: str = "",
    overrides: Iterable[str] = (),
) -> dict[str, str]:
    """What the processes of an embedded Airflow inherit.

    Args:
        settings: where the state lives.
        port: of the API server, on loopback.
        preset: for which the chain runs, by name or path; empty where nothing will run.
        name: the preset's name.
        overrides: `section.key=value` texts passed to every step.
    """
    home = airflow_home(settings)
    address = f"http://127.0.0.1:{port}"
    own = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])
        ),
        # spark-submit, torchrun and sidereal of this environment, whatever the shell has.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        OWNER: str(home),
        # Airflow's process titles would otherwise be written over the environment, mark and all.
        "SPT_NOENV": "1",
    }
    # Tasks run in another folder, from which a relative path would lead elsewhere.
    own |= {name: str(Path(os.environ[name]).absolute()) for name in PATHS if name in os.environ}
    if "OMP_NUM_THREADS" not in os.environ:
        # Two tasks at a time: threads of one that wait for a core of the other's do no work.
        own["OMP_NUM_THREADS"] = str(max((os.cpu_count() or 1) // 2, 1))
    if "SIDEREAL_SPARK_CONF" not in os.environ:
        own["SIDEREAL_SPARK_CONF"] = json.dumps(
            {"spark.driver.extraJavaOptions": driver_java_options(settings)}
        )
    own["SIDEREAL_HOME"] = str(settings.home.absolute())
    if preset:
        own |= {
            "SIDEREAL_PRESET": preset,
            "SIDEREAL_PRESET_NAME": name,
            "SIDEREAL_OVERRIDES": json.dumps(list(overrides)),
        }
    return {**read_variables(ONE_MACHINE), **os.environ, **own}


def airflow_home(settings: Settings) -> Path:
    """Where the embedded Airflow keeps its database and logs."""
    return settings.home.absolute() / "airflow"


def free_port(preferred: int) -> int:
    """The preferred port where nobody listens on it, else one that the system gives."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
