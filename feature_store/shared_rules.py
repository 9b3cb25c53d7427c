"""Rules that several tables have: the run's day, known items, lists that belong together."""

from collections.abc import Sequence

from feature_store.rules import KNOWN_INDEX, RowRule, Rule, RuleInputs, TableRule, double

UNIT_NORM_TOLERANCE = 1e-3


def known_item(inputs: RuleInputs, *, with_index: bool = False) -> tuple[Rule, ...]:
    """Each item_id is in the catalogue, and has the catalogue's index; needs a catalogue."""
    if inputs.num_items is None:
        return ()
    known = RowRule(
        name="item_is_known",
        column="item_id",
        description="Every item is in the catalogue.",
        condition=f"{KNOWN_INDEX} IS NOT NULL",
    )
    index = RowRule(
        name="item_index_is_the_catalogues",
        column="item_index",
        description="item_index is the one that the catalogue gives the item.",
        condition=f"{KNOWN_INDEX} = item_index",
    )
    return (known, index) if with_index else (known,)


def complete(inputs: RuleInputs) -> tuple[Rule, ...]:
    """The table has a row for every item of the catalogue; needs a catalogue."""
    if inputs.num_items is None:
        return ()
    rule = TableRule(
        name="every_item_is_there",
        column="item_id",
        description=f"All {inputs.num_items:,} items of the catalogue have a row.",
        expression="count(1)",
        minimum=inputs.num_items,
    )
    return (rule,)


def known_indices(inputs: RuleInputs, *columns: str) -> tuple[Rule, ...]:
    """Each item_index in list columns is in the catalogue, which is dense; needs a catalogue."""
    columns = columns or ("item_indices",)
    return _known(inputs, columns[0], [f"array_max({each})" for each in columns])


def known_index(inputs: RuleInputs, *columns: str) -> tuple[Rule, ...]:
    """The same of columns with one index a row."""
    return _known(inputs, columns[0], columns)


def _known(inputs: RuleInputs, column: str, largest: Sequence[str]) -> tuple[Rule, ...]:
    if inputs.num_items is None:
        return ()
    rule = RowRule(
        name="items_are_known",
        column=column,
        description=f"Every item_index is below {inputs.num_items:,}, the size of the catalogue.",
        condition=" AND ".join(f"{each} < {inputs.num_items}" for each in largest),
    )
    return (rule,)


def unit_norm(column: str) -> Rule:
    """Every vector of a list column has length 1."""
    return RowRule(
        name=f"{column}_has_unit_norm",
        column=column,
        description=f"Every vector has length 1, within {UNIT_NORM_TOLERANCE:g}.",
        condition=f"abs(vector_norm({column}) - 1) <= {double(UNIT_NORM_TOLERANCE)}",
    )


def of_the_day(inputs: RuleInputs) -> Rule:
    """A table whose partition is the run's day holds that day alone."""
    return RowRule(
        name="day_is_the_runs",
        column="day",
        description=f"Every row is of {inputs.day}.",
        condition=f"day = DATE'{inputs.day}'",
    )


def not_after_the_day(inputs: RuleInputs) -> Rule:
    """A table whose run may also build days before it holds none after it."""
    return RowRule(
        name="day_is_past",
        column="day",
        description=f"No row is of a day after {inputs.day}.",
        condition=f"day <= DATE'{inputs.day}'",
    )


def no_item_twice(column: str) -> Rule:
    """A list of items has each of them once."""
    return RowRule(
        name=f"{column}_are_distinct" if column.endswith("s") else f"{column}_is_distinct",
        column=column,
        description=f"No item is in {column} twice.",
        condition=f"size(array_distinct({column})) = size({column})",
    )


def lists_have_equal_length(first: str, *others: str, may_be_empty: bool = False) -> Rule:
    """Lists whose elements belong together have the same length; none is empty, or all may be."""
    conditions = [f"size({first}) = size({other})" for other in others]
    if not may_be_empty:
        conditions.insert(0, f"size({first}) > 0")
    return RowRule(
        name="lists_are_aligned",
        column=first,
        description=f"{', '.join((first, *others))} have the same length"
        f"{'' if may_be_empty else ', which is not 0'}.",
        condition=" AND ".join(conditions),
    )


def equal_size(column: str, description: str) -> Rule:
    """A list column has as many elements in every row."""
    return TableRule(
        name=f"{column}_have_equal_size" if column.endswith("s") else f"{column}_has_one_width",
        column=column,
        description=description,
        expression=f"coalesce(max(size({column})) - min(size({column})), 0)",
        minimum=0,
        maximum=0,
    )
