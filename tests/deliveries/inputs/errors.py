"""What an error is: presets and usage that are wrong, and data as a whole."""

from tests.deliveries.inputs.reading import TWO, WITH_ITEMS, D, one
from tests.deliveries.night import Input, Night
from tests.deliveries.presets import own
from tests.deliveries.written import csv, row, rows

FILES = {f"{D}.csv": TWO}


def wrong(name, preset, *says, **more):
    """A preset that is refused before anything is read."""
    return one(name, FILES, preset, exit_code=2, says=says, **more)


def changed(where, key, value):
    """The usual preset with one key more."""
    preset = own()
    target = preset
    for part in where.split(".") if where else ():
        target = target.setdefault(part, {})
    target[key] = value
    return preset


def without(section, key):
    """The usual preset without a key."""
    preset = own()
    del preset[section][key]
    return preset


PRESETS = [
    wrong("a misspelt section", changed("", "sequences_", {}), "sequences_", "sequences"),
    wrong("a misspelt key", changed("source", "fromat", "csv"), "source.fromat", "format"),
    wrong(
        "a misspelt key, deep",
        changed("source.columns", "itemid", "x"),
        "source.columns.itemid",
        "item_id",
    ),
    wrong(
        "a list for a mapping",
        changed("source.columns", "event_time", ["ts"]),
        "source.columns.event_time",
    ),
    wrong(
        "text for a number",
        changed("validation", "trailing_days", "many"),
        "validation.trailing_days",
        "many",
    ),
    wrong(
        "a share above one",
        changed("validation", "quarantine_share", 1.5),
        "validation.quarantine_share",
        "1.5",
    ),
    wrong("a strength that isn't one", own(strength={"TRUE": 9}), "source.strength", "9"),
    wrong(
        "a format that isn't one", changed("source", "format", "xlsx"), "source.format", "parquet"
    ),
    wrong("no source", without("source", "layout"), "source"),
    wrong(
        "no item column",
        {
            **own(),
            "source": {
                **own()["source"],
                "columns": {"user_id": "u", "event_time": {"column": "t"}},
            },
        },
        "source.columns.item_id",
    ),
    wrong(
        "a date that isn't one",
        changed("validation", "earliest_event", "1990-02-30"),
        "validation.earliest_event",
        "1990-02-30",
    ),
    wrong("a name that a namespace can't have", own(name="Shop: 2024"), "Shop: 2024"),
    wrong("no YAML", "name: [own\nsource: {", "own.yaml"),
    wrong("a list as a preset", "- name: own\n", "own.yaml", "mapping"),
    wrong("an empty preset", "", "own.yaml"),
    wrong(
        "all that is wrong, at once",
        changed("source", "fromat", 1) | {"items": {"unknown_items": "drop"}},
        "source.fromat",
        "items.unknown_items",
    ),
    wrong(
        "an override without a value",
        own(),
        "validation.quarantine_share",
        overrides=["validation.quarantine_share"],
    ),
    wrong(
        "an override of a key that isn't there",
        own(),
        "validation.quarantine_shar",
        "quarantine_share",
        overrides=["validation.quarantine_shar=0.1"],
    ),
    wrong(
        "an override of a family's key that isn't there",
        own(),
        "training.overrides.tiger.max_epoch",
        "max_epochs",
        overrides=["training.overrides.tiger.max_epoch=5"],
    ),
]

DATA = [
    one(
        "too many rows refused",
        {f"{D}.csv": csv([*rows("u1", "u2"), row(""), row("", "b")])},
        own(validation={"quarantine_share": 0.05}),
        exit_code=3,
        quarantined=2,
        says=["2 of 4 rows", "validation.quarantine_share", "user_id is missing"],
    ),
    one(
        "all rows refused by the catalogue",
        {f"{D}.csv": TWO, "items.csv": csv([("z", "Z")], header=("id", "name"))},
        own(catalogue={"path": "items.csv", "item_id": "id"}, validation={"quarantine_share": 0.5}),
        steps=WITH_ITEMS,
        exit_code=3,
        quarantined=2,
        says=["2 of 2 rows", "item_id is not in the catalogue"],
    ),
    one(
        "events before the catalogue was taken in",
        {f"{D}.csv": TWO, "items.csv": csv([("a", "A")], header=("id", "name"))},
        own(catalogue={"path": "items.csv", "item_id": "id"}),
        exit_code=3,
        says=["items holds nothing yet", "sidereal step build_items ingest_interactions"],
    ),
    one(
        "a catalogue of JSON lines that is read as CSV",
        {f"{D}.csv": TWO, "items.jsonl": b'{"id": "a"}\n'},
        own(catalogue={"path": "items.jsonl", "item_id": "id"}),
        steps=WITH_ITEMS,
        exit_code=3,
        says=["items.jsonl is json by its name", "source.catalogue.format", "set it to"],
    ),
    one(
        "a catalogue whose name is misspelt",
        {f"{D}.csv": TWO, "items.csv": csv([("a", "A")], header=("id", "name"))},
        own(catalogue={"path": "itms.csv", "item_id": "id"}),
        steps=WITH_ITEMS,
        exit_code=1,
        says=["source.catalogue.path: nothing at", "items.csv?)", "correct the preset"],
    ),
    one(
        "another separator than the preset's",
        {f"{D}.csv": TWO},
        own(separator=";"),
        exit_code=3,
        says=["has one column by the separator ';', and more by ','", "source.separator"],
    ),
    Input(
        name="a refused day is mended and run again",
        preset=own(validation={"quarantine_share": 0.0}),
        nights=[
            Night(files={f"{D}.csv": csv([row(""), row("u1")])}, exit_code=3, quarantined=1),
            Night(files=FILES, published=2, table=[("u1", "a", 2), ("u2", "a", 2)]),
        ],
    ),
]

INPUTS = [*PRESETS, *DATA]
