"""Drives the days of a plan: starts Airflow, follows each day, sums it up, ends Airflow."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NoReturn

from rich.console import Console

from feature_store.settings import Settings
from sidereal.airflow_api import AirflowApi
from sidereal.airflow_processes import Airflow, AirflowError, running_airflow
from sidereal.chain import CHAIN, DayChain
from sidereal.environment import airflow_environment, airflow_home, free_port
from sidereal.failure import exit_code, explain
from sidereal.live_view import day_view
from sidereal.stopped_report import report_stopped
from sidereal.summary import summarize, write_summary
from sidereal.summary_view import print_summary

PREFERRED_PORT = 8080
START_SECONDS = 180.0
"""How long Airflow may take to come up; a busy machine needs more than the usual 15."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run.

    Args:
        preset: name, or path of a YAML, as the steps are given it.
        name: the preset's name, by which its tables and records go.
        days: in order; each starts when the one before it is done.
        first_day: where days are filled in, the first that is brought in before the only one of
            `days`, for which alone all that follows is done; else that day itself.
        overrides: `section.key=value` texts for every step.
        dataset: what to fetch before; None where the preset brings its own data.
    """

    preset: str
    name: str
    days: tuple[date, ...]
    first_day: date
    overrides: tuple[str, ...]
    dataset: str | None

    @property
    def filled_days(self) -> list[date]:
        """Days that are brought in and get no models of their own."""
        num_days = (self.days[0] - self.first_day).days
        return [self.first_day + timedelta(days=number) for number in range(num_days)]


class RunFailed(Exception):
    """A task failed for good; carries the exit code, 3 where validation refused the data."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def drive(
    plan: Plan, settings: Settings, console: Console, *, keep_airflow: bool = False
) -> list[dict[str, Any]]:
    """Run the plan; returns each day's summary, which is also written beside its run records.

    Raises:
        RunFailed: a task failed for good, the data could not be fetched, or Airflow died.
        KeyboardInterrupt: SIGINT, SIGTERM or SIGHUP came.
    """
    port = free_port(PREFERRED_PORT)
    address = f"http://127.0.0.1:{port}"
    environment = airflow_environment(
        settings, port=port, preset=plan.preset, name=plan.name, overrides=plan.overrides
    )
    started = time.monotonic()
    try:
        with _signals_interrupt(), running_airflow(airflow_home(settings), environment) as airflow:
            fetch = _start_fetch(plan.dataset, environment)
            api = AirflowApi(address)
            _wait_until_ready(airflow, api, console)
            _finish_fetch(fetch, plan.dataset)
            console.print(f"Airflow is up after {time.monotonic() - started:.0f} s: {address}")
            summaries = [_run_day(day, plan, settings, airflow, api, console) for day in plan.days]
            if keep_airflow:
                console.print(f"Airflow UI: {address} (Ctrl-C ends it)")
                _wait_for_interrupt()
            return summaries
    except AirflowError as error:
        raise RunFailed(f"error: {error}", 1) from error


def _run_day(
    day: date, plan: Plan, settings: Settings, airflow: Airflow, api: AirflowApi, console: Console
) -> dict[str, Any]:
    started = time.monotonic()
    with day_view(console) as view:
        for progress in DayChain(api, day, min(day, plan.first_day), airflow.check).follow():
            view.show(progress)
    seconds = time.monotonic() - started
    filled = plan.filled_days if day == plan.days[0] else []
    facts = summarize(
        settings, plan.name, progress, seconds=seconds, given=plan.preset, filled=filled
    )
    path = write_summary(settings, facts)
    if progress.failed:
        line = report_stopped(settings, plan.preset, plan.overrides, progress, filled)
        console.print(line, markup=False, highlight=False, soft_wrap=True)
        code = exit_code(settings, plan.name, progress, filled)
        raise RunFailed(explain(api, progress), code)
    print_summary(console, facts, path)
    return facts


def _wait_until_ready(airflow: Airflow, api: AirflowApi, console: Console) -> None:
    since = datetime.now(UTC)
    deadline = time.monotonic() + START_SECONDS
    with console.status("Airflow is starting"):
        while not api.parsed_dags(CHAIN, since):
            airflow.check()
            if errors := api.import_errors():
                raise AirflowError("a DAG file can't be read:\n" + "\n".join(errors))
            if time.monotonic() > deadline:
                raise AirflowError(
                    f"Airflow did not come up within {START_SECONDS:.0f} s; its logs are in "
                    f"{airflow.home / 'logs'}"
                )
            time.sleep(0.5)
    api.abandon(CHAIN)
    for dag_id in CHAIN:
        api.switch(dag_id, on=True)


def _start_fetch(dataset: str | None, environment: dict[str, str]) -> subprocess.Popen[str] | None:
    """Fetch while Airflow comes up; `sidereal fetch` does nothing where the data is there."""
    if dataset is None:
        return None
    return subprocess.Popen(
        ["sidereal", "fetch", dataset],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _finish_fetch(fetch: subprocess.Popen[str] | None, dataset: str | None) -> None:
    if fetch is None:
        return
    output, _ = fetch.communicate()
    if fetch.returncode:
        raise RunFailed(f"sidereal fetch {dataset} failed:\n{output.strip()}", fetch.returncode)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Treat a polite end of this process as Ctrl-C, so that Airflow is ended first."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    signals = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(each, interrupt) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


def _wait_for_interrupt() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        return
