"""`sidereal report`: where a day's report is."""

import sys
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import click

from feature_store.errors import OldHome
from feature_store.preset import PresetError, preset_name
from feature_store.run_record import refuse_old_records
from feature_store.settings import Settings


@click.command()
@click.option("--preset", help="Name or path. Default: the one that has reports.")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="Default: the latest with a report.")
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def report(preset: str | None, day: datetime | None, show: bool) -> None:
    """Print the path of a day's report, or open it.

    A report is written at the end of each day's run, also where it stopped half-way; `sidereal
    program write_report` writes it again. Each leads to the one before it and to the index of all.
    """
    settings = Settings()
    try:
        refuse_old_records(settings.runs_path)
        name = preset_name(preset, folder=settings.presets) if preset else _only_one(settings)
    except (OldHome, PresetError) as error:
        _end(str(error), 2)
    runs = settings.runs_of(name)
    reports = {path.parent.name: path for path in sorted(runs.glob("*/report.html"))}
    if not reports:
        _end(f"no report below {runs}; `sidereal run --preset {preset or name}` writes them", 1)
    wanted = day.date().isoformat() if day else max(reports)
    if wanted not in reports:
        _end(f"no report of {wanted}; there are reports of {', '.join(reports)}", 1)
    click.echo(str(reports[wanted]))
    if show:
        click.launch(reports[wanted].as_uri())


def _only_one(settings: Settings) -> str:
    """Name of the preset that has reports, where there is one.

    Raises:
        PresetError: there are several.
    """
    names = sorted({path.parent.parent.name for path in _reports(settings.runs_path)})
    if not names:
        _end(f"no report below {settings.runs_path}; `sidereal run` writes them", 1)
    if len(names) > 1:
        raise PresetError(f"presets {', '.join(names)} have reports; say which with --preset")
    return names[0]


def _reports(runs: Path) -> list[Path]:
    return list(runs.glob("*/*/report.html"))


def _end(message: str, exit_code: int) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(exit_code)
