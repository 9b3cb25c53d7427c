"""`sidereal run`: the whole chain for some days on this machine, driven through Airflow."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NoReturn

import click

from feature_store.preset import PresetError, load_preset
from feature_store.settings import Settings

PREFERRED_PORT = 8080
START_SECONDS = 180.0
"""How long Airflow may take to come up; a busy machine needs more than the usual 15."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run.

    Args:
        preset: name, or path of a YAML.
        days: in order; each starts when the one before it is done.
        overrides: `section.key=value` texts for every step.
        dataset: what to fetch before; None where the preset brings its own data.
    """

    preset: str
    days: tuple[date, ...]
    overrides: tuple[str, ...]
    dataset: str | None


class RunFailed(Exception):
    """A task failed for good; carries the exit code, 3 where validation refused the data."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@click.command()
@click.option("--preset", default="movielens-100k", show_default=True, help="Name or path.")
@click.option("--day", "--days", "days", multiple=True, help="Days to run: D1,D2 (or repeated).")
@click.option("--model", help="Family to train as challenger (models.challenger).")
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Change a setting.")
@click.option("--keep-airflow", is_flag=True, help="Serve the Airflow UI afterwards, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the summaries as JSON, nothing else.")
def run(
    preset: str,
    days: tuple[str, ...],
    model: str | None,
    overrides: tuple[str, ...],
    keep_airflow: bool,
    as_json: bool,
) -> None:
    """Run the whole chain for some days: fetch, ingest, validate, train, decide, recommend.

    Starts Airflow on loopback with its state under var/airflow, unpauses the four daily DAGs,
    starts the first for each day in turn and follows the others, which are started by what is
    published. Ends Airflow again, also when interrupted. Without --days, the preset's own days.

    Exit codes: 0 done (also when the gate refused: that is an outcome), 1 a task failed,
    2 wrong usage or preset, 3 validation refused the data.
    """
    from rich.console import Console

    settings = Settings()
    console = Console(stderr=as_json)
    try:
        plan = make_plan(preset, days, model, overrides, settings)
        summaries = drive(plan, settings, console, keep_airflow=keep_airflow)
    except PresetError as error:
        _end(f"error: {error}", 2)
    except RunFailed as error:
        _end(str(error), error.exit_code)
    except KeyboardInterrupt:
        _end("interrupted; Airflow and all its tasks were ended", 130)
    if as_json:
        click.echo(json.dumps(summaries, indent=1, default=str))


def make_plan(
    preset: str,
    days: Iterable[str],
    model: str | None,
    overrides: Sequence[str],
    settings: Settings,
) -> Plan:
    """What to run; everything that can be wrong with the preset is found here, before any wait.

    Raises:
        PresetError: the preset, an override or a day is wrong, or there are no days.
    """
    from pipelines.config import load_config as load_pipelines
    from sidereal.schedule import load_schedule
    from training.config import load_config as load_training

    changed = (*overrides, *([f"models.challenger={model}"] if model else []))
    load_pipelines(preset, folder=settings.presets, overrides=changed)
    load_training(preset, folder=settings.presets, overrides=changed)
    schedule = load_schedule(preset, folder=settings.presets, overrides=changed)
    chosen = _parse_days(days) or schedule.days
    if not chosen:
        raise PresetError(f"preset {preset!r} has no schedule.days; say which with --days")
    source = load_preset(preset, folder=settings.presets, overrides=changed)["source"]
    fetched = source["layout"] == "movielens" and not source.get("path")
    dataset = f"movielens-{source['dataset']}" if fetched else None
    return Plan(preset, chosen, changed, dataset)


def drive(
    plan: Plan, settings: Settings, console: Any, *, keep_airflow: bool = False
) -> list[dict[str, Any]]:
    """Run the plan; returns each day's summary, which is also written beside its run records.

    Raises:
        RunFailed: a task failed for good, the data could not be fetched, or Airflow died.
        KeyboardInterrupt: SIGINT, SIGTERM or SIGHUP came.
    """
    from sidereal.airflow_api import AirflowApi
    from sidereal.airflow_processes import AirflowError, running_airflow
    from sidereal.environment import airflow_environment, airflow_home, free_port

    port = free_port(PREFERRED_PORT)
    address = f"http://127.0.0.1:{port}"
    environment = airflow_environment(
        settings, port=port, preset=plan.preset, overrides=plan.overrides
    )
    started = time.monotonic()
    try:
        with _signals_interrupt(), running_airflow(airflow_home(settings), environment) as airflow:
            fetch = _start_fetch(plan.dataset, environment)
            api = AirflowApi(address)
            _wait_until_ready(airflow, api, console)
            _finish_fetch(fetch, plan.dataset)
            console.print(f"Airflow is up after {time.monotonic() - started:.0f} s: {address}")
            summaries = [
                _run_day(day, plan, settings, airflow, api, console) for day in plan.days
            ]
            if keep_airflow:
                console.print(f"Airflow UI: {address} (Ctrl-C ends it)")
                _wait_for_interrupt()
            return summaries
    except AirflowError as error:
        raise RunFailed(f"error: {error}", 1) from error


def _run_day(
    day: date, plan: Plan, settings: Settings, airflow: Any, api: Any, console: Any
) -> dict[str, Any]:
    from sidereal.chain import DayChain
    from sidereal.failure import explain, exit_code
    from sidereal.live_view import day_view
    from sidereal.summary import summarize, write_summary
    from sidereal.summary_view import print_summary

    started = time.monotonic()
    with day_view(console) as view:
        for progress in DayChain(api, day, airflow.check).follow():
            view.show(progress)
    facts = summarize(settings, plan.preset, progress, seconds=time.monotonic() - started)
    path = write_summary(settings, day, facts)
    if progress.failed:
        raise RunFailed(explain(api, progress), exit_code(settings, progress))
    print_summary(console, facts, path)
    return facts


def _wait_until_ready(airflow: Any, api: Any, console: Any) -> None:
    from sidereal.airflow_processes import AirflowError
    from sidereal.chain import CHAIN

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


def _parse_days(texts: Iterable[str]) -> tuple[date, ...]:
    days = []
    for text in ",".join(texts).split(","):
        if not text.strip():
            continue
        try:
            days.append(date.fromisoformat(text.strip()))
        except ValueError as error:
            raise PresetError(f"--days: {text!r} is not a day such as 1998-04-20") from error
    return tuple(days)


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


def _end(message: str, exit_code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(exit_code)
