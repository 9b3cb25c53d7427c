"""`sidereal reproduce`: an experiment whose table this repository quotes, on a preset's data.

The data is built by the steps of the daily chain in a home of its own, below `var/reproduce`, so
that a table says something about the code that runs at night, and no daily run sees it.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from feature_store import options
from feature_store.choices import OneOf
from feature_store.steps import steps_making
from training.experiments import EXPERIMENTS
from training.experiments.table import Row, Table

if TYPE_CHECKING:
    from feature_store.settings import Settings
    from training.experiments.request import Request

SEEDS = tuple(range(8))
"""Of how many fits a difference is claimed: three have been seen to mislead."""
LAST_DAYS = {
    "movielens-100k": date(1998, 4, 22),
    "movielens-1m": date(2003, 2, 28),
    "kuairand": date(2022, 5, 8),
}
"""The day after whose end a preset's public data holds nothing more."""
RESULTS = Path("results")
ELSEWHERE: dict[str, Any] = {
    **dict.fromkeys(("warehouse", "catalog_uri", "mlflow_tracking_uri", "mlflow_artifacts"), ""),
    "catalog_type": "sql",
    "runs": None,
}
"""Settings that would lead an experiment out of its home, into the tables of the daily run."""
_HELP = """Fit the rows of an experiment under several seeds, and write its table.

\b
{tables}

Data comes by the preset's source and is built by the steps of the daily chain. Cells that are
there, of the same data, settings and code, are not fitted again: a stopped run goes on where it
was. Writes results/NAME-PRESET.json and .md in the working directory, with --set
NAME-PRESET-DIGEST; `make results` makes RESULTS.md of them.
"""


def _told(table: Table) -> str:
    rows = ", ".join(row.name for row in table.rows)
    return f"  {table.name}: {table.says}\n    {rows}"


@click.command(help=_HELP.format(tables="\n".join(map(_told, EXPERIMENTS.values()))))
@click.argument("name", type=OneOf(list(EXPERIMENTS)))
@options.preset
@click.option("--day", type=options.DAY, help="Data up to the end of this day; default: the last.")
@click.option("--row", "names", multiple=True, metavar="ROW", help="Rows to fit; default: all.")
@click.option(
    "--seed",
    "seeds",
    multiple=True,
    type=click.IntRange(min=0),
    default=SEEDS,
    help="Of each row's fits; may be repeated.  [default: 0 to 7]",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    help="Search the settings of each row: so many fits beside the preset's own, judged on "
    "validation targets.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="With --trials: of a row, after which no further fit begins.",
)
@options.overrides
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
def reproduce(
    name: str,
    preset: str,
    day: date | None,
    names: tuple[str, ...],
    seeds: tuple[int, ...],
    trials: int | None,
    seconds: float | None,
    overrides: tuple[str, ...],
    device: str,
) -> None:
    """Fit rows of an experiment, and keep and print its table."""
    from feature_store.log_lines import show_log_lines
    from feature_store.preset import read_preset
    from feature_store.settings import Settings
    from training.cli import RUNNER
    from training.experiments.chosen import preset_text
    from training.experiments.measure import measure, tables_read
    from training.experiments.pages import write_result
    from training.experiments.request import Request
    from training.experiments.search import Effort

    table, outer = EXPERIMENTS[name], Settings()
    rows = _rows(table, names)
    _require_searchable(table, rows, trials, seconds)
    show_log_lines()
    with RUNNER.exits("reproduce"):
        sections = read_preset(preset, folder=outer.presets, overrides=overrides).sections
    preset_name, source = str(sections["name"]), sections["source"]
    last = day or _last_day(preset_name, source)
    _require_data(table, preset_name)
    home = outer.home.absolute() / "reproduce" / preset_name
    here = {"data": outer.data_path, "device": device}
    request = Request(
        table=table,
        settings=outer.model_copy(update={**ELSEWHERE, **here}),
        preset=preset,
        name=preset_name,
        day=last,
        cells=home / "cells",
        overrides=overrides,
    )
    with RUNNER.exits("reproduce"):
        held_out = request.config().evaluation.protocol
    # Vectors and tokenizers know all but what is held out.
    request = request.below(home / f"{last}-{held_out}")
    _fetch(source, outer)
    _build(request, tables_read(table, rows))
    with RUNNER.exits("reproduce"):
        effort = None if trials is None else Effort(trials, seconds)
        result = measure(request, rows, seeds, command=_command(), effort=effort)
    path = write_result(result, RESULTS, overrides)
    click.echo(path.with_suffix(".md").read_text(encoding="utf-8"))
    for row in result.rows:
        click.echo(preset_text(row, result.budget), nl=False)
    click.echo(f"wrote {path} and {path.with_suffix('.md')}")


