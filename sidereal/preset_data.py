"""What `sidereal presets check` says about the first rows of a preset's data."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from shlex import quote
from typing import Any

import click

from feature_store.errors import with_paths
from feature_store.preset import Preset, PresetError, instance
from feature_store.settings import Settings
from pipelines.config import PART, PipelineConfig, TableSource
from pipelines.errors import DataRefused, DeliveryUnreadable
from pipelines.places import absent_places, has_data, source_place
from pipelines.preview import Preview, newest_day, preview

LEFT_OUT = 5
"""Files that are not read, of which the names are shown."""


def look(
    preset: Preset,
    settings: Settings,
    day: date | None,
    facts: dict[str, Any],
    *,
    given: str,
    quiet: bool,
) -> int:
    """Read the first rows of a preset's data, where there are any; returns the exit code.

    Args:
        preset: one without problems.
        settings: where the data is.
        day: whose delivery is read; None: the newest one.
        facts: gets what was found, under `data`.
        given: how the command was told the preset.
        quiet: whether nothing is printed but errors.
    """
    config: PipelineConfig = instance(PART, preset)
    if day is None and not has_data(config, settings):
        for absent in absent_places(config, settings):
            _say(quiet, absent)
        place = source_place(config, settings)
        _say(quiet, f"there is no data yet{f' in {place}' if place else ''}: nothing was read")
        return 0
    day = day or newest_day(config, settings) or date.today()
    _say(quiet, "reading the first rows (Spark starts, which takes some seconds) …")
    try:
        found = preview(config, settings, day)
    except PresetError as error:
        return _end(f"error: {error}", 2)
    except DataRefused as error:
        return _end(f"error: {error}", 3)
    except DeliveryUnreadable as error:
        return _end(f"error: {error}", 1)
    facts["data"] = asdict(found)
    if not quiet:
        _print(found)
        _say_day(found, config, given)
    refusal = found.refusal(config.validation.quarantine_share)
    if refusal:
        reasons = "".join(f"\n  {rows:,} × {reason}" for reason, rows in found.reasons.items())
        return _end(f"error: {refusal}:{reasons}\nCorrect the preset or the delivery", 3)
    return 0


def _print(found: Preview) -> None:
    files = f"{len(found.files)} file(s), the first {with_paths(found.files[0])}"
    whose = found.day or "a log of all days"
    days = " to ".join(map(str, dict.fromkeys(found.days or ())))
    span = f", with events of {days}" if days else ""
    click.echo(f"{found.rows:,} rows of {whose} read{span}; {files}")
    for left in found.left_out[:LEFT_OUT]:
        click.echo(f"not read: {left.file} ({left.why})")
    if len(found.left_out) > LEFT_OUT:
        click.echo(f"not read: {len(found.left_out) - LEFT_OUT} more")
    click.echo("columns: " + ", ".join(f"{n} {kind}" for n, kind in found.columns.items()))
    click.echo("strength:")
    for match in found.matches:
        click.echo(f"  {match['strength']:>2}  {match['rows']:>5,} rows  {match['when']}")
    if found.reasons:
        click.echo("refused:")
        for reason, rows in found.reasons.items():
            click.echo(f"  {rows:>9,} rows  {reason}")
    if found.catalogue is not None:
        click.echo("items, as they will be published:")
        _rows(found.catalogue)
    click.echo("interactions, as they will be published:")
    _rows(found.published)


def _say_day(found: Preview, config: PipelineConfig, given: str) -> None:
    """Which day to run, where the names of files don't say it."""
    source = config.source
    if isinstance(source, TableSource) and source.columns.event_time.unit == "order":
        click.echo(
            f"place n is second n of {source.columns.event_time.origin}: "
            f"`sidereal run --preset {quote(given)}` runs that day"
        )
    elif found.day is None:
        click.echo("a run takes the log's events up to the end of its --day")


def _rows(rows: list[dict[str, Any]]) -> None:
    if not rows:
        click.echo("  none")
        return
    names = [name for name in rows[0] if any(row[name] not in (None, {}) for row in rows)]
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(names))]
    for line in cells:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        click.echo("  " + "  ".join(padded).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        value = ", ".join(f"{name}={each}" for name, each in value.items())
    text = str(value).replace("\n", "⏎")
    return text if len(text) <= 40 else f"{text[:39]}…"


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        click.echo(text)


def _end(message: str, code: int) -> int:
    click.echo(message, err=True)
    return code
