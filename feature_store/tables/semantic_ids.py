"""semantic_ids: the tuple of codes of every item, one generation per trained tokenizer."""

from feature_store.contract import Column, Contract

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
    ),
)