def _rows(table: Table, names: tuple[str, ...]) -> tuple[Row, ...]:
    there = [row.name for row in table.rows]
    for name in names:
        if name not in there:
            message = OneOf(there).get_invalid_choice_message(name, None)
            raise click.UsageError(f"--row: {message}")
    return table.chosen(names)


def _require_searchable(
    table: Table, rows: tuple[Row, ...], trials: int | None, seconds: float | None
) -> None:
    """Refuse a search of what has no settings of its own."""
    if trials is None:
        if seconds is not None:
            raise click.UsageError("--seconds is of a search; say --trials, too: how many fits")
        return
    if table.subject != "recommenders":
        raise click.UsageError(f"--trials: {table.name} has no row of recommenders to search")
    bound = [row.name for row in rows if any(fit.after or fit.like for fit in row.fits)]
    if bound:
        raise click.UsageError(
            f"--trials: {', '.join(bound)} have the settings of another fit, or go on from its"
            " weights; choose other rows with --row"
        )


def _last_day(preset: str, source: Mapping[str, Any]) -> date:
    """The day up to which the preset's data goes."""
    time = source.get("columns", {}).get("event_time", {})
    if preset in LAST_DAYS:
        return LAST_DAYS[preset]
    if time.get("unit") == "order":
        return date.fromisoformat(str(time["origin"]))
    raise click.UsageError(f"--day is needed: nothing says where the data of {preset} ends")


def _require_data(table: Table, preset: str) -> None:
    if table.presets and preset not in table.presets:
        raise click.UsageError(
            f"{preset} has no data for {table.name}; it is for {', '.join(table.presets)}"
        )


def _fetch(source: Mapping[str, Any], outer: "Settings") -> None:
    """Get the public data that a preset names without a path, unless it is there."""
    from pipelines.sources.fetch import FetchFailed, fetch

    if source["layout"] != "movielens" or source.get("path"):
        return
    try:
        fetch(f"movielens-{source['dataset']}", outer)
    except FetchFailed as error:
        click.echo(f"reproduce: {error}", err=True)
        sys.exit(1)


def _build(request: "Request", tables: Sequence[str]) -> None:
    """Run the steps that make the tables; one whose work is done says so in seconds."""
    names = steps_making(tables)
    changes = [part for change in request.changes for part in ("--set", change)]
    command = [
        *(sys.executable, "-m", "sidereal.cli", "step", *names),
        *("--preset", request.preset, "--day", request.day.isoformat(), *changes),
    ]
    settings = request.settings
    places = {"SIDEREAL_HOME": str(settings.home), "SIDEREAL_DATA": str(settings.data_path)}
    outside = {f"SIDEREAL_{name.upper()}" for name in ELSEWHERE}
    environment = {name: value for name, value in os.environ.items() if name not in outside}
    finished = subprocess.run(command, env={**environment, **places}, check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


def _command() -> str:
    """The command that was given, for whoever reads the result."""
    return " ".join(["sidereal", *map(quote, sys.argv[1:])])
