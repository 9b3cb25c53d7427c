"""item_embeddings: one vector per item and encoder."""

from feature_store.contract import Column, Contract
from feature_store.rules import Rule, RuleInputs
from feature_store.shared_rules import complete, equal_size, known_item, unit_norm

DIGEST_OF_ID = "id:"
"""How the digest begins of an item whose id is all that an encoder could read."""


def _rules(inputs: RuleInputs) -> tuple[Rule, ...]:
    return (
        unit_norm("embedding"),
        equal_size("embedding", "Every vector has the same width."),
        *known_item(inputs, with_index=True),
        *complete(inputs),
    )


ITEM_EMBEDDINGS = Contract(
    name="item_embeddings",
    grain="one item under one encoder",
    key=("encoder", "item_id"),
    partition="encoder",
    order=("item_index",),
    columns=(
        Column(name="encoder", type="string", meaning="encoder name and revision, name@revision"),
        Column(name="item_id", type="string", meaning="the source's own item id"),
        Column(name="item_index", type="int", minimum=0, meaning="as in items"),
        Column(
            name="content_digest",
            type="string",
            meaning="SHA-256 of what the encoder read; an unchanged item is not encoded again. "
            f"Begins with `{DIGEST_OF_ID}` where there was nothing to read but the item's id",
        ),
        Column(name="embedding", type="list<float>", meaning="unit-norm vector"),
    ),
    rules=_rules,
)
