"""interactions: every accepted feedback event or exposure, in the day it happened."""

from feature_store.contract import Column, Contract

INTERACTIONS = Contract(
    name="interactions",
    grain="one feedback event or exposure of one item to one user",
    key=("user_id", "item_id", "event_time", "request_id", "position"),
    partition="day",
    order=("user_id", "event_time", "item_id"),
    producer="ingest_interactions",
    consumers=("build_user_sequences", "build_slates", "write_report"),
    columns=(
        Column(name="day", type="date", meaning="UTC date of event_time"),
        Column(name="user_id", type="string", meaning="the source's own user id"),
        Column(name="item_id", type="string", meaning="the source's own item id"),
        Column(name="event_time", type="timestamp", meaning="when it happened, UTC"),
        Column(
            name="request_id",
            type="string",
            nullable=True,
            meaning="the request that showed the item, where the source logs requests",
        ),
        Column(
            name="position",
            type="int",
            nullable=True,
            minimum=0,
            meaning="0-based place of the item in what was shown, where logged",
        ),
        Column(
            name="signals",
            type="map<string,string>",
            meaning="the source's raw signals by name, as they came (rating, action, …): text as "
            "it is, numbers in their shortest text, true and false",
        ),
        Column(
            name="strength",
            type="int",
            minimum=-1,
            maximum=3,
            allowed=(-1, 0, 1, 2, 3),
            meaning="-1 disliked, 0 exposed only, 1 clicked, 2 consumed, 3 strongest; "
            "mapped from signals by the preset's rule",
        ),
        Column(
            name="dwell_seconds",
            type="float",
            nullable=True,
            minimum=0,
            meaning="time spent on the item, where the source measures it",
        ),
        Column(name="source_file", type="string", meaning="the raw file the row came from"),
        Column(
            name="delivery_day",
            type="date",
            nullable=True,
            meaning="the day whose delivery says so, of several the last; null: a log of all days",
        ),
        Column(
            name="also_delivered",
            type="map<string,string>",
            meaning="what other days' deliveries say of the event (`log`: a log of all days), as "
            "JSON: it stands once the later delivery no longer holds the event",
        ),
    ),
)
