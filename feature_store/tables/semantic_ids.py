"""semantic_ids: the tuple of codes of every item, one generation per trained tokenizer."""

from feature_store.contract import Column, Contract
from feature_store.rules import KeyRule, RowRule, Rule, RuleInputs
from feature_store.shared_rules import complete, equal_size, known_item


def _rules(inputs: RuleInputs) -> tuple[Rule, ...]:
    newest = max(inputs.day, inputs.kept_until or inputs.day)
    unique = KeyRule(
        name="codes_are_unique",
        column="codes",
        description="No two items of a generation have the same codes.",
        columns=("generation", "codes"),
    )
    return (
        equal_size("codes", "Every item has the same number of codes."),
        equal_size("vector", "Every vector has the same width."),
        RowRule(
            name="quantized_levels_are_codes",
            column="num_quantized_levels",
            description="There are at least as many codes as levels that the quantizer made.",
            condition="num_quantized_levels <= size(codes)",
        ),
        RowRule(
            name="assigned_day_is_past",
            column="assigned_day",
            description=f"No item got its codes after {newest}.",
            condition=f"assigned_day <= DATE'{newest}'",
        ),
        *((unique,) if inputs.codes_are_unique else ()),
        *known_item(inputs, with_index=True),
        *complete(inputs),
    )


SEMANTIC_IDS = Contract(
    name="semantic_ids",
    grain="one item under one generation",
    key=("generation", "item_id"),
    partition="generation",
    order=("item_index",),
    columns=(
        Column(
            name="generation",
            type="string",
            meaning="the trained tokenizer: <first day>-<first 12 hex digits of its digest>",
        ),
        Column(name="item_id", type="string", meaning="the source's own item id"),
        Column(name="item_index", type="int", minimum=0, meaning="as in items"),
        Column(
            name="codes",
            type="list<int>",
            minimum=0,
            meaning="codes per level as served, after collisions are resolved; a resolving level "
            "is the last one",
        ),
        Column(
            name="num_quantized_levels",
            type="int",
            minimum=1,
            meaning="how many leading codes come from the quantizer itself",
        ),
        Column(name="assigned_day", type="date", meaning="the day whose run gave the item codes"),
        Column(
            name="vector",
            type="list<float>",
            nullable=True,
            meaning="what the tokenizer read of the item that day, zeros where there was nothing; "
            "null: published before vectors were kept",
        ),
    ),
    rules=_rules,
)
