"""Raw signals → strength, by the ordered rules of a preset.

The rules are Spark SQL over the raw columns. They are checked before a single row is read: a
misspelt column or a comparison that SQL would answer by guessing must not look like a day of
exposures without a click.
"""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

from pyspark.errors import ParseException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from feature_store.preset import PresetError
from pipelines.config import StrengthRule
from pipelines.sources.interface import ROW
from pipelines.transforms.catalyst import integer_or, parse
from pipelines.transforms.readings import (
    Reading,
    column_names,
    first_line,
    frame_of,
    names_in,
    settle,
    uses,
)
from pipelines.transforms.row_function_names import WITHOUT_BRACKETS
from pipelines.transforms.row_functions import foreign_name, foreign_node

NO_RULE = 4
"""The outcome of a row that meets no rule; strengths are below it."""
_FAILED = -1
"""The outcome of a row on which rule n fails is this less n; strengths are above it."""


def outcome_of(rules: Sequence[StrengthRule], *, guard: Column) -> Column:
    """What the rules say of a row: the strength of the first that holds.

    Args:
        rules: ordered; an earlier rule that holds decides, whatever a later one would do.
        guard: true in every row, which Spark can't prove (see `integer_or`).

    Returns:
        A strength, `NO_RULE`, or `failure(n)` where rule n can't be evaluated on the row.

    Example:
        With `is_click = 1 → 1` before `TRUE → 0`, a row with is_click = 1 has strength 1, and one
        whose is_click is 0 or null has strength 0.
    """
    conditions = [F.expr(rule.when) for rule in rules]
    cases = list(zip(conditions, (F.lit(rule.strength) for rule in rules), strict=True))
    # Asked only where the rules fail as a whole, and in order: those before it hold nowhere.
    fails = [
        integer_or(F.coalesce(each, F.lit(False)).cast("int"), F.lit(_FAILED), guard=guard)
        == F.lit(_FAILED)
        for each in conditions
    ]
    numbers = (F.lit(failure(number)) for number in range(1, len(rules) + 1))
    blamed = _first(zip(fails, numbers, strict=True), F.lit(NO_RULE))
    return integer_or(_first(cases, F.lit(NO_RULE)), blamed, guard=guard)


def failure(number: int) -> int:
    """The outcome of a row on which the rule of this number, from 1, fails."""
    return _FAILED - number


def strength_of(outcome: Column) -> Column:
    """Strength by an outcome; null where no rule holds or one fails."""
    return F.when((outcome > _FAILED - 1) & (outcome < NO_RULE), outcome)


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
    named = (_names(rule.when) for rule in rules)
    return {
        number: tuple(column for column in there if column.lower() in names)
        for number, names in enumerate(named, start=1)
    }


def unknown_names(rules: Sequence[StrengthRule], columns: Collection[str]) -> list[tuple[int, str]]:
    """Names in rules that are no columns, with the number of each one's rule, from 1.

    Args:
        rules: of the preset's source.
        columns: all raw columns there are, in lower case.
    """
    written = (_written(rule.when) for rule in rules)
    return [
        (number, name)
        for number, names in enumerate(written, start=1)
        for name in names
        if name.lower() not in columns and name.lower() not in WITHOUT_BRACKETS
    ]


def check_rules(rules: Sequence[StrengthRule], rows: DataFrame) -> dict[str, Reading]:
    """How the rules see each raw column that they name; reads no row.

    Args:
        rules: of the preset's source.
        rows: raw columns of the source's own types; `_row` is ours.

    Returns:
        Readings by the column's name in lower case.

    Raises:
        PresetError: a rule isn't SQL, isn't a condition, names a column that isn't there, depends
            on anything but the row, or compares what can't be compared; all rules at once.
    """
    columns = [field for field in rows.schema.fields if field.name != ROW]
    schema = {field.name.lower(): field.dataType for field in columns}
    spelt = [field.name for field in columns]
    problems = {place: _problem_by_name(rule.when, spelt) for place, rule in enumerate(rules)}
    every = [
        use
        for place, rule in enumerate(rules)
        if problems[place] is None
        for use in uses(place + 1, parse(rule.when), schema)
    ]
    problems |= {use.rule - 1: use.problem for use in every if not use.ways}
    sound = [place for place, problem in problems.items() if problem is None]
    try:
        readings = settle([use for use in every if use.rule - 1 in sound], schema)
    except ValueError as error:
        raise PresetError(f"strength rules: {error}{_listed(rules, problems)}") from error
    conditions = frame_of(readings, readings, schema)
    problems |= {place: _foreign(rules[place].when, conditions) for place in sound}
    if any(problems.values()):
        raise PresetError(f"strength rules:{_listed(rules, problems)}")
    return readings


def _problem_by_name(when: str, columns: Sequence[str]) -> str | None:
    """What a rule's text alone speaks against it."""
    try:
        tree = parse(when)
    except ParseException as error:
        return f"not Spark SQL: {first_line(error)}"
    folded = [name.lower() for name in columns]
    foreign = foreign_name(tree, when, folded)
    absent = next((name for name in column_names(tree) if name.lower() not in folded), None)
    if foreign or absent is None:
        return foreign
    near = difflib.get_close_matches(absent, columns, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"no raw column {absent!r}{hint}; there are {', '.join(map(repr, columns))}"


def _foreign(when: str, rows: DataFrame) -> str | None:
    """What an analysed rule depends on besides the row."""
    filtered: Any = rows.where(F.expr(when))
    return foreign_node(filtered._jdf.queryExecution().analyzed())


def _listed(rules: Sequence[StrengthRule], problems: Mapping[int, str | None]) -> str:
    return "".join(
        f"\n  source.strength.{place} ({rules[place].when!r}): {problem}"
        for place, problem in sorted(problems.items())
        if problem
    )


def _first(cases: Iterable[tuple[Column, Column]], otherwise: Column) -> Column:
    return reduce(
        lambda rest, case: F.when(*case).otherwise(rest), reversed(list(cases)), otherwise
    )


def _written(condition: str) -> list[str]:
    try:
        return column_names(parse(condition))
    except ParseException:
        return []


def _names(condition: str) -> frozenset[str]:
    try:
        return names_in(parse(condition))
    except ParseException:
        return frozenset()
