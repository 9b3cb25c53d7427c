"""Preset YAML → plain data and the line of every value; what reads as something else is refused.

Plain words mean what YAML 1.2 says: `true` and `false` alone are booleans, `1e-3` is a number, and
`no`, `yes`, `on` and `2024-03-01` are text, so that a column may be called `no`.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]
"""Keys and places in lists that lead to a value."""


@dataclass(frozen=True, slots=True)
class YamlProblem:
    """What is wrong with a text, and in which line (from 1; None: nowhere in particular)."""

    message: str
    line: int | None


class YamlProblems(Exception):
    """Everything that is wrong with a YAML text."""

    def __init__(self, problems: list[YamlProblem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


@dataclass(slots=True)
class Document:
    """A text's data, and the line in which each value begins, by path."""

    data: Any
    lines: dict[Path, int] = field(default_factory=dict)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema; PyYAML's own is that of 1.1."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first
    )


def read_yaml(text: str) -> Document:
    """The data of a YAML text.

    Example:
        >>> read_yaml("{rate: 1e-3, user: no, day: 2024-03-01}").data
        {'rate': 0.001, 'user': 'no', 'day': '2024-03-01'}

    Raises:
        YamlProblems: it is no YAML, a key comes twice or is no text, or a tag asks for an object.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        raise YamlProblems([_syntax(error, text)]) from error
    finally:
        loader.dispose()
    document = Document(None)
    problems: list[YamlProblem] = []
    if node is not None:
        document.data = _value(node, (), document.lines, problems, frozenset())
    if problems:
        raise YamlProblems(problems)
    return document


def _value(
    node: yaml.Node,
    path: Path,
    lines: dict[Path, int],
    problems: list[YamlProblem],
    above: frozenset[int],
) -> Any:
    line = node.start_mark.line + 1
    lines[path] = line
    if id(node) in above:
        problems.append(YamlProblem("an alias names what it stands in", line))
        return None
    above |= {id(node)}
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, lines, problems, above)
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(child, (*path, place), lines, problems, above)
            for place, child in enumerate(node.value)
        ]
    return _scalar(node, problems)


def _mapping(
    node: yaml.MappingNode,
    path: Path,
    lines: dict[Path, int],
    problems: list[YamlProblem],
    above: frozenset[int],
) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    own: dict[str, Any] = {}
    first: dict[str, int] = {}
    for key_node, child in node.value:
        line = key_node.start_mark.line + 1
        if key_node.tag == "tag:yaml.org,2002:merge":
            found = _value(child, path, lines, problems, above)
            if isinstance(found, dict):
                merged |= found
            else:
                problems.append(YamlProblem("'<<' merges mappings, and this is none", line))
            continue
        key = key_node.value
        if key_node.tag != "tag:yaml.org,2002:str":
            shown = f"{key!r} " if isinstance(key, str) else ""
            problems.append(YamlProblem(f"the key {shown}is no text; put it in quotes", line))
            continue
        if key in own:
            problems.append(
                YamlProblem(f"{key!r} is there twice, first in line {first[key]}", line)
            )
        own[key] = _value(child, (*path, key), lines, problems, above)
        lines[(*path, key)] = line
        first.setdefault(key, line)
    return {**merged, **own}


def _scalar(node: yaml.Node, problems: list[YamlProblem]) -> Any:
    kind, text = node.tag.rsplit(":", 1)[-1], str(node.value)
    match kind:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text)
        case "float":
            # Python spells infinity and NaN without YAML's point.
            return float(re.sub(r"\.(?=[iInN])", "", text))
        case "str":
            return text
    told = f"the tag {node.tag} asks for an object; a preset holds plain values"
    problems.append(YamlProblem(told, node.start_mark.line + 1))
    return None


def _syntax(error: yaml.YAMLError, text: str) -> YamlProblem:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark is not None else None
    said = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    if "'\\t'" in said or _indented_by_tab(text, line):
        return YamlProblem("a tab; YAML is indented by blanks", line)
    if "single document" in str(getattr(error, "context", "")):
        return YamlProblem("a second document (---); a preset is one", line)
    if "mapping values are not allowed" in said:
        return YamlProblem(
            "a colon where none can be: the line is indented too far, or a text with ': ' needs "
            "quotes",
            line,
        )
    context = getattr(error, "context", None)
    return YamlProblem(": ".join(filter(None, ("no YAML", context, said))), line)


def _indented_by_tab(text: str, line: int | None) -> bool:
    lines = text.splitlines()
    if line is None or line > len(lines):
        return False
    here = lines[line - 1]
    return "\t" in here[: len(here) - len(here.lstrip())]
