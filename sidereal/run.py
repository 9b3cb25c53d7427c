"""`sidereal run`: the whole chain for some days on this machine, through Airflow."""

import json
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console

from feature_store import options
from feature_store.errors import FeatureStoreError
from feature_store.preset import PresetError, load
from feature_store.settings import Settings
from feature_store.store import FeatureStore
from pipelines import config as pipelines_config
from pipelines.config import EventTime
from pipelines.places import absent_places
from sidereal import schedule as preset_schedule
from sidereal.days import which_days
from sidereal.drive import Plan, RunFailed, drive
from sidereal.preset_check import checked
from sidereal.presets import refuse_namesakes
from sidereal.retention import tidy
from sidereal.summary_view import console_of_run


@click.command()
@options.preset
@click.option("--day", "--days", "days", multiple=True, help="Days to run: D1,D2 (or repeated).")
@click.option("--yesterday", "before_today", is_flag=True, help="Run the day that ended last, UTC.")
@click.option("--from", "first", metavar="DAY", help="Bring in the days from this one on, first.")
@click.option("--to", "last", metavar="DAY", help="With --from: the last day, which is run whole.")
@click.option("--model", help="Family to train as challenger (models.challenger).")
@options.overrides
@click.option(
    "--refusal-exit-code",
    type=click.IntRange(0, 125),
    default=0,
    show_default=True,
    metavar="N",
    help="Exit code where all went well and the gate refused a challenger.",
)
@click.option("--keep-airflow", is_flag=True, help="Serve the Airflow UI afterwards, until Ctrl-C.")
@options.as_json
def run(
    preset: str,
    days: tuple[str, ...],
    before_today: bool,
    first: str | None,
    last: str | None,
    model: str | None,
    overrides: tuple[str, ...],
    refusal_exit_code: int,
    keep_airflow: bool,
    as_json: bool,
) -> None:
    """Run the whole chain for some days: fetch, ingest, validate, train, decide, recommend.

    Starts Airflow on loopback with its state under var/airflow, unpauses the four daily DAGs,
    starts the first for each day in turn and follows the others, which are started by what is
    published. Ends Airflow again, also when interrupted. Without --day, the preset's own days, or
    the day of a log that has an order and no times.

    --from D1 --to D2 (or --from D1 --yesterday) fills in days that were missed: each is brought in,
    in order, and everything after the tables is done once, for the last.

    Once a week of data the tables are tidied afterwards, as `sidereal tables maintain` does it.

    Exit codes: 0 done (also when the gate refused: that is an outcome; --refusal-exit-code makes
    it another), 1 a task failed, 2 wrong usage or preset, 3 validation refused the data,
    130 interrupted.
    """
    settings = Settings()
    console = console_of_run(stderr=as_json)
    try:
        chosen, begin = which_days(days, first=first, last=last, before_today=before_today)
        plan = make_plan(preset, chosen, model, overrides, settings, first_day=begin)
        refuse_absent(plan, settings)
        FeatureStore.open(settings, plan.name)  # what stands in the way is said before any wait
        summaries = drive(plan, settings, console, keep_airflow=keep_airflow)
        _tidy(settings, plan, console)
    except PresetError as error:
        _end(f"error: {error}", 2, as_json=as_json)
    except FeatureStoreError as error:
        _end(f"error: {error}", error.exit_code, as_json=as_json)
    except RunFailed as error:
        _end(str(error), error.exit_code, as_json=as_json)
    except KeyboardInterrupt:
        _end("interrupted; Airflow and all its tasks were ended", 130, as_json=as_json)
    if as_json:
        click.echo(json.dumps(summaries, indent=1, default=str))
    if any(facts["gate"].get("decision") == "refuse" for facts in summaries):
        sys.exit(refusal_exit_code)


def _tidy(settings: Settings, plan: Plan, console: Console) -> None:
    try:
        went = tidy(settings, plan.name, max(plan.days))
    except FeatureStoreError as error:
        raise RunFailed(f"error: the days are done, but not tidied up after: {error}", 1) from error
    if went is not None:
        console.print(
            f"tables tidied: {went['snapshots_expired']} snapshots expired, "
            f"{went['files_deleted']} files ({went['bytes_deleted'] / 1e6:,.1f} MB) deleted"
        )


def make_plan(
    preset: str,
    days: Sequence[date],
    model: str | None,
    overrides: Sequence[str],
    settings: Settings,
    *,
    first_day: date | None = None,
) -> Plan:
    """What to run; everything that can be wrong with the preset is found here, before any wait.

    Raises:
        PresetError: the preset or an override is wrong, or there are no days.
    """
    read = checked(preset, folder=settings.presets, overrides=overrides, model=model)
    refuse_namesakes(read)
    sections = read.sections
    changed = (*overrides, *([f"models.challenger={model}"] if model else []))
    schedule = load(
        preset_schedule.PART, preset, folder=settings.presets, overrides=changed
    ).schedule
    source = sections["source"]
    chosen = tuple(days) or schedule.days or _day_of_places(source)
    if not chosen:
        raise PresetError(f"preset {preset!r} has no schedule.days; say which with --day")
    fetched = source["layout"] == "movielens" and not source.get("path")
    dataset = f"movielens-{source['dataset']}" if fetched else None
    # Tasks run in the folder of the DAGs' project, wherever the command was given.
    given = str(Path(preset).absolute()) if preset.endswith((".yaml", ".yml")) else preset
    return Plan(given, sections["name"], chosen, first_day or chosen[0], changed, dataset)


def _day_of_places(source: dict[str, Any]) -> tuple[date, ...]:
    """The day that places of an order are seconds of; none where the log has times."""
    time = source.get("columns", {}).get("event_time", {})
    if time.get("unit") != "order":
        return ()
    return (EventTime.model_validate(time).origin,)


def refuse_absent(plan: Plan, settings: Settings) -> None:
    """Say in the first second what the first step would find out after Airflow's start.

    Raises:
        RunFailed: places that the preset names aren't there.
    """
    config = load(
        pipelines_config.PART, plan.preset, folder=settings.presets, overrides=plan.overrides
    )
    absent = absent_places(config, settings)
    if absent:
        raise RunFailed("error: " + "\n".join(absent), 1)


def _end(message: str, exit_code: int, *, as_json: bool) -> NoReturn:
    click.echo(message, err=True)
    if as_json:
        click.echo(json.dumps({"error": message, "exit_code": exit_code}))
    sys.exit(exit_code)
