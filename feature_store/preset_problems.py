"""What is wrong with a preset, in our words: where, what was found, what was expected.

The schema is of pydantic models; none of pydantic's own sentences reach a person. A value is judged
as YAML wrote it: a number is no text, a text is no number, and only true and false are booleans.
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from feature_store.preset_yaml import Path

M = TypeVar("M", bound=BaseModel)

_NAMED = re.compile(r"'([^']*)'")
_SHOWN = 60
"""Characters of a found value, or of choices beside a likely one, that are shown."""
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a finite number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "date": "a day such as 2024-03-01",
    "dict": "a mapping",
}
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Args:
        path: dotted; empty where it is the file itself.
        found: what stands there, as half a sentence.
        expected: what could stand there; empty where `found` says it all.
        nearest: the key or value that was probably meant.
        place: the line of the file, or the --set, that says it.
    """

    path: str
    found: str
    expected: str = ""
    nearest: str = ""
    place: str = ""

    def __str__(self) -> str:
        subject = ": ".join(filter(None, (self.place, self.path)))
        # A long list of choices helps nobody who only misspelt one.
        is_told = self.expected and not (self.nearest and len(self.expected) > _SHOWN)
        said = self.found + (f", expected {self.expected}" if is_told else "")
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        return f"{subject}: {said}{hint}" if subject else f"{said}{hint}"


def shown(value: Any) -> str:
    """A found value, in words that say its type.

    Example:
        >>> shown("5"), shown(5), shown(None), shown([1, 2])
        ("the text '5'", '5', 'nothing', 'a list of 2')
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {value!r}" if len(value) <= _SHOWN else f"the text {value[:_SHOWN]!r}…"
    if isinstance(value, Mapping):
        return f"a mapping of {', '.join(map(str, value))}" if value else "an empty mapping"
    if isinstance(value, Sequence):
        return f"a list of {len(value)}" if len(value) else "an empty list"
    return str(value)


def near(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant; empty where none is like it."""
    known = list(known)
    found = difflib.get_close_matches(word.lower(), [each.lower() for each in known], n=1)
    return next((each for each in known if found and each.lower() == found[0]), "")


def one_of(names: Iterable[str]) -> str:
    """Choices in words."""
    return "one of " + ", ".join(names)


def model_problems(
    model: type[BaseModel], data: Mapping[str, Any]
) -> Iterator[tuple[Path, Problem]]:
    """Everything in which data is not what a model asks for, each with its path."""
    try:
        validated(model, data)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            path, problem = _translated(one, model)
            yield path, replace(problem, path=dotted(path))


def validated(model: type[M], data: Mapping[str, Any]) -> M:
    """A model of plain data, whose types are taken as they are."""
    return model.model_validate_json(json.dumps(data), strict=True)


def dotted(path: Path) -> str:
    """A path as it is written after --set."""
    return ".".join(map(str, path))


def _translated(error: Any, model: type[BaseModel]) -> tuple[Path, Problem]:
    path, at, above = _resolve(model, error["loc"])
    kind, context, value = error["type"], error.get("ctx", {}), error.get("input")
    said = f"found {shown(value)}"
    if kind == "extra_forbidden":
        return path, _unknown_key(model, path, above)
    if kind == "missing":
        return path, Problem(path="", found="is missing", expected=_expected(at))
    if kind.startswith("union_tag"):
        return _wrong_tag(path, at, value)
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return path, Problem(path="", found=said, expected=f"{words} {context[key]:g}")
    if kind == "literal_error":
        choices = _NAMED.findall(context["expected"])
        nearest = near(value, choices) if isinstance(value, str) else ""
        return path, Problem(path="", found=said, expected=one_of(choices), nearest=nearest)
    if kind in ("value_error", "assertion_error"):
        return path, Problem(path="", found=str(context["error"]))
    if kind.startswith(("model_", "dataclass_")):
        return path, Problem(path="", found=said, expected=_mapping_words(at, value))
    if kind == "too_short":
        fewest = f"a list of at least {context['min_length']}"
        return path, Problem(path="", found=said, expected=fewest)
    words = next((w for start, w in _KINDS.items() if kind.startswith(start)), "")
    if not words:
        return path, Problem(path="", found=said, expected=_expected(at))
    if kind == "int_from_float" or (kind == "int_type" and isinstance(value, float)):
        words = "a whole number"
    return path, Problem(path="", found=said + _quoting(value, words), expected=words)


