"""`sidereal export`: the recommendations of a day, out of the feature store and into a service."""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from feature_store.store import FeatureStore

LOG = logging.getLogger(__name__)
TABLE = "recommendations"
SUFFIXES = (".parquet", ".csv", ".jsonl")
REDIS = ("redis://", "rediss://", "unix://")


class ExportError(Exception):
    """An export that could not be done; an earlier one is as it was."""


@dataclass(frozen=True)
class Rows:
    """The rows to export: one day's, of one version of the table.

    Attributes:
        store: where they are.
        preset: whose they are.
        day: the partition.
        snapshot_id: of the version.
        content_hash: of the day's rows.
        users: how many rows there are.
    """

    store: "FeatureStore"
    preset: str
    day: date
    snapshot_id: int
    content_hash: str
    users: int

    @property
    def version(self) -> str:
        """Day and content, as in `2026-03-01-0f3a9c2b71de`."""
        return f"{self.day}-{self.content_hash[:12]}"

    def batches(self) -> Iterator[Any]:
        """Record batches of the table, in bounded memory; in the same order at every call."""
        yield from self.store.scan(TABLE, at=self.snapshot_id, partition=self.day)


@dataclass(frozen=True)
class Exported:
    """What an export did.

    Attributes:
        status: `done`, or `unchanged` where the same was there already.
        target: where it is, without a password.
        users: users whose lists are there.
        written: users written by this run; fewer where an interrupted one had begun.
    """

    status: str
    target: str
    users: int
    written: int


@click.group()
def export() -> None:
    """Get what was made out of the feature store."""


@export.command()
@click.option("--preset", required=True, help="Whose: a preset's name, or a path to its YAML.")
@click.option("--day", required=True, type=click.DateTime(["%Y-%m-%d"]), help="The day.")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="FILE|redis://HOST:PORT/DB",
    help="A file that ends in .parquet, .csv or .jsonl, or the address of a Redis.",
)
@click.option("--json", "as_json", is_flag=True, help="Print facts as JSON.")
def recommendations(preset: str, day: datetime, target: str, as_json: bool) -> None:
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
        rows = _rows(preset, day.date())
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


def _rows(preset: str, day: date) -> Rows:
    from feature_store.preset import preset_name
    from feature_store.settings import Settings
    from feature_store.store import FeatureStore

    settings = Settings()
    name = preset_name(preset, folder=settings.presets)
    store = FeatureStore.open(settings, name)
    snapshot_id = store.snapshot_id(TABLE)
    users = store.row_count(TABLE, partition=day)
    if snapshot_id is None or not users:
        days = store.partitions(TABLE)
        there = f"there are those of {days[0]} to {days[-1]}" if days else "there are none yet"
        raise ExportError(
            f"preset {name!r} has no recommendations of {day}; {there}. Run "
            f"`sidereal run --preset {preset} --days {day}`"
        )
    content = store.content_hash(TABLE, partition=day)
    return Rows(store, name, day, snapshot_id, str(content), users)


def _write(rows: Rows, target: str, form: str) -> Exported:
    if form == "redis":
        from sidereal.export_redis import to_redis

        return to_redis(rows, target)
    from sidereal.export_file import to_file

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
