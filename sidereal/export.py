"""`sidereal export`: the recommendations of a day, out of the feature store and into a service."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from feature_store import options

if TYPE_CHECKING:
    from training.export.rows import Exported, Rows

SUFFIXES = (".parquet", ".csv", ".jsonl")
REDIS = ("redis://", "rediss://", "unix://")


@click.group()
def export() -> None:
    """Get what was made out of the feature store."""


@export.command()
@options.preset
@options.latest_day("recommendations")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="FILE|redis://HOST:PORT/DB",
    help="A file that ends in .parquet, .csv or .jsonl, or the address of a Redis.",
)
@options.as_json
def recommendations(preset: str, day: date | None, target: str, as_json: bool) -> None:
    """Write a day's recommendations to a file or to Redis, all of them or none.

    A file is written beside its place and then renamed. In Redis each user is a key of a version,
    and one key says which version counts; an interrupted export goes on where it ended. What is
    there already is not written again.

    Exit codes: 0 done or there already, 1 failed, 2 usage, preset, or no such table.
    """
    from feature_store.log_lines import show_log_lines

    show_log_lines()
    started = time.perf_counter()
    with _one_line_errors():
        form = _form(target)
        rows = _rows(preset, day)
        done = _write(rows, target, form)
    facts = {
        **asdict(done),
        "preset": rows.preset,
        "day": rows.day,
        "content_hash": rows.content_hash,
        "snapshot_id": str(rows.snapshot_id),
        "seconds": round(time.perf_counter() - started, 3),
    }
    click.echo(json.dumps(facts, indent=1, default=str) if as_json else _told(facts))


def _form(target: str) -> str:
    """`redis`, or a file's suffix; refuses what is neither before anything is read.

    Raises:
        click.UsageError: no such form, or no such folder.
    """
    if target.startswith(REDIS):
        return "redis"
    path = Path(target)
    if path.suffix not in SUFFIXES or "://" in target:
        raise click.UsageError(
            f"--to is {target!r}; expected a file that ends in {', '.join(SUFFIXES)}, or an "
            "address such as redis://127.0.0.1:6379/0"
        )
    if path.is_dir():
        raise click.UsageError(f"--to is {target!r}, which is a folder; name a file in it")
    if not path.absolute().parent.is_dir():
        raise click.UsageError(f"--to is {target!r}, but {path.absolute().parent} is no folder")
    return path.suffix


def _rows(preset: str, day: date | None) -> "Rows":
    from feature_store.preset import preset_name
    from feature_store.settings import Settings
    from training.export.rows import rows_of

    settings = Settings()
    return rows_of(settings, preset_name(preset, folder=settings.presets), day)


def _write(rows: "Rows", target: str, form: str) -> "Exported":
    if form == "redis":
        from training.export.to_redis import to_redis

        return to_redis(rows, target)
    from training.export.to_file import to_file

    return to_file(rows, Path(target), form)


def _told(facts: dict[str, Any]) -> str:
    if facts["status"] == "unchanged":
        return f"{facts['target']} holds these {facts['users']:,} users' lists already"
    told = f"{facts['users']:,} users' lists are in {facts['target']}"
    if facts["written"] < facts["users"]:
        told += f", {facts['written']:,} of them written now"
    return f"{told}, {facts['seconds']:.1f} s"


@contextmanager
def _one_line_errors() -> Iterator[None]:
    from feature_store.errors import FeatureStoreError
    from feature_store.preset import PresetError
    from training.export.rows import ExportError

    try:
        yield
    except PresetError as error:
        _stop(error, 2)
    except FeatureStoreError as error:
        _stop(error, error.exit_code)
    except (ExportError, OSError) as error:
        _stop(error, 1)


def _stop(error: Exception, exit_code: int) -> None:
    click.echo(f"export: {error}", err=True)
    sys.exit(exit_code)
