"""Presets: one YAML per deployment, read as plain sections that each package validates.

A preset is a mapping of sections; `pipelines.config` owns some, `training.config` the others.
`load_preset` reads the file, applies `a.b=c` overrides and refuses a section that nobody owns.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

SECTIONS = (
    "name",
    "description",
    "source",
    "items",
    "embedding",
    "sequences",
    "slates",
    "preferences",
    "cooccurrence",
    "validation",
    "tokenizer",
    "models",
    "training",
    "alignment",
    "evaluation",
    "gate",
    "recommendations",
    "schedule",
)


_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class PresetError(ValueError):
    """A preset that can't be read or that holds what nobody knows; commands exit 2."""


def load_preset(
    name_or_path: str, *, folder: Path, overrides: Iterable[str] = ()
) -> dict[str, Any]:
    """Sections of a preset, as plain data, with overrides applied.

    Args:
        name_or_path: a preset's name (`movielens-100k`) or a path ending in .yaml.
        folder: where named presets live.
        overrides: `section.key=value` texts; values are read as YAML.
    Raises:
        PresetError: no such file, not a mapping, an unknown section, a malformed override, or a
            name that no preset can have.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = folder / f"{name_or_path}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.yaml"))
        raise PresetError(f"no preset at {path}; presets in {folder}: {known}")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise PresetError(f"preset {path} is not YAML: {error}") from error
    if not isinstance(document, Mapping):
        raise PresetError(f"preset {path} holds {type(document).__name__}, expected a mapping")
    sections = dict(document)
    for override in overrides:
        _apply(sections, override)
    _refuse_unknown(sections, path)
    sections.setdefault("name", path.stem)
    check_name(sections["name"])
    return sections


def preset_name(name_or_path: str, *, folder: Path, overrides: Iterable[str] = ()) -> str:
    """The name that tables, records and models of a preset go by.

    It is the preset's `name`, else the stem of its file.

    Raises:
        PresetError: as `load_preset`.
    """
    return str(load_preset(name_or_path, folder=folder, overrides=overrides)["name"])


def check_name(name: object) -> str:
    """The name, which can name a preset: a namespace, a folder and an experiment at once.

    Raises:
        PresetError: it isn't 1 to 63 lower-case letters, digits, `-` and `_`, a letter or digit
            first.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PresetError(
            f"preset name {name!r} can't name tables and folders; expected 1 to 63 lower-case "
            "letters, digits, '-' and '_', a letter or digit first: set `name:` in the preset (in "
            "quotes where it is a number), or rename the file"
        )
    return name


def _apply(sections: dict[str, Any], override: str) -> None:
    dotted, separator, text = override.partition("=")
    keys = dotted.split(".")
    if not separator or not all(keys):
        raise PresetError(f"override {override!r} is not of the form section.key=value")
    target = sections
    for key in keys[:-1]:
        child = target.get(key)
        child = dict(child) if isinstance(child, Mapping) else {}
        target[key] = child
        target = child
    try:
        target[keys[-1]] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PresetError(f"override {override!r} holds no YAML value: {error}") from error


def _refuse_unknown(sections: Mapping[str, Any], path: Path) -> None:
    problems = []
    for key in sections:
        if key not in SECTIONS:
            near = difflib.get_close_matches(str(key), SECTIONS, n=1)
            problems.append(f"{key!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    if problems:
        raise PresetError(
            f"preset {path}: unknown section {', '.join(problems)}; sections are {list(SECTIONS)}"
        )
