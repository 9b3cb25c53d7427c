"""Presets: one YAML per deployment, whose sections belong to several packages.

Each package describes its sections as a model (`Section`) and says, as a `Part`, what a model can't
say. `load` reads a file, applies `a.b=c` overrides and gives one package's part; `problems_of` says
everything that is wrong with some or all parts at once.
"""

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from feature_store import preset_yaml
from feature_store.preset_problems import (
    Problem,
    dotted,
    model_problems,
    near,
    one_of,
    shown,
    validated,
)


class Section(BaseModel):
    """A preset section: unknown keys are refused, values are frozen and finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


M = TypeVar("M", bound=Section)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class PresetError(ValueError):
    """A preset that can't be read or that is wrong; commands exit 2.

    Args:
        message: what a person reads.
        problems: each of them, where there are several.
    """

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


Found = Iterable[tuple[preset_yaml.Path, Problem]]
"""Problems with their paths."""


@dataclass(frozen=True)
class Rule:
    """What a model can't say.

    Args:
        reads: dotted paths that it reads; where one of them is wrong already, it is not asked.
        problems: of an instance of the part's model.
    """

    reads: tuple[str, ...]
    problems: Callable[[Any], Found]


@dataclass(frozen=True)
class Part(Generic[M]):
    """One package's share of a preset: its sections by name, and what depends on what in them."""

    model: type[M]
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A preset as plain data.

    Args:
        path: its file.
        sections: by name, overrides applied.
        lines: of the file, by path.
        overrides: the --set that gives the value at a path.
        malformed: what is wrong with a --set that gives none.
    """

    path: Path
    sections: dict[str, Any]
    lines: Mapping[preset_yaml.Path, int]
    overrides: Mapping[preset_yaml.Path, str] = field(default_factory=dict)
    malformed: tuple[Problem, ...] = ()

    def place(self, path: preset_yaml.Path) -> str:
        """What says the value at a path, or that it is not said: an override, or a line."""
        if source := self.source(path):
            return source
        inside = [keys for keys in self.overrides if keys[: len(path)] == path]
        if inside:
            return f"--set {self.overrides[inside[-1]]}"
        lengths = range(len(path), 0, -1)
        line = next((self.lines[path[:n]] for n in lengths if path[:n] in self.lines), None)
        return f"line {line}" if line else ""

    def source(self, path: preset_yaml.Path) -> str:
        """What says the very value at a path; empty where it is a default."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.overrides:
                return f"--set {self.overrides[path[:length]]}"
        return f"line {self.lines[path]}" if path in self.lines else ""


