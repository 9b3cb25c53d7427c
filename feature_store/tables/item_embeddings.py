"""item_embeddings: one vector per item and encoder."""

from feature_store.contract import Column, Contract

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
            meaning="SHA-256 of what the encoder read; an unchanged item is not encoded again",
        ),
        Column(name="embedding", type="list<float>", meaning="unit-norm vector"),
    ),
)
