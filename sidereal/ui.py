"""`sidereal ui`: the Airflow and MLflow UIs over the state that runs have left."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import click
import httpx

from feature_store.settings import Settings
from sidereal.airflow_processes import AirflowError, component_log, running_airflow, tail
from sidereal.environment import airflow_environment, airflow_home, free_port

AIRFLOW_PORT = 8080
MLFLOW_PORT = 5000
START_SECONDS = 120.0


@click.command()
def ui() -> None:
    """Serve the Airflow and MLflow UIs on loopback, until Ctrl-C.

    Airflow's is for looking: no scheduler runs behind it, so nothing starts. `sidereal run
    --keep-airflow` keeps a whole Airflow up after a run.
    """
    settings = Settings()
    if not (airflow_home(settings) / "airflow.db").is_file():
        _fail(f"nothing to show below {settings.home}; start with `sidereal run`")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _serve(settings)
    except KeyboardInterrupt:
        click.echo("ended")
    except AirflowError as error:
        _fail(str(error))


def _serve(settings: Settings) -> None:
    port, home = free_port(AIRFLOW_PORT), airflow_home(settings)
    environment = airflow_environment(settings, port=port)
    with (
        running_airflow(home, environment, components=["api-server", "triggerer"]) as airflow,
        _mlflow(settings, environment) as (mlflow_port, mlflow),
    ):
        addresses = {
            "Airflow": f"http://127.0.0.1:{port}",
            "MLflow": f"http://127.0.0.1:{mlflow_port}/#/models",
        }
        deadline = time.monotonic() + START_SECONDS
        for name, address in addresses.items():
            while not _answers(address):
                airflow.check()
                _check(mlflow, settings)
                if time.monotonic() > deadline:
                    raise AirflowError(
                        f"{name} does not answer at {address}; logs: {home / 'logs'}"
                    )
                time.sleep(0.5)
            click.echo(f"{name:8}{address}")
        click.echo(
            "Airflow's home shows scheduler and DAG processor as failed: neither runs here, so "
            "nothing starts. Ctrl-C ends both"
        )
        while True:
            airflow.check()
            _check(mlflow, settings)
            time.sleep(1.0)


@contextmanager
def _mlflow(
    settings: Settings, environment: Mapping[str, str]
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """An MLflow server; ended with Airflow's processes, whose mark it carries."""
    port = free_port(MLFLOW_PORT)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", settings.resolved_mlflow_tracking_uri),
        *("--default-artifact-root", settings.resolved_mlflow_artifacts, "--workers", "1"),
    ]
    with component_log(airflow_home(settings), "mlflow").open("wb") as output:
        yield (
            port,
            subprocess.Popen(
                command,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ),
        )


def _check(mlflow: subprocess.Popen[bytes], settings: Settings) -> None:
    if mlflow.poll() is not None:
        log = component_log(airflow_home(settings), "mlflow")
        raise AirflowError(
            f"mlflow ended with exit code {mlflow.returncode}; from {log}:\n"
            + "\n".join(tail(log, 15))
        )


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5.0).is_success
    except httpx.HTTPError:
        return False


def _fail(message: str) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(1)
