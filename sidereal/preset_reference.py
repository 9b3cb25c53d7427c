"""Every key that a preset can have, from the schema: path, type, default, what it means."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from feature_store.preset import Section
from feature_store.preset_problems import choices_of, members, sections_of
from sidereal.preset_check import parts

_TYPES = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of a preset.

    Args:
        path: dotted; `source.strength.*.when` for a key of each element of a list.
        kind: type, choices and bounds, in words.
        default: as YAML has it; None where the key must be there.
        meaning: one or more sentences.
        is_section: whether other keys are inside.
        layout: which `source.layout` it is of; empty for a key of all.
    """

    path: str
    kind: str
    default: str | None
    meaning: str
    is_section: bool
    layout: str = ""


def keys() -> Iterator[Key]:
    """Every key, in the order of the sections; a section of several parts once, as the fullest."""
    sections: dict[str, dict[tuple[str, str], Key]] = {}
    for part in parts()[0]:
        of_part: dict[str, dict[tuple[str, str], Key]] = {}
        for key in _keys(part.model, "", ""):
            of_part.setdefault(key.path.partition(".")[0], {})[key.path, key.layout] = key
        for name, found in of_part.items():
            if len(found) > len(sections.get(name, {})):
                sections.pop(name, None)
                sections[name] = found
    for found in sections.values():
        yield from found.values()


def _keys(section: type[BaseModel], before: str, layout: str) -> Iterator[Key]:
    said = meanings(section)
    for name, field in section.model_fields.items():
        path, inside = f"{before}{name}", sections_of(field.annotation)
        is_list = any(get_origin(each) is tuple for each in members(field.annotation))
        elements = _elements(field.annotation) if is_list else []
        # A section is described by its class, unless the field says more.
        own = inside[0] if len(inside) == 1 else None
        yield Key(
            path=path,
            kind=_kind(field.annotation, field.metadata),
            default=_default(field),
            meaning=said.get(name) or (_first_sentences(own) if own else ""),
            is_section=bool(inside),
            layout=layout,
        )
        if before == "training.overrides.":
            continue  # the keys of `training`, for each family
        for each in inside:
            tag = choices_of(each.model_fields["layout"].annotation)[0] if len(inside) > 1 else ""
            yield from _keys(each, f"{path}.", tag or layout)
        for each in elements:
            yield from _keys(each, f"{path}.*.", layout)


def _elements(annotation: Any) -> list[Any]:
    return [
        section
        for each in members(annotation)
        if get_origin(each) is tuple
        for section in sections_of(get_args(each)[0])
    ]


def meanings(section: type) -> dict[str, str]:
    """What the fields of a class mean: the text below each, or its line under `Args`."""
    origin = getattr(section, "made_of", section)
    found: dict[str, str] = {}
    for each in reversed(origin.__mro__):
        if each.__module__ in ("builtins", "pydantic.main", "feature_store.preset"):
            continue
        found |= _arguments(each.__doc__ or "") | _texts_below_fields(each)
    return found


def _texts_below_fields(owner: type) -> dict[str, str]:
    [body] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    assert isinstance(body, ast.ClassDef)
    found, last = {}, None
    for statement in body.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            last = statement.target.id
            continue
        value = statement.value if isinstance(statement, ast.Expr) else None
        if last and isinstance(value, ast.Constant) and isinstance(value.value, str):
            found[last] = _joined(value.value)
        last = None
    return found


def _arguments(doc: str) -> dict[str, str]:
    _, _, listed = inspect.cleandoc(doc).partition("\nArgs:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {6,}.*)*)", listed, re.M)
    return {name: _joined(text) for name, text in found}


def _first_sentences(section: type) -> str:
    origin = getattr(section, "made_of", section)
    return _joined(inspect.cleandoc(origin.__doc__ or "").split("\n\n")[0])


def _joined(text: str) -> str:
    return " ".join(text.split())


def _kind(annotation: Any, metadata: list[Any]) -> str:
    choices = choices_of(annotation)
    if choices:
        return " \\| ".join(f"`{each}`" for each in choices)
    if sections_of(annotation):
        return "section"
    words = []
    for each in members(annotation):
        if get_origin(each) is tuple:
            inner = get_args(each)[0]
            words.append(f"list of {_of_list(inner)}")
        elif each is date:
            words.append("day")
        else:
            words.append(_TYPES.get(getattr(each, "__name__", ""), "value"))
    bounds = [
        f"{said} {getattr(bound, name):g}"
        for bound in metadata
        for name, said in _BOUNDS.items()
        if getattr(bound, name, None) is not None
    ]
    return " or ".join(words) + (f", {' and '.join(bounds)}" if bounds else "")


def _of_list(inner: Any) -> str:
    if sections_of(inner):
        return "sections"
    if choices_of(inner):
        return "names"
    plural = {"text": "texts", "whole number": "whole numbers"}
    if date in members(inner):
        return "days"
    one = _TYPES.get(getattr(members(inner)[0], "__name__", ""), "value")
    return plural.get(one, f"{one}s")


def _default(field: Any) -> str | None:
    if field.is_required():
        return None
    if field.default_factory is not None:
        return "{}"
    origin = field.default
    if isinstance(origin, Section):
        return ""
    return as_yaml(origin)


def as_yaml(value: Any) -> str:
    """A plain value as a preset writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(as_yaml(each) for each in value) + "]"
    if isinstance(value, str):
        return value if re.fullmatch(r"[a-zA-Z][\w./@-]*", value) else f'"{value}"'
    return value.isoformat() if isinstance(value, date) else str(value)
