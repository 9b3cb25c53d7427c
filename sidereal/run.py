"""`sidereal run`: the whole chain for some days on this machine, through Airflow."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console

from feature_store.errors import FeatureStoreError
from feature_store.preset import PresetError
from feature_store.settings import Settings
from feature_store.store import FeatureStore
from sidereal.drive import Plan, RunFailed, drive
from sidereal.preset_check import checked
from sidereal.schedule import load_schedule


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
    settings = Settings()
    console = Console(stderr=as_json)
    try:
        plan = make_plan(preset, days, model, overrides, settings)
        FeatureStore.open(settings, plan.name)  # what stands in the way is said before any wait
        summaries = drive(plan, settings, console, keep_airflow=keep_airflow)
    except PresetError as error:
        _end(f"error: {error}", 2)
    except FeatureStoreError as error:
        _end(f"error: {error}", error.exit_code)
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
    sections = checked(preset, folder=settings.presets, overrides=overrides, model=model).sections
    changed = (*overrides, *([f"models.challenger={model}"] if model else []))
    schedule = load_schedule(preset, folder=settings.presets, overrides=changed)
    chosen = _parse_days(days) or schedule.days
    if not chosen:
        raise PresetError(f"preset {preset!r} has no schedule.days; say which with --days")
    source = sections["source"]
    fetched = source["layout"] == "movielens" and not source.get("path")
    dataset = f"movielens-{source['dataset']}" if fetched else None
    # Tasks run in the folder of the DAGs' project, wherever the command was given.
    given = str(Path(preset).absolute()) if preset.endswith((".yaml", ".yml")) else preset
    return Plan(given, sections["name"], chosen, changed, dataset)


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


def _end(message: str, exit_code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(exit_code)
