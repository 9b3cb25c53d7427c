"""items: the catalogue, with the dense index that models use."""

from feature_store.contract import Column, Contract

ITEMS = Contract(
    name="items",
    grain="one catalogue item",
    key=("item_id",),
    order=("item_index",),
    producer="build_items",
    consumers=(
        "embed_items",
        "build_user_sequences",
        "build_slates",
        "build_preference_pairs",
        "train_tokenizer",
        "train_recommender",
        "write_report",
    ),
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
)
