"""Raw signals → strength, by the ordered rules of a preset.

The rules are Spark SQL over the raw columns. They are checked before a single row is read: a
misspelt column or a comparison that SQL would answer by guessing must not look like a day of
exposures without a click.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from functools import reduce

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructType

from feature_store.preset import PresetError
from pipelines.config import StrengthRule
from pipelines.transforms.catalyst import kind, nodes, parse

_NAMES = ("UnresolvedAttribute", "UnresolvedNamedLambdaVariable")
_QUOTED = re.compile(r"`([^`]+)`")


def strength_of(rules: Sequence[StrengthRule]) -> Column:
    """Strength of the first rule that holds; null where none does.

    Example:
        With `is_click = 1 → 1` before `TRUE → 0`, a row with is_click = 1 has strength 1, and one
        whose is_click is 0 or null has strength 0.
    """
    cases = [(F.expr(rule.when), F.lit(rule.strength)) for rule in rules]
    none = F.lit(None).cast("int")
    return reduce(lambda rest, case: F.when(*case).otherwise(rest), reversed(cases), none)


def rule_columns(
    rules: Sequence[StrengthRule], columns: Iterable[str]
) -> dict[int, tuple[str, ...]]:
    """The raw columns that each rule names; reads no row.

    Args:
        rules: of the preset's source.
        columns: all raw columns there are, as they are spelt in the files.

    Returns:
        By the rule's number from 1, the columns in their own spelling and order. A name that is
        no column's is left to `check_rules`, as is a rule that isn't SQL.
    """
    there = list(columns)
    named = (_names_in(rule.when) for rule in rules)
    return {
        number: tuple(column for column in there if column.lower() in names)
        for number, names in enumerate(named, start=1)
    }


def _names_in(condition: str) -> frozenset[str]:
    """Names in a condition, in lower case: columns, and the arguments of its lambdas."""
    try:
        tree = parse(condition)
    except ParseException:
        return frozenset()
    parts = (node.nameParts().apply(0) for node in nodes(tree) if kind(node) in _NAMES)
    return frozenset(str(part).lower() for part in parts)


def check_rules(rules: Sequence[StrengthRule], rows: DataFrame) -> None:
    """Refuse rules that can't be evaluated on rows like these; reads no row.

    Args:
        rules: of the preset's source.
        rows: raw columns; signals are numbers, the rest has the source's own types.

    Raises:
        PresetError: a rule isn't SQL, isn't a condition, names a column that isn't there, or
            compares a text column with a number; all rules at once.
    """
    empty = rows.sparkSession.createDataFrame([], StructType(rows.schema.fields))
    problems = [
        f"source.strength.{place} ({rule.when!r}): {problem}"
        for place, rule in enumerate(rules)
        if (problem := _problem(rule, empty))
    ]
    if problems:
        raise PresetError("strength rules:\n  " + "\n  ".join(problems))


def _problem(rule: StrengthRule, empty: DataFrame) -> str | None:
    try:
        # A filter, because it refuses aggregates and everything that isn't a condition.
        plan = empty.where(F.expr(rule.when))._jdf.queryExecution().analyzed().toString()
    except ParseException as error:
        return f"not Spark SQL: {_first_line(error)}"
    except AnalysisException as error:
        return _analysis_problem(error, empty)
    return _cast_of_text(str(plan), empty)


def _analysis_problem(error: AnalysisException, empty: DataFrame) -> str:
    if not (error.getCondition() or "").startswith("UNRESOLVED_COLUMN"):
        return _first_line(error)
    found = _QUOTED.search(str(error))
    name = found[1] if found else "?"
    columns = [column for column in empty.columns if not column.startswith("_")]
    near = difflib.get_close_matches(name, columns, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"no raw column {name!r}{hint}; there are {columns}"


def _cast_of_text(plan: str, empty: DataFrame) -> str | None:
    """Spark would read the text as the literal's type: '3.5' >= 3 as an int, 'n/a' as an error."""
    for field in empty.schema.fields:
        number = rf"\bcast\({re.escape(field.name)}#\d+ as (?:\w*int|double|float|decimal)"
        if isinstance(field.dataType, StringType) and re.search(number, plan):
            return (
                f"{field.name!r} is text and is compared with a number; list it under "
                "source.columns.signals, so that it is read as a number"
            )
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
