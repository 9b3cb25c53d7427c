"""The check of a whole preset, which every command that reads one makes before anything starts."""

import copy
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from feature_store.preset import (
    Part,
    Preset,
    PresetError,
    instance,
    problems_of,
    read_preset,
    refusal,
)
from feature_store.preset_problems import Problem

OWNERS = ("pipelines.config", "training.config", "sidereal.schedule")
"""Modules whose `PART` is a share of the preset."""


_HISTORY_EVENTS, _MAX_HISTORY = 200, 50
"""Defaults of `impressions.history_events` and `training.max_history`; a test holds them."""


def parts() -> tuple[list[Part[Any]], bool]:
    """The parts that this machine has, and whether these are all: an image may lack a package."""
    there = [owner for owner in OWNERS if find_spec(owner.partition(".")[0])]
    return [import_module(owner).PART for owner in there], len(there) == len(OWNERS)


def problems_in(preset: Preset) -> list[Problem]:
    """Everything that is wrong with a preset that could be read, without looking at any data."""
    own, are_all = parts()
    found = problems_of(preset, own, all_parts=are_all)
    return [*found, *_between_parts(preset, {problem.path for problem in found})]


def _between_parts(preset: Preset, wrong: Collection[str]) -> Iterator[Problem]:
    """What one part's value makes impossible in another's, where both are values."""
    unit = _value(preset.sections, "source", "columns", "event_time", "unit")
    path = ("evaluation", "protocol")
    protocol = _value(preset.sections, *path) or "rolling"
    if unit == "order" and protocol == "rolling" and ".".join(path) not in wrong:
        yield Problem(
            path=".".join(path),
            found="'rolling' holds out whole days, and a log whose event_time has the unit order "
            "has none",
            expected="leave_last_out",
            place=preset.place(path),
        )
    readers = _readers_of_impressions(preset)
    if readers and not _value(preset.sections, "impressions", "fields"):
        path = ("impressions", "fields")
        yield Problem(
            path=".".join(path),
            found=f"names none, and {readers[0]} learns impressions",
            expected="names of features, such as [user_id, item_id, hour] (docs/presets.md)",
            place=preset.place(path),
        )

    yield from _too_short_histories(preset, readers)


def _too_short_histories(preset: Preset, readers: list[str]) -> Iterator[Problem]:
    """A question brings as many events as features count: found here, not after Spark."""
    counted = _value(preset.sections, "impressions", "history_events") or _HISTORY_EVENTS
    for family in readers:
        path = ("training", "overrides", family, "max_history")
        own = _value(preset.sections, *path)
        asked = own or _value(preset.sections, "training", "max_history") or _MAX_HISTORY
        if isinstance(asked, int) and isinstance(counted, int) and asked < counted:
            yield Problem(
                path=".".join(path),
                found=f"is {asked}, and impressions count the last {counted} events "
                "(impressions.history_events)",
                expected=f"at least {counted}",
                place=preset.place(path),
            )


def _readers_of_impressions(preset: Preset) -> list[str]:
    """Families of the preset that are fitted on impressions; none where training isn't there."""
    if find_spec("training") is None:
        return []
    from training.settings import FAMILIES

    baselines = _value(preset.sections, "models", "baselines")
    named = [_value(preset.sections, "models", "challenger")]
    named += baselines if isinstance(baselines, list) else []
    known = (name for name in named if isinstance(name, str) and name in FAMILIES)
    return [name for name in known if "impressions" in FAMILIES[name].reads]


def _value(sections: Any, *path: str) -> Any:
    """The value at a path of the file; None where there is none."""
    for key in path:
        sections = sections.get(key) if isinstance(sections, Mapping) else None
    return sections


def warnings_of(preset: Preset) -> list[str]:
    """What a right preset may not mean; a preset without problems is asked."""
    if not find_spec("pipelines"):
        return []
    from pipelines.config import PART
    from pipelines.preset_rules import nothing_to_embed

    warning = nothing_to_embed(instance(PART, preset))
    return [warning] if warning else []


def checked(
    name_or_path: str, *, folder: Path, overrides: Sequence[str] = (), model: str | None = None
) -> Preset:
    """A preset that is right in all its parts.

    Args:
        name_or_path: as `read_preset`.
        folder: where named presets live.
        overrides: of --set.
        model: of --model, which sets `models.challenger`.
    Raises:
        PresetError: it can't be read, or something is wrong with it; all problems at once.
    """
    option = f"models.challenger={model}"
    preset = read_preset(
        name_or_path, folder=folder, overrides=(*overrides, *([option] if model else []))
    )
    problems = problems_in(preset)
    if problems:
        said = [
            replace(each, place=f"--model {model}") if each.place == f"--set {option}" else each
            for each in problems
        ]
        raise refusal(preset.path, said)
    return preset


def checking(command: click.Command) -> click.Command:
    """The command, or group of commands, that first checks the preset it is given; exits 2."""
    command = copy.copy(command)
    if isinstance(command, click.Group):
        command.commands = {name: checking(each) for name, each in command.commands.items()}
        return command
    names = {parameter.name for parameter in command.params}
    if "preset" in names and command.callback is not None:
        command.callback = _after_check(command.callback)
    return command


def _after_check(callback: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(callback)
    def run(*args: Any, **options: Any) -> Any:
        if options["preset"]:
            stop_if_wrong(options["preset"], options.get("overrides", ()))
        return callback(*args, **options)

    return run


def stop_if_wrong(name_or_path: str, overrides: Iterable[str] = ()) -> None:
    """End the command with exit code 2 where the preset is wrong."""
    from feature_store.settings import Settings

    try:
        checked(name_or_path, folder=Settings().presets, overrides=tuple(overrides))
    except PresetError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
