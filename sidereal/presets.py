"""`sidereal presets`: is a preset right, which are there, and what does one say."""

import json
import sys
from collections.abc import Iterator
from datetime import date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from feature_store import options
from feature_store.preset import Preset, PresetError, Section, instance, read_preset
from feature_store.preset_problems import dotted
from feature_store.settings import Settings
from sidereal.preset_check import checked, parts, problems_in, warnings_of


@click.group()
def presets() -> None:
    """Check, list and show presets.

    A preset is one YAML; NAME is that of a file in SIDEREAL_PRESETS, or a path ending in .yaml.
    """


@presets.command()
@click.argument("name")
@options.overrides
@click.option("--model", help="Family to train as challenger (models.challenger).")
@options.latest_day("rows")
@click.option("--no-data", is_flag=True, help="Look at the preset alone, which takes no Spark.")
@options.as_json
def check(
    name: str,
    overrides: tuple[str, ...],
    model: str | None,
    day: date | None,
    no_data: bool,
    as_json: bool,
) -> None:
    """Say everything that is wrong with preset NAME: each with its line, its path, what was meant.

    Where its data is at hand the first rows are read, too, as a run would read them (Spark starts,
    nothing is published): columns and types, what each strength rule matches, why rows would be
    refused, and ten rows as they will be published.

    Exit codes: 0 right, also where there is no data yet; 1 --day has no delivery, 2 the preset is
    wrong, 3 the data is.
    """
    settings = Settings()
    try:
        preset = checked(name, folder=settings.presets, overrides=overrides, model=model)
    except PresetError as error:
        _refuse(error, as_json)
    try:
        refuse_namesakes(preset)
    except PresetError as error:
        _refuse(error, as_json)
    facts = {
        "preset": preset.sections["name"],
        "path": str(preset.path),
        "problems": [],
        "warnings": warnings_of(preset),
    }
    if not as_json:
        click.echo(f"preset {preset.path} is right")
        for warning in facts["warnings"]:
            click.echo(f"warning: {warning}")
    if not no_data and find_spec("pyspark"):
        from sidereal.preset_data import look

        code = look(preset, settings, day, facts, given=name, quiet=as_json)
        if code:
            sys.exit(code)
    if as_json:
        click.echo(json.dumps(facts, indent=1, default=str))


@presets.command("list")
@options.as_json
def list_(as_json: bool) -> None:
    """Every preset in SIDEREAL_PRESETS: name, layout, what it is, and whether it is right."""
    folder = Settings().presets
    facts = [_summary(path) for path in sorted(folder.glob("*.yaml"))]
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    if not facts:
        click.echo(f"no preset in {folder}; `sidereal init DIR` makes one")
    for fact in facts:
        wrong = fact["problems"]
        state = "right" if not wrong else f"{wrong} wrong"
        named = Path(fact["path"]).stem
        described = fact["description"]
        if fact["name"] != named:
            described = f"(its tables are named {fact['name']}) {described}"
        click.echo(f"{named:<20} {fact['layout']:<10} {state:<8} {described}".rstrip())
    if any(fact["problems"] for fact in facts):
        click.echo("`sidereal presets check NAME` says what is wrong")


@presets.command()
@click.argument("name")
@options.overrides
@options.as_json
def show(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Every value of preset NAME, and what says it: a line of the file, --set, or a default."""
    try:
        preset = checked(name, folder=Settings().presets, overrides=overrides)
    except PresetError as error:
        _refuse(error, as_json)
    values = dict(values_of(preset))
    if as_json:
        facts = [
            {"path": path, "value": value, "from": place} for path, (value, place) in values.items()
        ]
        click.echo(json.dumps({"path": str(preset.path), "values": facts}, indent=1))
        return
    click.echo(f"# {preset.path}")
    for path, (value, place) in values.items():
        said = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
        click.echo(f"{path} = {said}  ({place})")


@presets.command()
@click.option("--write", is_flag=True, help="Write the pages that are made of code.")
def reference(write: bool) -> None:
    """Print every key of a preset, with type, default and meaning."""
    from sidereal.reference import pages, preset_page

    if not write:
        click.echo(preset_page())
        return
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        click.echo(f"wrote {path}")


def namesakes(path: Path, name: str) -> list[Path]:
    """Other presets of the same folder that have the same name; what can't be read has none."""
    found = []
    for other in sorted(path.parent.glob("*.yaml")):
        if other.resolve() == path.resolve():
            continue
        try:
            if read_preset(str(other), folder=other.parent).sections["name"] == name:
                found.append(other)
        except PresetError:
            continue
    return found


def refuse_namesakes(preset: Preset) -> None:
    """Refuse a preset whose tables another of its folder would write, too.

    Raises:
        PresetError: names the others.
    """
    others = namesakes(preset.path, preset.sections["name"])
    if others:
        raise PresetError(
            f"name: {', '.join(map(str, others))} has the name {preset.sections['name']!r}, too, "
            "and would share tables, records and models with this preset; give each a `name` of "
            "its own"
        )


def values_of(preset: Preset) -> Iterator[tuple[str, tuple[Any, str]]]:
    """By dotted path each value, as JSON has it, and what says it."""
    told = set()
    for part in parts()[0]:
        for path, value in _leaves(instance(part, preset), ()):
            if path not in told:
                told.add(path)
                yield dotted(path), (_plain(value), preset.source(path) or _default(path))


def _default(path: tuple[str | int, ...]) -> str:
    return "the file's name" if path == ("name",) else "default"


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, Section):
        for name in type(value).model_fields:
            yield from _leaves(getattr(value, name), (*path, name))
    elif isinstance(value, dict) and value:
        for name, inside in value.items():
            yield from _leaves(inside, (*path, name))
    elif isinstance(value, tuple) and any(isinstance(each, Section) for each in value):
        for place, inside in enumerate(value):
            yield from _leaves(inside, (*path, place))
    else:
        yield path, value


def _plain(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


def _summary(path: Path) -> dict[str, Any]:
    try:
        preset = read_preset(str(path), folder=path.parent)
    except PresetError as error:
        return {
            "name": path.stem, "path": str(path), "layout": "", "description": "",
            "problems": max(len(error.problems), 1),
        }  # fmt: skip
    source = preset.sections.get("source")
    return {
        "name": str(preset.sections["name"]),
        "path": str(path),
        "layout": str(source.get("layout", "")) if isinstance(source, dict) else "",
        "description": str(preset.sections.get("description") or ""),
        "problems": len(problems_in(preset)),
    }


def _refuse(error: PresetError, as_json: bool) -> Any:
    if as_json:
        from dataclasses import asdict

        problems = [asdict(problem) for problem in error.problems]
        click.echo(json.dumps({"error": str(error), "problems": problems}, indent=1))
    else:
        click.echo(f"error: {error}", err=True)
    sys.exit(2)
