"""What is read: names, suffixes, folders, two forms of one thing, broken files, the catalogue."""

import pyarrow as pa

from tests.deliveries.night import Input, Night
from tests.deliveries.presets import CATALOGUE, own
from tests.deliveries.written import PACK, csv, events, json_lines, parquet, row, rows

D = "events/2024-03-10"
TWO = csv(rows("u1", "u2"))
TWO_OUT = [("u1", "a", 2), ("u2", "a", 2)]
JSON_NAMES = ("json", "jsonl", "ndjson")
LINES = json_lines(rows("u1", "u2"))
WITH_ITEMS = ("build_items", "ingest_interactions")


def one(name, files, preset=None, **expected):
    """An input of one night."""
    return Input(
        name=name,
        preset=own() if preset is None else preset,
        nights=[Night(files=files, **expected)],
    )


def read(name, files, preset=None, **expected):
    """An input of one night, of which two rows of u1 and u2 are published."""
    return one(name, files, preset, published=2, table=TWO_OUT, **expected)


PACKED = [
    one(
        "CSV plain and packed in each way",
        {
            f"{D}/p0.csv": csv([row("u0")]),
            **{f"{D}/{kind}.csv.{kind}": pack(csv([row(kind)])) for kind, pack in PACK.items()},
        },
        published=4,
        table=[(user, "a", 2) for user in ("u0", *PACK)],
    ),
    one(
        "JSON lines under each name, plain and packed in each way",
        {
            **{f"{D}/{name}.{name}": json_lines([row(name)]) for name in JSON_NAMES},
            **{
                f"{D}/{name}-{kind}.{name}.{kind}": pack(json_lines([row(name + kind)]))
                for name in JSON_NAMES
                for kind, pack in PACK.items()
            },
        },
        own(format="json"),
        published=12,
        table=[(name + kind, "a", 2) for name in JSON_NAMES for kind in ("", *PACK)],
    ),
    read(
        "a file a day where the path ends in the day",
        {f"{D}.csv": TWO, "events/2024-03-09.csv.tmp": TWO},
        own(path="events/{day}"),
        left_out=["2024-03-09.csv.tmp"],
    ),
    read(
        "a folder a day where the path ends in the day",
        {f"{D}/p0.csv": TWO},
        own(path="events/{day}"),
    ),
    read("one packed CSV file a day", {f"{D}.csv.gz": PACK["gz"](TWO)}),
    read("one packed JSON file a day", {f"{D}.jsonl.bz2": PACK["bz2"](LINES)}, own(format="json")),
]

NAMES = [
    read("one CSV file a day", {f"{D}.csv": TWO}),
    read(
        "suffixes in capitals",
        {f"{D}/P0.CSV": csv(rows("u1")), f"{D}/P1.Csv.GZ": PACK["gz"](csv([row("u2")]))},
    ),
    read(
        "Parquet by its three suffixes",
        {
            f"{D}/a.parquet": parquet(events("u1")),
            f"{D}/b.parq": parquet(events()),
            f"{D}/c.PQ": parquet(events("u2")),
        },
        own(format="parquet"),
    ),
    one(
        "names with brackets, braces, stars, spaces, signs and other scripts",
        {
            f"{D}/{name}.csv": csv([row(f"u{place}")])
            for place, name in enumerate(
                ("p[0]", "p{a,b}", "p *", "p?1", "p#1", "p%20", "pä é", "日本", "a+b=c", "p'1")
            )
        },
        published=10,
        table=[(f"u{n}", "a", 2) for n in range(10)],
    ),
    read(
        "a folder of logs with brackets and a space",
        {"events [1] {x}/2024-03-10/p.csv": TWO},
        own(path="events [1] {x}"),
    ),
]

FOLDERS = [
    read(
        "sub-folders and partition folders",
        {
            f"{D}/hour=01/p.csv": csv(rows("u1")),
            f"{D}/eu/west/p.csv": csv(rows("u2")),
            f"{D}/eu/_SUCCESS": b"",
        },
        left_out=["_SUCCESS"],
    ),
    read("a folder day=…", {"events/day=2024-03-10/p.csv": TWO}),
    read(
        "a folder dt=… of Parquet",
        {"events/dt=2024-03-10/p.parquet": parquet(events("u1", "u2"))},
        own(format="parquet"),
    ),
    read(
        "the day in the middle of the path",
        {"events/2024-03-10/web/log.csv": TWO, "events/2024-03-10/app/log.csv": csv(rows("u9"))},
        own(path="events/{day}/web"),
        rows_in=2,
    ),
    read(
        "the first run reads the days before it, too",
        {
            "events/2024-03-09.csv": csv(rows("u1", day="2024-03-09")),
            f"{D}.csv.gz": PACK["gz"](csv(rows("u2"))),
        },
        facts={"bootstrap": True},
    ),
]