def read_preset(name_or_path: str, *, folder: Path, overrides: Iterable[str] = ()) -> Preset:
    """A preset's sections as plain data, with overrides applied; nothing but its form is judged.

    Args:
        name_or_path: a preset's name (`movielens-100k`) or a path ending in .yaml.
        folder: where named presets live.
        overrides: `section.key=value` texts; values are read as YAML. Those of another form are
            kept for `problems_of`.
    Raises:
        PresetError: no such file, not YAML, not a mapping; all at once.
    """
    path = _find(name_or_path, folder)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PresetError(f"preset {path} is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise PresetError(f"preset {path} can't be read: {error.strerror}") from error
    try:
        document = preset_yaml.read_yaml(text)
    except preset_yaml.YamlProblems as error:
        problems = [
            Problem(path="", found=one.message, place=f"line {one.line}" if one.line else "")
            for one in error.problems
        ]
        raise refusal(path, problems) from error
    if not isinstance(document.data, Mapping):
        found = "is empty" if document.data is None else f"holds {shown(document.data)}"
        raise PresetError(
            f"preset {path} {found}, expected a mapping of sections (name, source, …)"
        )
    sections = dict(document.data)
    places: dict[preset_yaml.Path, str] = {}
    malformed = tuple(problem for text in overrides for problem in _apply(sections, places, text))
    sections.setdefault("name", path.stem)
    return Preset(
        path=path,
        sections=sections,
        lines=document.lines,
        overrides=places,
        malformed=malformed,
    )


def preset_name(name_or_path: str, *, folder: Path, overrides: Iterable[str] = ()) -> str:
    """The name that tables, records and models of a preset go by.

    It is the preset's `name`, else the stem of its file.

    Raises:
        PresetError: the preset can't be read, or no preset can have its name.
    """
    preset = read_preset(name_or_path, folder=folder, overrides=overrides)
    place = preset.place(("name",))
    named = [replace(each, place=place) for each in _name_problems(preset.sections["name"])]
    if problems := [*preset.malformed, *named]:
        raise refusal(preset.path, problems)
    return str(preset.sections["name"])


def check_name(name: object) -> str:
    """The name, which can name a preset: a namespace, a folder and an experiment at once.

    Raises:
        PresetError: it can't.
    """
    for problem in _name_problems(name):
        raise PresetError(str(problem))
    return str(name)


def _name_problems(name: object) -> Iterator[Problem]:
    """A name is a namespace, a folder and an experiment at once."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield Problem(
            path="name",
            found=f"{shown(name)} can't name tables and folders",
            expected="1 to 63 lower-case letters, digits, - and _, a letter or digit first: set "
            "`name` in the preset, or rename the file",
        )


def load(part: Part[M], name_or_path: str, *, folder: Path, overrides: Iterable[str] = ()) -> M:
    """One package's part of a preset: an instance of `part.model`.

    Raises:
        PresetError: the preset can't be read, or this part of it is wrong; all problems at once.
    """
    preset = read_preset(name_or_path, folder=folder, overrides=overrides)
    problems = problems_of(preset, [part])
    if problems:
        raise refusal(preset.path, problems)
    return instance(part, preset)


def instance(part: Part[M], preset: Preset) -> M:
    """A part of a preset that has no problems: an instance of `part.model`."""
    known = part.model.model_fields
    return validated(part.model, {n: value for n, value in preset.sections.items() if n in known})


def problems_of(
    preset: Preset, parts: Sequence[Part[Any]], *, all_parts: bool = False
) -> list[Problem]:
    """Everything that is wrong with a preset's overrides and parts, in the file's order.

    Args:
        preset: as read.
        parts: whose sections are judged.
        all_parts: whether there are no others, so that a section of none of them is refused.
    """
    found: dict[tuple[preset_yaml.Path, str], Problem] = {}
    for part in parts:
        known = part.model.model_fields
        own = {name: value for name, value in preset.sections.items() if name in known}
        wrong = list(model_problems(part.model, own))
        for path, problem in (*wrong, *_broken_rules(part, own, [path for path, _ in wrong])):
            found.setdefault((path, problem.found), problem)
    if not any(path == ("name",) for path, _ in found):
        for problem in _name_problems(preset.sections["name"]):
            found[("name",), problem.found] = problem
    if all_parts:
        for path, problem in _unknown_sections(preset.sections, parts):
            found.setdefault((path, problem.found), problem)
    placed = [
        (path, replace(problem, path=dotted(path), place=preset.place(path)))
        for (path, _), problem in found.items()
    ]
    placed.sort(key=lambda one: _line(preset, one[0]))
    return [*preset.malformed, *(problem for _, problem in placed)]


def _broken_rules(
    part: Part[Any], own: Mapping[str, Any], wrong: Sequence[preset_yaml.Path]
) -> Found:
    """Problems of the rules that read nothing wrong; what is wrong has its default meanwhile."""
    right: Any = copy.deepcopy(dict(own))
    for path in wrong:
        _drop(right, path)
    try:
        config = validated(part.model, right)
    except ValidationError:  # what has no default is wrong
        right = {name: value for name, value in own.items() if all(p[0] != name for p in wrong)}
        needed = [name for name, field in part.model.model_fields.items() if field.is_required()]
        optional: Any = {name: (Any, None) for name in needed}
        config = validated(create_model("Apart", __base__=part.model, **optional), right)
    for rule in part.rules:
        reads = [tuple(read.split(".")) for read in rule.reads]
        if not any(_touch(path, read) for path in wrong for read in reads):
            yield from rule.problems(config)


def _drop(data: Any, path: preset_yaml.Path) -> None:
    """Leave out what is at a path; of a list, the whole list."""
    for place, key in enumerate(path):
        if not isinstance(data, dict) or key not in data:
            return
        if place + 1 == len(path) or not isinstance(data[key], dict):
            del data[key]
            return
        data = data[key]


def _touch(a: preset_yaml.Path, b: preset_yaml.Path) -> bool:
    """Whether one path leads to the other."""
    length = min(len(a), len(b))
    return a[:length] == b[:length]


def refusal(path: Path, problems: Sequence[Problem]) -> PresetError:
    """What is said about a preset with problems: a line each."""
    many = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    listed = "".join(f"\n  {problem}" for problem in problems)
    return PresetError(f"preset {path} has {many}:{listed}", problems)


def _line(preset: Preset, path: preset_yaml.Path) -> int:
    lengths = range(len(path), 0, -1)
    return next((preset.lines[path[:n]] for n in lengths if path[:n] in preset.lines), 0)


def _find(name_or_path: str, folder: Path) -> Path:
    path = Path(name_or_path).expanduser()
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise PresetError(f"no preset at {path.absolute()}")
    path = folder / f"{name_or_path}.yaml"
    if path.is_file():
        return path
    known = sorted(each.stem for each in folder.glob("*.yaml"))
    nearest = near(name_or_path, known)
    hint = f"; did you mean {nearest!r}?" if nearest else ""
    there = ", ".join(known) or "none"
    raise PresetError(
        f"no preset at {path}; presets in {folder}: {there}{hint}. Give a path that ends in "
        ".yaml, or `cd` to the folder that `sidereal init` made: its .env says where presets are"
    )


def _apply(
    sections: dict[str, Any], places: dict[preset_yaml.Path, str], override: str
) -> Iterator[Problem]:
    dotted_path, separator, text = override.partition("=")
    keys = tuple(dotted_path.split("."))
    place = f"--set {override}"
    if not separator or not all(keys):
        yield Problem(path="", found="is not of the form section.key=value", place=place)
        return
    try:
        value = preset_yaml.read_yaml(text).data
    except preset_yaml.YamlProblems as error:
        for one in error.problems:
            yield Problem(path="", found=one.message, place=place)
        return
    target = sections
    for key in keys[:-1]:
        child = target.get(key)
        child = dict(child) if isinstance(child, Mapping) else {}
        target[key] = child
        target = child
    target[keys[-1]] = value
    places[keys] = override


def _unknown_sections(sections: Mapping[str, Any], parts: Sequence[Part[Any]]) -> Found:
    known = list(dict.fromkeys(name for part in parts for name in part.model.model_fields))
    for name in sections:
        if name not in known:
            problem = Problem(
                path="", found="is no section", expected=one_of(known), nearest=near(name, known)
            )
            yield (name,), problem
