"""How strength rules see a raw column: as text, as a number, or as true and false.

A typed column (Parquet) is seen as it is. A text column (CSV, JSON) is seen as the rules use it:
`action = 'cart'` takes text, `seconds >= 30` a number, `liked` or `liked = TRUE` a truth. Numbers
1 and 0 do for true and false, and the other way round. A column has one reading in all rules.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, DataType, NumericType, StringType

from pipelines.transforms.catalyst import condition_of, is_implicit, kind, nodes
from pipelines.transforms.identifiers import in_words, is_missing

Reading = Literal["text", "number", "truth", "as it is"]
Schema = Mapping[str, DataType]
"""Types of the raw columns by their names in lower case."""

_MOST_COLUMNS = 4
"""Of one comparison, whose readings are tried in all combinations."""
_WORDS: dict[Reading, str] = {
    "text": "as text",
    "number": "as a number",
    "truth": "as true or false",
    "as it is": "as it is",
}


@dataclass(frozen=True, kw_only=True)
class Use:
    """One comparison of a rule.

    Args:
        rule: number of the rule, from 1.
        columns: raw columns that it names, in lower case.
        ways: readings of these columns under which Spark evaluates it without guessing.
        problem: why there is none.
    """

    rule: int
    columns: tuple[str, ...]
    ways: tuple[tuple[Reading, ...], ...]
    problem: str = ""


def possible(column: DataType) -> tuple[Reading, ...]:
    """Readings of a raw column by its type, the first where the rules leave it open."""
    if isinstance(column, StringType):
        return ("text", "number", "truth")
    if isinstance(column, BooleanType):
        return ("truth", "number")
    if isinstance(column, NumericType):
        return ("number", "truth")
    return ("as it is",)


def uses(rule: int, tree: Any, schema: Schema) -> Iterator[Use]:
    """The comparisons of a parsed rule; reads no row."""
    for part in _comparisons(tree):
        columns = tuple(sorted(names_in(part) & schema.keys()))
        ways, problem = [], ""
        for way in _combinations(columns, schema):
            says = _problem(part, dict(zip(columns, way, strict=True)), schema)
            problem = problem or says or ""
            if says is None:
                ways.append(way)
        holds = [f"{name!r} holds {in_words(schema[name])}" for name in columns]
        yield Use(
            rule=rule,
            columns=columns,
            ways=tuple(ways),
            problem="; ".join([problem, *holds]),
        )


def settle(every: Sequence[Use], schema: Schema) -> dict[str, Reading]:
    """One reading for each column that the rules name.

    Raises:
        ValueError: they use a column in two ways; names both rules.
    """
    for column in {name for use in every for name in use.columns}:
        _refuse_two_ways(column, [use for use in every if use.ways and column in use.columns])
    left = {name: list(possible(schema[name])) for use in every for name in use.columns}
    while True:
        _narrow(left, [use for use in every if use.ways])
        open_column = next((name for name, ways in left.items() if len(ways) > 1), None)
        if open_column is None:
            return {name: ways[0] for name, ways in left.items()}
        left[open_column] = left[open_column][:1]


def read_as(column: Column, reading: Reading, kind_: DataType) -> Column:
    """A raw column under a reading; null where it can't be read so."""
    if reading == "number":
        return to_number(column, kind_)
    if reading == "truth" and not isinstance(kind_, BooleanType):
        number = to_number(column, kind_)
        truth = F.when(number == 1, True).when(number == 0, False)
        return F.coalesce(truth, column.try_cast("boolean")) if _is_text(kind_) else truth
    return column


def unreadable(raw: Column, read: Column, reading: Reading, kind_: DataType) -> list[Any]:
    """Conditions against a row, and what each says of the value."""
    if reading == "text" or reading == "as it is":
        return []
    is_lost = raw.isNotNull() & read.isNull()
    if _is_text(kind_):
        # Behind a condition, since Spark evaluates both sides of AND where one occurs twice.
        is_lost = F.when(is_lost, ~is_missing(F.trim(raw)))
    problems = [(is_lost, "is not a number" if reading == "number" else "is not true or false")]
    if reading == "number":
        infinite = read.isin(float("inf"), float("-inf"))
        problems.append((F.isnan(read) | infinite, "is NaN or infinite"))
    return problems


def column_names(tree: Any) -> list[str]:
    """Names in a parsed rule that must be columns, as they are written there."""
    return [first_part(node) for node in nodes(tree) if kind(node) == "UnresolvedAttribute"]


def names_in(tree: Any) -> frozenset[str]:
    """Names in a parsed rule, in lower case: columns, and the arguments of its lambdas."""
    return frozenset(first_part(node).lower() for node in nodes(tree) if kind(node) in _NAMES)


def first_part(node: Any) -> str:
    """The first part of a dotted name."""
    return str(node.nameParts().apply(0))


