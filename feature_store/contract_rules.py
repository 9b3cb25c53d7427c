"""The rules that a contract says by itself: presence, ranges, sets, the key, the schema."""

from collections.abc import Iterator, Mapping

from feature_store.contract import Column, Contract
from feature_store.rules import KeyRule, RowRule, Rule

_FLOATS = ("float", "double")


def column_differences(expected: Mapping[str, str], actual: Mapping[str, str]) -> list[str]:
    """How actual columns differ from the expected: missing, unknown, of another type, order.

    Args:
        expected: type by name, as contracts spell types.
        actual: the same of what is staged.
    """
    problems = [f"{name} is missing" for name in expected if name not in actual]
    problems += [f"{name} is not in the contract" for name in actual if name not in expected]
    problems += [
        f"{name} is {actual[name]}, expected {kind}"
        for name, kind in expected.items()
        if name in actual and actual[name] != kind
    ]
    if not problems and list(actual) != list(expected):
        problems.append(f"columns are in the order {', '.join(actual)}")
    return problems


def contract_rules(contract: Contract) -> tuple[Rule, ...]:
    """The rules that the contract itself says: presence, ranges, sets and the key."""
    rules: list[Rule] = [rule for c in contract.columns for rule in _column_rules(c)]
    rules += [
        RowRule(
            name=f"{column.name}_is_not_empty",
            column=column.name,
            description=f"{column.name} is never the empty text: it is part of the key.",
            condition=f"{column.name} <> ''",
        )
        for column in map(contract.column, contract.key)
        if column.type == "string" and not column.nullable
    ]
    key = KeyRule(
        name="key_is_unique",
        description=f"No two rows have the same {', '.join(contract.key)}: a row is "
        f"{contract.grain}.",
        columns=contract.key,
    )
    return (*rules, key)


def _column_rules(column: Column) -> Iterator[RowRule]:
    """Rules of one column; where there is a closed set, its range is implied by it."""
    name = column.name
    if not column.nullable:
        yield _rule(column, "is_present", f"{name} is never null.", f"{name} IS NOT NULL")
    if _holds_many(column):
        inside = _no_null_inside(column)
        if column.nullable:  # a list that isn't there has no element
            inside = f"{name} IS NULL OR {inside}"
        yield _rule(column, "has_no_null_inside", f"No element of {name} is null.", inside)
    if column.scalar in _FLOATS:
        low, high = _lowest_highest(column)
        # NaN is the largest value there is, to Spark and to DuckDB, so it isn't below infinity.
        below = f"{high} < CAST('infinity' AS double)"
        if column.may_be_nan:
            below = _no_infinity(column)
        words = f"{name} is never {'' if column.may_be_nan else 'NaN or '}infinite."
        yield _rule(column, "is_finite", words, f"{low} > -CAST('infinity' AS double) AND {below}")
    if column.allowed is not None:
        shown = ", ".join(str(value) for value in column.allowed)
        yield _rule(column, "is_allowed", f"{name} is one of {shown}.", _among(column))
    elif column.minimum is not None or column.maximum is not None:
        yield _range_rule(column)


def _range_rule(column: Column) -> RowRule:
    """The lowest and highest element decide for a list or map; an empty one keeps every range."""
    low, high = _lowest_highest(column)
    words, conditions = [], []
    if column.minimum is not None:
        words.append(f"at least {column.minimum:g}")
        conditions.append(f"{low} >= {column.minimum!r}")
    if column.maximum is not None:
        words.append(f"at most {column.maximum:g}")
        conditions.append(f"{high} <= {column.maximum!r}")
    subject = f"Every element of {column.name}" if _holds_many(column) else column.name
    description = f"{subject} is {' and '.join(words)}."
    return _rule(column, "is_in_range", description, " AND ".join(conditions))


def _rule(column: Column, ending: str, description: str, condition: str) -> RowRule:
    return RowRule(
        name=f"{column.name}_{ending}",
        column=column.name,
        description=description,
        condition=condition,
    )


def _holds_many(column: Column) -> bool:
    return column.is_list or column.is_map


def _elements(column: Column) -> str:
    return f"map_values({column.name})" if column.is_map else column.name


def _lowest_highest(column: Column) -> tuple[str, str]:
    """SQL of the lowest and highest value that a row holds."""
    if _holds_many(column):
        return f"array_min({_elements(column)})", f"array_max({_elements(column)})"
    return column.name, column.name


def _no_infinity(column: Column) -> str:
    infinity = f"CAST('infinity' AS {column.scalar})"
    if _holds_many(column):
        return f"NOT array_contains({_elements(column)}, {infinity})"
    return f"{column.name} <> {infinity}"


def _no_null_inside(column: Column) -> str:
    """No element is null, without a lambda where one can be spared (it costs about 0.2 µs each).

    `array_contains` is null where the value isn't found but a null is. The value searched for is
    one that another rule of the column refuses, so that finding it hides nothing. Where there is
    no such value, a sort brings the nulls to the front; lists in order sort in linear time. Of text
    that is done only where a character is found that text hardly ever is.
    """
    elements = _elements(column)
    if column.scalar in _FLOATS:
        refused = "-infinity" if column.may_be_nan else "NaN"
        return f"array_contains({elements}, CAST('{refused}' AS {column.scalar})) IS NOT NULL"
    if column.scalar in ("int", "long") and column.minimum is not None:
        return f"array_contains({elements}, {column.minimum - 1!r}) IS NOT NULL"
    by_sort = f"size({elements}) = 0 OR try_element_at(sort_array({elements}), 1) IS NOT NULL"
    if column.scalar != "string":
        return by_sort
    contained = f"array_contains({elements}, chr(0))"
    return f"CASE WHEN {contained} THEN {by_sort} ELSE {contained} IS NOT NULL END"


def _among(column: Column) -> str:
    members = ", ".join(_literal(value) for value in column.allowed or ())
    return f"{column.name} IN ({members})"


def _literal(value: str | int) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)