NEVER_DATA = (
    ".p.csv",
    "_p.csv",
    "._p.csv",
    "q.csv.tmp",
    "q.csv.temp",
    "q.csv.part",
    "q.csv.partial",
    ".p.csv.crc",
    "q.csv.inprogress",
    "q.csv.swp",
    "q.csv~",
    "q.csv._COPYING_",
    "Q.CSV.TMP",
)

LEFT_OUT = [
    read(
        "hidden and temporary files are no data",
        {
            f"{D}/p.csv": TWO,
            **{f"{D}/{name}": csv(rows("wrong")) for name in NEVER_DATA},
        },
        left_out=NEVER_DATA,
    ),
    read(
        "a temporary folder of Spark is no data",
        {
            f"{D}/p.parquet": parquet(events("u1", "u2")),
            f"{D}/_temporary/0/p.parquet": parquet(events("wrong")),
            f"{D}/.p.parquet.crc": b"crc",
            f"{D}/_SUCCESS": b"",
        },
        own(format="parquet"),
        left_out=["_temporary", ".p.parquet.crc", "_SUCCESS"],
    ),
    read(
        "a file of another kind is left out by name",
        {f"{D}/p.csv": TWO, f"{D}/README.txt": b"read me", f"{D}/p.json": LINES},
        left_out=["README.txt", "p.json"],
    ),
    read(
        "the temporary copy beside the day's file",
        {f"{D}.csv": TWO, f"{D}.csv.tmp": csv(rows("u1")), f"{D}.csv.gz.part": b"\x1f"},
        left_out=["2024-03-10.csv.tmp", "2024-03-10.csv.gz.part"],
    ),
    read(
        "dates that don't exist don't stop other days",
        {f"{D}.csv": TWO, "events/2024-02-30.csv": TWO, "events/day=2024-13-01/p.csv": TWO},
        left_out=["2024-02-30.csv", "day=2024-13-01"],
        rows_in=2,
    ),
    one(
        "a folder with files of another format only",
        {f"{D}/p.json": LINES, f"{D}/q.parquet": parquet(events("u1"))},
        exit_code=3,
        says=["p.json", "q.parquet", "source.format"],
    ),
]

EMPTY = [
    read(
        "an empty packed part beside a whole one",
        {f"{D}/p.csv.gz": PACK["gz"](TWO), f"{D}/q.csv.gz": b""},
        left_out=["q.csv.gz"],
    ),
    read(
        "an empty JSON part beside a whole one",
        {f"{D}/p.jsonl": LINES, f"{D}/q.jsonl": b""},
        own(format="json"),
        left_out=["q.jsonl"],
    ),
    one(
        "all files are empty",
        {f"{D}/p.csv": b"", f"{D}/q.csv": b""},
        exit_code=3,
        says=["no rows", "allow_empty_day"],
    ),
    one(
        "all files are empty, and the preset allows it",
        {f"{D}/p.csv": b"", f"{D}/q.csv": b""},
        own(validation={"allow_empty_day": True}),
        left_out=["p.csv", "q.csv"],
    ),
    one(
        "headers alone, and the preset allows it",
        {f"{D}/p.csv": csv([]), f"{D}/q.csv": csv([])},
        own(validation={"allow_empty_day": True}),
    ),
    one("headers alone", {f"{D}.csv": csv([])}, exit_code=3, says=["no rows", "allow_empty_day"]),
    one(
        "Parquet without rows, and the preset allows it",
        {f"{D}/p.parquet": parquet(events())},
        own(format="parquet", validation={"allow_empty_day": True}),
    ),
    one("a folder with a marker alone", {f"{D}/_SUCCESS": b""}, exit_code=1, says=["2024-03-10"]),
    one(
        "no delivery yet",
        {"events/2024-03-09.csv": TWO},
        exit_code=1,
        says=["2024-03-10", "2024-03-09"],
    ),
    one("no folder at all", {}, exit_code=1, says=["events"]),
]

TWO_FORMS = [
    one(
        "a day as a file and as a folder",
        {f"{D}.csv": TWO, f"{D}/p.csv": TWO},
        exit_code=3,
        says=["2024-03-10.csv", "2024-03-10"],
    ),
    one(
        "a day under two names",
        {f"{D}/p.csv": TWO, "events/day=2024-03-10/p.csv": TWO},
        exit_code=3,
        says=["day=2024-03-10"],
    ),
    one(
        "a part plain and packed",
        {f"{D}/p.csv": TWO, f"{D}/p.csv.gz": PACK["gz"](TWO)},
        exit_code=3,
        says=["p.csv", "p.csv.gz"],
    ),
    one(
        "a part packed in two ways, in a sub-folder",
        {f"{D}/h=1/p.jsonl.bz2": PACK["bz2"](LINES), f"{D}/h=1/p.jsonl.gz": PACK["gz"](LINES)},
        own(format="json"),
        exit_code=3,
        says=["p.jsonl.bz2", "p.jsonl.gz"],
    ),
    read(
        "parts of one name in two folders are two parts",
        {f"{D}/h=1/p.csv": csv(rows("u1")), f"{D}/h=2/p.csv": csv(rows("u2"))},
    ),
]