def _quoting(value: Any, words: str) -> str:
    """What quotes, or their lack, made of a value."""
    if isinstance(value, str) and "number" in words and re.fullmatch(r"[-+]?[\d.]+", value):
        return " (in quotes, or it would be a number)"
    if not isinstance(value, str) and words == "text" and isinstance(value, bool | int | float):
        return " (put it in quotes)"
    return ""


def _unknown_key(model: type[BaseModel], path: Path, above: Any) -> Problem:
    key, known = str(path[-1]), keys_of(above)
    nearest = near(key, known)
    if not nearest:
        others = [p for p in paths_of(model) if p[-1] == key and p[:-1] != path[:-1]]
        if others:
            return Problem(path="", found=f"is no key here, but of {dotted(others[0][:-1])}")
    return Problem(path="", found="is no key", expected=one_of(known), nearest=nearest)


def _wrong_tag(path: Path, at: Any, value: Any) -> tuple[Path, Problem]:
    sections = sections_of(at)
    name = next(n for n in sections[0].model_fields if _choices(sections[0].model_fields[n]))
    tags = [tag for section in sections for tag in _choices(section.model_fields[name])]
    path = (*path, name)
    if not isinstance(value, Mapping) or name not in value:
        return path, Problem(path="", found="is missing", expected=one_of(tags))
    found = value[name]
    nearest = near(found, tags) if isinstance(found, str) else ""
    said = f"found {shown(found)}"
    return path, Problem(path="", found=said, expected=one_of(tags), nearest=nearest)


def _mapping_words(at: Any, value: Any) -> str:
    sections = sections_of(at)
    if len(sections) != 1:
        return "a mapping"
    needed = [name for name, field in sections[0].model_fields.items() if field.is_required()]
    if len(needed) == 1 and isinstance(value, str):
        return f"a mapping such as {{{needed[0]}: {value}}}"
    return f"a mapping of {', '.join(needed or sections[0].model_fields)}"


def _resolve(model: type[BaseModel], loc: Sequence[str | int]) -> tuple[Path, Any, Any]:
    """The path without pydantic's tags, what the schema has there, and what holds it."""
    path: list[str | int] = []
    at: Any = model
    above: Any = None
    for part in loc:
        tagged = _tagged(at, part)
        if tagged is not None:
            at = tagged
            continue
        above, at = at, _inside(at, part)
        path.append(part)
    return tuple(path), at, above


def _tagged(at: Any, part: str | int) -> Any:
    """The section of a union that a tag names; None where it names none."""
    sections = sections_of(at)
    if len(sections) < 2:
        return None
    return next(
        (s for s in sections for field in s.model_fields.values() if part in _choices(field)), None
    )


def _inside(at: Any, part: str | int) -> Any:
    for section in sections_of(at):
        field = section.model_fields.get(str(part))
        return None if field is None else field.annotation
    for member in members(at):
        arguments = get_args(member)
        if get_origin(member) in (tuple, list):
            return arguments[0]
        if get_origin(member) is dict:
            return arguments[1]
    return None


def members(annotation: Any) -> list[Any]:
    """The types that an annotation allows, without None and without metadata."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [each for part in get_args(annotation) for each in members(part)]
    return [] if annotation in (None, NoneType) else [annotation]


def sections_of(annotation: Any) -> list[type[BaseModel]]:
    """The models among them."""
    return [
        each
        for each in members(annotation)
        if isinstance(each, type) and issubclass(each, BaseModel)
    ]


def _choices(field: Any) -> tuple[Any, ...]:
    return choices_of(field.annotation)


def choices_of(annotation: Any) -> tuple[Any, ...]:
    """The values that an annotation allows, where they are written out."""
    return tuple(
        value
        for each in members(annotation)
        if get_origin(each) is Literal
        for value in get_args(each)
    )


def keys_of(annotation: Any) -> list[str]:
    """The keys that a mapping may have there."""
    return list(dict.fromkeys(key for each in sections_of(annotation) for key in each.model_fields))


def paths_of(model: type[BaseModel], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every path that a preset may have, sections first."""
    for name, field in model.model_fields.items():
        path = (*before, name)
        yield path
        for each in sections_of(field.annotation):
            yield from paths_of(each, path)


def _expected(annotation: Any) -> str:
    choices = choices_of(annotation)
    if choices:
        return one_of(map(str, choices))
    sections = sections_of(annotation)
    if sections:
        return _mapping_words(annotation, None)
    return " or ".join(dict.fromkeys(_type_words(each) for each in members(annotation)))


def _type_words(kind: Any) -> str:
    name = getattr(get_origin(kind) or kind, "__name__", "")
    return {"str": "text"}.get(name, _KINDS.get(name, "a value"))
