"""`sidereal init`: a folder for one's own data, outside the checkout."""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click

from feature_store import env_file
from feature_store.preset import PresetError, check_name
from sidereal.preset_reference import Key, keys

ENVIRONMENT = """\
# Read by `sidereal` when it is started in this folder (by hand, `cd` in a crontab, systemd's
# WorkingDirectory=); Airflow and its tasks inherit it. A variable that is set already wins, and a
# relative path starts here. All variables: docs/settings.md.
SIDEREAL_HOME=state
SIDEREAL_DATA=data
SIDEREAL_PRESETS=presets
# What `--preset` is without it.
SIDEREAL_PRESET={name}
"""
HEAD = """\
# What Sidereal does with your data. All keys: docs/presets.md. Commented out: the defaults.
name: {name}
description: ""

source:                         # the log of feedback
  layout: table
  path: events/{{day}}            # below data/; without {{day}}: one file, or a folder of days
  format: csv                   # or parquet, json
  columns:                      # names of your columns
    user_id: user
    item_id: item
    # Or unit: seconds, milliseconds, …; order where there are no times but places: then set
    # evaluation.protocol: leave_last_out, and run without --day.
    event_time: {{column: time, unit: timestamp}}
    signals: [action]           # what the rules below compare, and is kept
    # request_id: request       # what was shown together
    # position: position        # place in it, from 0
    # dwell_seconds: seconds    # how long it was looked at
  # Spark SQL over your columns → -1 disliked, 0 shown, 1 to 3 interest. The first that holds wins.
  strength:
    - {{strength: 3, when: "action = 'purchase'"}}
    - {{strength: 1, when: "action = 'click'"}}
    - {{strength: 0, when: "TRUE"}}
  catalogue:                    # the items; may be left out
    path: items.csv
    item_id: item
    title: title
    text: [title]               # what semantic IDs are made of; more columns, if there are
    # attributes: [category]
"""
SET = {
    "training.minimum_strength": "1",
    "evaluation.target_minimum_strength": "1",
    "evaluation.cutoffs": "[5, 10]",
}
"""Keys that the preset sets: its rules give 0 to what was only shown, which is no interest; and the
beam search of lists of fifty takes five times as long as that of ten."""
WIDTH = 100


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--name", default="shop", show_default=True, help="Of the preset.")
def init(directory: Path, name: str) -> None:
    """Make DIRECTORY with a preset for your own data, every section explained, and a .env.

    Nothing that is there is overwritten. Presets, data and state stay in DIRECTORY, outside the
    checkout. Exit codes: 0 done, 2 the preset is there already or the name can't be one.
    """
    try:
        check_name(name)
    except PresetError:
        _end(
            f"--name {name!r} can't name tables and folders; choose 1 to 63 lower-case letters, "
            "digits, '-' and '_', a letter or digit first"
        )
    preset, environment = directory / "presets" / f"{name}.yaml", directory / env_file.NAME
    if preset.exists():
        _end(f"{preset} is there already; nothing was written. Choose another --name")
    texts = {preset: preset_text(name)}
    if not environment.exists():
        texts[environment] = ENVIRONMENT.format(name=name)
    try:
        for folder in ("presets", "data", "state"):
            (directory / folder).mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        _end(f"{directory} can't be written: {error.strerror}")
    kept = "" if environment in texts else f" ({environment} is left as it was)"
    click.echo(f"made {' and '.join(map(str, texts))}{kept}")
    click.echo(
        f"Put your log and items below {directory / 'data'}, name your columns in the preset:\n"
        f"  cd {directory}\n"
        f"  sidereal presets check {name}\n"
        f"  sidereal run --preset {name} --day YYYY-MM-DD"
    )


def preset_text(name: str) -> str:
    """A preset for one's own tables: the source to fill in, all other keys with their defaults."""
    lines = list(_sections(keys()))
    return HEAD.format(name=name) + "\n".join(lines) + "\n"


def _sections(found: Iterator[Key]) -> Iterator[str]:
    """Lines of every section but the source, each key with its meaning; defaults are commented."""
    used = {path.partition(".")[0] for path in SET}
    for key in found:
        parts = key.path.split(".")
        if parts[0] in ("name", "description", "source") or len(parts) > 2:
            continue
        if len(parts) == 1:
            yield ""
            yield from _comment(key.meaning, "# ")
            yield f"{key.path}:" if key.path in used else f"# {key.path}:"
            continue
        yield from _comment(key.meaning, "#   # ")
        set_to = SET.get(key.path)
        yield f"  {parts[1]}: {set_to}" if set_to else f"#   {parts[1]}: {key.default}"


def _comment(text: str, prefix: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=prefix, subsequent_indent=prefix)


def _end(message: str) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(2)
