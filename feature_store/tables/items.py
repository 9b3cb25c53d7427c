"""items: the catalogue, with the dense index that models use."""

from feature_store.contract import Column, Contract
from feature_store.rules import KNOWN_INDEX, KeyRule, RowRule, Rule, RuleInputs, TableRule


def _rules(inputs: RuleInputs) -> tuple[Rule, ...]:
    rules: list[Rule] = [
        TableRule(
            name="item_index_has_no_gaps",
            column="item_index",
            description="item_index counts from 0 to the number of items less one.",
            expression="coalesce(max(item_index) + 1, 0) - count(1)",
            minimum=0,
            maximum=0,
        ),
        KeyRule(
            name="item_index_is_unique",
            column="item_index",
            description="No two items have the same item_index.",
            columns=("item_index",),
        ),
        RowRule(
            name="first_day_is_past",
            column="first_day",
            description=f"No item that wasn't there before was first seen after {inputs.day}.",
            condition=_past_or_known(inputs, "first_day"),
        ),
        RowRule(
            name="withdrawn_after_it_was_listed",
            column="last_listed_day",
            description="An item is withdrawn by a catalogue after the first that listed it.",
            condition="coalesce(last_listed_day >= first_listed_day, last_listed_day IS NULL)",
        ),
    ]
    if inputs.num_items is not None:
        rules += [
            RowRule(
                name="item_index_is_kept",
                column="item_index",
                description="An item keeps the item_index it was published with.",
                condition=f"{KNOWN_INDEX} = item_index",
            ),
            TableRule(
                name="no_item_is_lost",
                column="item_id",
                description="Every item published before is still there.",
                expression=f"count({KNOWN_INDEX})",
                minimum=inputs.num_items,
            ),
        ]
    return tuple(rules)


def _past_or_known(inputs: RuleInputs, column: str) -> str:
    """A day that was filled in later finds items of the days after it."""
    past = f"{column} <= DATE'{inputs.day}'"
    return past if inputs.num_items is None else f"{KNOWN_INDEX} IS NOT NULL OR {past}"


ITEMS = Contract(
    name="items",
    grain="one catalogue item",
    key=("item_id",),
    order=("item_index",),
    columns=(
        Column(name="item_id", type="string", meaning="the source's own item id"),
        Column(
            name="item_index",
            type="int",
            minimum=0,
            meaning="dense from 0, append-only, never reused; new items of a day follow in "
            "item_id order",
        ),
        Column(name="first_day", type="date", meaning="the day whose run first saw the item"),
        Column(
            name="first_listed_day",
            type="date",
            nullable=True,
            meaning="the first day whose catalogue listed it; null: it is known from events alone",
        ),
        Column(
            name="last_listed_day",
            type="date",
            nullable=True,
            meaning="the last day whose catalogue listed a withdrawn item, which nobody is "
            "recommended after that day; null: it isn't withdrawn",
        ),
        Column(name="title", type="string", nullable=True, meaning="for people; null: no title"),
        Column(
            name="text",
            type="string",
            nullable=True,
            meaning="what the text encoder reads; null: the catalogue has no text",
        ),
        Column(
            name="attributes",
            type="map<string,string>",
            meaning="categorical attributes by name (author, music, tag, genre, …); "
            "several values are joined by '|'",
        ),
    ),
    rules=_rules,
)
