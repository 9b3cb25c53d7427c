"""`sidereal report`: where a day's report is."""

import sys
from datetime import date
from typing import NoReturn

import click

from feature_store import options
from feature_store.errors import OldHome
from feature_store.preset import PresetError, preset_name
from feature_store.run_record import refuse_old_records
from feature_store.settings import Settings


@click.command()
@options.preset
@options.latest_day("a report")
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def report(preset: str, day: date | None, show: bool) -> None:
    """Print the path of a day's report, or open it.

    A report is written at the end of each day's run, also where it stopped half-way; `sidereal
    step write_report` writes it again. Each leads to the one before it and to the index of all.
    """
    settings = Settings()
    try:
        refuse_old_records(settings.runs_path)
        name = preset_name(preset, folder=settings.presets)
    except (OldHome, PresetError) as error:
        _end(str(error), 2)
    runs = settings.runs_of(name)
    reports = {path.parent.name: path for path in sorted(runs.glob("*/report.html"))}
    if not reports:
        _end(f"no report below {runs}; {_remedy(settings, preset)}", 1)
    wanted = day.isoformat() if day else max(reports)
    if wanted not in reports:
        _end(f"no report of {wanted}; there are reports of {', '.join(reports)}", 1)
    click.echo(str(reports[wanted]))
    if show:
        click.launch(reports[wanted].as_uri())


def _remedy(settings: Settings, preset: str) -> str:
    others = sorted(
        {path.parent.parent.name for path in settings.runs_path.glob("*/*/report.html")}
    )
    told = f"`sidereal run --preset {preset}` writes them"
    return f"{told}; there are reports of --preset {', '.join(others)}" if others else told


def _end(message: str, exit_code: int) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(exit_code)