BROKEN = [
    one(
        "a file that is packed, by whose name it isn't",
        {f"{D}.csv": PACK["gz"](TWO)},
        exit_code=3,
        says=["2024-03-10.csv is packed with gzip", "end its name in .gz"],
    ),
    one(
        "an archive cut short",
        {f"{D}.csv.gz": PACK["gz"](csv(rows(*"abcdefghijklmnop")))[:60]},
        exit_code=1,
        says=["2024-03-10.csv.gz"],
    ),
    one("no archive at all", {f"{D}.csv.gz": TWO}, exit_code=1, says=["2024-03-10.csv.gz"]),
    one(
        "Parquet cut short",
        {f"{D}/p.parquet": parquet(events("u1", "u2"))[:-20]},
        own(format="parquet"),
        exit_code=1,
        says=["p.parquet"],
    ),
    one(
        "text under a name of Parquet",
        {f"{D}/p.parquet": parquet(events("u1")), f"{D}/q.parquet": TWO},
        own(format="parquet"),
        exit_code=3,
        says=["q.parquet"],
    ),
]

ITEMS = csv([("a", "First"), ("b", "Second")], header=("id", "name"))

CATALOGUES = [
    read(
        "a catalogue in one file",
        {f"{D}.csv": csv([*rows("u1", "u2"), row("u3", "z")]), "items.csv": ITEMS},
        own(catalogue=CATALOGUE),
        steps=WITH_ITEMS,
        quarantined=1,
        reasons=["item_id is not in the catalogue"],
    ),
    read(
        "a catalogue a day",
        {
            f"{D}.csv": TWO,
            "items/2024-03-10.csv": ITEMS,
            "items/2024-03-11.csv": csv([], header=("id", "name")),
        },
        own(catalogue=CATALOGUE | {"path": "items/{day}.csv"}),
        steps=WITH_ITEMS,
    ),
    read(
        "a catalogue a day, of which the newest is yesterday's",
        {
            f"{D}.csv": TWO,
            "items/2024-03-08.csv": csv([], header=("id", "name")),
            "items/2024-03-09.csv": ITEMS,
        },
        own(catalogue=CATALOGUE | {"path": "items/{day}.csv"}),
        steps=WITH_ITEMS,
    ),
    one(
        "a catalogue that isn't there",
        {f"{D}.csv": TWO},
        own(catalogue=CATALOGUE),
        steps=WITH_ITEMS,
        exit_code=1,
        says=["items.csv"],
    ),
    one(
        "a catalogue a day, none of which is there yet",
        {f"{D}.csv": TWO, "items/2024-03-11.csv": ITEMS},
        own(catalogue=CATALOGUE | {"path": "items/{day}.csv"}),
        steps=WITH_ITEMS,
        exit_code=1,
        says=["2024-03-10"],
    ),
    read(
        "a catalogue of packed parts in a folder, with a file that is none",
        {
            f"{D}.csv": csv([row("u1"), row("u2", "a")]),
            "items/p0.csv.gz": PACK["gz"](csv([("b", "B")], header=("id", "name"))),
            "items/p1.csv.gz": PACK["gz"](csv([("A", "a")], header=("NAME", "ID"))),
            "items/p1.csv.gz.tmp": b"",
        },
        own(catalogue=CATALOGUE | {"path": "items"}),
        steps=WITH_ITEMS,
    ),
    one(
        "a catalogue without a column that the preset names",
        {f"{D}.csv": TWO, "items.csv": csv([("a", "A")], header=("id", "titel"))},
        own(catalogue=CATALOGUE),
        steps=WITH_ITEMS,
        exit_code=3,
        says=["items.csv", "name"],
    ),
    one(
        "a catalogue in Parquet with ids as floats",
        {
            f"{D}.csv": csv([row("u1", "42"), row("u2", "7")]),
            "items.parquet": parquet(pa.table({"id": [42.0, 7.0], "name": ["Answer", "Luck"]})),
        },
        own(catalogue=CATALOGUE | {"path": "items.parquet", "format": "parquet"}),
        steps=WITH_ITEMS,
        published=2,
        table=[("u1", "42", 2), ("u2", "7", 2)],
    ),
    read("no catalogue: what is delivered is the catalogue", {f"{D}.csv": TWO}, steps=WITH_ITEMS),
]

INPUTS = [
    *PACKED,
    *NAMES,
    *FOLDERS,
    *LEFT_OUT,
    *EMPTY,
    *TWO_FORMS,
    *BROKEN,
    *CATALOGUES,
]
