"""What a strength rule may be made of: functions of the row's columns, and of nothing else.

A rerun must give the same table. A rule may therefore not draw numbers, look at the clock, the
session, the file or another row, nor call code that we can't see. What isn't listed is refused.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

from pipelines.transforms.catalyst import is_a, is_foldable, kind, nodes, replaced, value_of
from pipelines.transforms.row_function_names import OF_THE_ROW, ROW_FUNCTIONS, WITHOUT_BRACKETS

_LEAVES = frozenset(
    "AttributeReference Literal NamedLambdaVariable CommonExpressionRef Pi EulerNumber "
    "CreateArray CreateMap Concat".split()
)
"""Nodes without children that an analysed rule may have; Spark's clock and its like are others."""
_FULL_DATE = re.compile(r"\s*[+-]?\d{4,}(?!\d*:)")
"""How a date begins that owes nothing to the clock: not 'now', not '12:30'."""
_DATES = ("date", "timestamp", "timestamp_ntz")


def foreign_name(tree: Any, rule: str, columns: Collection[str]) -> str | None:
    """What a parsed rule calls or names that isn't of the row; None: nothing.

    Args:
        tree: as `parse` gives it.
        rule: its text.
        columns: raw columns, in lower case.
    """
    for node in nodes(tree):
        problem = _foreign(node, rule, columns)
        if problem:
            return problem
    return None


def foreign_node(plan: Any) -> str | None:
    """What an analysed rule depends on besides the row; None: nothing.

    Args:
        plan: the analysed plan of a filter by the rule.
    """
    condition = replaced(plan).condition()
    return next(_dependencies(condition), None)


def _foreign(node: Any, rule: str, columns: Collection[str]) -> str | None:
    called = kind(node)
    if called == "UnresolvedFunction":
        name = ".".join(_parts(node)).lower()
        return None if name in ROW_FUNCTIONS else f"it uses {name}, and {OF_THE_ROW}"
    if called == "UnresolvedAttribute":
        name = _parts(node)[0].lower()
        is_call = name in WITHOUT_BRACKETS and name not in columns
        return f"it uses {name}, and {OF_THE_ROW}" if is_call else None
    if called == "UnresolvedStar":
        return "it uses *; name the columns"
    if called == "WindowExpression":
        return f"it uses a window (OVER), and {OF_THE_ROW}"
    if is_a(node, "PlanExpression") or called == "InSubquery":
        return f"it uses a subquery, and {OF_THE_ROW}"
    if called == "Literal" and str(node.dataType().typeName()) in _DATES:
        return _clock_in_text(rule, node.origin())
    return None


def _clock_in_text(rule: str, origin: Any) -> str | None:
    written = rule[origin.startIndex().get() : origin.stopIndex().get() + 1]
    text = re.search(r"""['"](.*)['"]""", written, re.DOTALL)
    return _clock(text[1]) if text else None


def _clock(text: str) -> str | None:
    if _FULL_DATE.match(text):
        return None
    return f"it reads {text!r} as a date, which the clock would complete; write a full date"


def _dependencies(condition: Any) -> Iterator[str]:
    for node in nodes(condition):
        is_leaf = not node.children().size()
        if (is_leaf and kind(node) not in _LEAVES) or is_a(node, "PlanExpression"):
            yield f"it uses {node.prettyName()}, and {OF_THE_ROW}"
        if kind(node) == "Cast" and str(node.child().dataType().typeName()) == "string":
            yield from _clock_in_cast(node)
    if not condition.deterministic():
        yield f"its value changes from run to run, and {OF_THE_ROW}"


def _clock_in_cast(cast: Any) -> Iterator[str]:
    target = str(cast.dataType().typeName())
    if target not in _DATES:
        return
    if is_foldable(cast.child()):
        text = value_of(cast.child())
        problem = _clock(text) if text is not None else None
        if problem:
            yield problem
    elif target == "timestamp":
        yield (
            "it reads text as a timestamp, and Spark completes a time without a date from the "
            f"clock; write to_timestamp_ntz({cast.child().sql()})"
        )


def _parts(node: Any) -> list[str]:
    parts = node.nameParts()
    return [str(parts.apply(place)) for place in range(parts.size())]