def frame_of(columns: Iterable[str], readings: Mapping[str, Reading], schema: Schema) -> DataFrame:
    """No rows, with the columns as rules see them."""
    nothing = SparkSession.active().range(0)
    return nothing.select(
        *(
            read_as(F.lit(None).cast(schema[name]), readings[name], schema[name]).alias(name)
            for name in columns
        )
    )


def _comparisons(tree: Any) -> Iterator[Any]:
    if kind(tree) not in ("And", "Or", "Not"):
        yield tree
        return
    children = tree.children()
    for place in range(children.size()):
        yield from _comparisons(children.apply(place))


def _combinations(columns: Sequence[str], schema: Schema) -> Iterator[tuple[Reading, ...]]:
    ways = [possible(schema[name]) for name in columns]
    if len(columns) <= _MOST_COLUMNS:
        yield from product(*ways)
        return
    for wanted in ("text", "number", "truth"):
        yield tuple(wanted if wanted in each else each[0] for each in ways)


def _problem(part: Any, readings: Mapping[str, Reading], schema: Schema) -> str | None:
    """Why a comparison can't be evaluated under some readings; None: it can."""
    try:
        filtered: Any = frame_of(readings, readings, schema).where(condition_of(part))
    except AnalysisException as error:
        if error.getCondition() == "DATATYPE_MISMATCH.FILTER_NOT_BOOLEAN":
            return "it is a value and no condition; compare it with something"
        return first_line(error)
    as_they_are = all(readings[name] == possible(schema[name])[0] for name in readings)
    for node in nodes(filtered._jdf.queryExecution().analyzed().condition()):
        problem = _guess(node, as_they_are=as_they_are)
        if problem:
            return problem
    return None


def _guess(node: Any, *, as_they_are: bool) -> str | None:
    """What Spark would make up to evaluate a node: '3.5' >= 3 as integers, 'n/a' as an error."""
    if kind(node) == "Cast" and is_implicit(node):
        before, after = str(node.child().dataType().typeName()), str(node.dataType().typeName())
        if before == "string" and after in _NUMBERS_AND_TRUTHS:
            return (
                "it compares text with a number or a truth: write a number without quotes, or CAST "
                "what is text"
            )
        if after == "string" and before in _NUMBERS_AND_TRUTHS and not as_they_are:
            return "it takes a number for text"
    if kind(node) in _ORDERS:
        sides = [node.children().apply(place) for place in range(2)]
        if all(kind(side) == "AttributeReference" for side in sides) and all(
            str(side.dataType().typeName()) == "string" for side in sides
        ):
            return "it asks which of two text columns is greater"
    return None


def _refuse_two_ways(column: str, every: Sequence[Use]) -> None:
    seen = [(use, {way[use.columns.index(column)] for way in use.ways}) for use in every]
    for place, (use, ways) in enumerate(seen):
        for other, others in seen[:place]:
            if not ways & others:
                raise ValueError(
                    f"rule {other.rule} uses {column!r} {_in_words(others)}, and rule {use.rule} "
                    f"{_in_words(ways)}; a column has one reading in all rules. Compare it "
                    f"the same way in both, or write CAST({column} AS …) in one of them"
                )


def _in_words(ways: set[Reading]) -> str:
    return " or ".join(words for way, words in _WORDS.items() if way in ways)


def _narrow(left: dict[str, list[Reading]], every: Sequence[Use]) -> None:
    """Strike out what no comparison's ways hold any more, until nothing changes."""
    changed = True
    while changed:
        changed = False
        for use in every:
            ways = [
                way
                for way in use.ways
                if all(each in left[name] for name, each in zip(use.columns, way, strict=True))
            ]
            for place, name in enumerate(use.columns):
                kept = [each for each in left[name] if any(way[place] == each for way in ways)]
                changed |= kept != left[name]
                left[name] = kept
                if not kept:
                    raise ValueError(
                        f"the rules use {name!r} in more than one way, in rule {use.rule} together "
                        f"with {', '.join(use.columns)}; compare "
                        "them the same way, or CAST one of them"
                    )


def to_number(column: Column, kind_: DataType) -> Column:
    """A raw column as numbers, 1 and 0 for true and false; null for any other text."""
    if isinstance(kind_, BooleanType):
        return column.cast("int")
    if not _is_text(kind_):
        return column
    truth = F.when(F.lower(F.trim(column)) == "true", 1.0).when(
        F.lower(F.trim(column)) == "false", 0.0
    )
    return F.coalesce(column.try_cast("double"), truth)


def _is_text(kind_: DataType) -> bool:
    return isinstance(kind_, StringType)


def first_line(error: Exception) -> str:
    """The first line of what Spark says."""
    return str(error).strip().splitlines()[0]


_NAMES = ("UnresolvedAttribute", "UnresolvedNamedLambdaVariable")
_ORDERS = ("LessThan", "LessThanOrEqual", "GreaterThan", "GreaterThanOrEqual")
_NUMBERS_AND_TRUTHS = frozenset("byte short integer long float double decimal boolean".split())
