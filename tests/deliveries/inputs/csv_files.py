"""CSV by its rules: quotes, headers, columns by name, encodings, lines that can't be parsed."""

from tests.deliveries.inputs.reading import ITEMS, TWO, WITH_ITEMS, D, one, read
from tests.deliveries.presets import CATALOGUE, own
from tests.deliveries.written import PACK, csv, row, rows

HEAD = "user,item,ts,liked\n"
TIME = "2024-03-10 12:00:00"
UPPER = ("USER", "Item", "Ts", "LIKED")

TEXT = [
    read("a byte order mark", {f"{D}.csv": b"\xef\xbb\xbf" + TWO}),
    read(
        "a byte order mark before a quoted header",
        {
            f"{D}.csv": b'\xef\xbb\xbf"user",item,ts,liked\nu1,a,%b,1\nu2,a,%b,1\n'
            % ((TIME.encode(),) * 2)
        },
    ),
    read(
        "a byte order mark in each part",
        {f"{D}/{n}.csv": b"\xef\xbb\xbf" + csv(rows(n)) for n in ("u1", "u2")},
    ),
    read("lines that end as on Windows", {f"{D}.csv": csv(rows("u1", "u2"), newline="\r\n")}),
    read("no line break at the end", {f"{D}.csv": TWO.rstrip(b"\n")}),
    read("blank lines", {f"{D}.csv": b"\n" + TWO.replace(b"\n", b"\n\n \n\r\n")}),
    read(
        "every cell in quotes",
        {
            f"{D}.csv": csv(
                [[f'"{cell}"' for cell in r] for r in rows("u1", "u2")],
                header=('"user"', '"item"', '"ts"', '"liked"'),
            )
        },
    ),
    one(
        "quoted separators, quotes and line breaks",
        {
            f"{D}.csv": csv(
                [
                    ('"Doe, J."', '"the ""best"""', TIME, 1),
                    ('"u\n2"', '"a\nb"', TIME, 0),
                    ("u3", "c", TIME, 1),
                ]
            )
        },
        published=3,
        table=[("Doe, J.", 'the "best"', 2), ("u\n2", "a\nb", 0), ("u3", "c", 2)],
    ),
    one(
        "a quoted line break that looks like a row",
        {f"{D}.csv": f'{HEAD}u1,"x\nu9,y,{TIME},1\nz",{TIME},1\nu2,b,{TIME},1\n'.encode()},
        published=2,
        table=[("u1", f"x\nu9,y,{TIME},1\nz", 2), ("u2", "b", 2)],
    ),
    one(
        "quotes within a cell are part of it",
        {f"{D}.csv": f'{HEAD}u1,5" screen,{TIME},1\nu2,b,{TIME},1\n'.encode()},
        published=2,
        table=[("u1", '5" screen', 2), ("u2", "b", 2)],
    ),
    one(
        "other scripts and signs in ids",
        {f"{D}.csv": csv([row("用户"), row("🙂", "caffè")])},
        published=2,
        table=[("用户", "a", 2), ("🙂", "caffè", 2)],
    ),
    one(
        "a row that isn't UTF-8",
        {f"{D}.csv": TWO + b"u\xe9,a,%b,1\n" % TIME.encode()},
        published=2,
        quarantined=1,
        table=[("u1", "a", 2), ("u2", "a", 2)],
        reasons=["UTF-8"],
    ),
    one(
        "UTF-16",
        {f"{D}.csv": csv(rows("u1", "u2"), encoding="utf-16")},
        exit_code=3,
        says=["UTF-16", "2024-03-10.csv"],
    ),
    one(
        "UTF-16, packed, without a mark",
        {f"{D}.csv.gz": PACK["gz"](csv(rows("u1", "u2"), encoding="utf-16-le"))},
        exit_code=3,
        says=["UTF-16"],
    ),
]

HEADERS = [
    read("the header in other letters", {f"{D}.csv": csv(rows("u1", "u2"), header=UPPER)}),
    read(
        "the header in other letters and another order in each part",
        {
            f"{D}/p0.csv": csv(rows("u1"), header=UPPER),
            f"{D}/p1.csv": csv([(1, TIME, "a", "u2")], header=("liked", "ts", "item", "user")),
        },
    ),
    read(
        "headers repeated where files were joined",
        {
            f"{D}.csv": TWO[: TWO.index(b"u2")]
            + TWO[: len(HEAD)]
            + TWO[TWO.index(b"u2") :]
            + HEAD.encode()
        },
    ),
    read(
        "quoted headers repeated in an archive",
        {
            f"{D}.csv.gz": PACK["gz"](
                b'"user",item,ts,liked\nu1,a,%b,1\n"user",item,ts,liked\nu2,a,%b,1\n'
                % ((TIME.encode(),) * 2)
            )
        },
    ),
    read(
        "a separator in the header",
        {
            f"{D}.csv": csv(
                [(*r, "x") for r in rows("u1", "u2")],
                header=("user", '"item, sku"', "ts", "liked", '"a ""b"""'),
            )
        },
        own(columns={"item_id": "item, sku"}),
    ),
    read(
        "names with dots, blanks and a backtick",
        {f"{D}.csv": csv(rows("u1", "u2"), header=("user.id", "item name", "t`s", "liked"))},
        own(columns={"user_id": "user.id", "item_id": "item name"}, event_time={"column": "t`s"}),
    ),
    one(
        "two columns that differ in case, one of them needed",
        {
            f"{D}.csv": csv(
                [(*r, "x") for r in rows("u1")], header=("user", "item", "ts", "liked", "USER")
            )
        },
        exit_code=3,
        says=["user", "USER"],
    ),
    read(
        "two columns that differ in case, none of them needed",
        {
            f"{D}.csv": csv(
                [(*r, "x", "y") for r in rows("u1", "u2")],
                header=("user", "item", "ts", "liked", "note", "NOTE"),
            )
        },
    ),
    one(
        "a column twice",
        {
            f"{D}.csv": csv(
                [(*r, 0) for r in rows("u1")], header=("user", "item", "ts", "liked", "liked")
            )
        },
        exit_code=3,
        says=["liked"],
    ),
    one(
        "a renamed column",
        {f"{D}.csv": csv(rows("u1"), header=("user", "item_id", "ts", "liked"))},
        exit_code=3,
        says=["'item'", "item_id", "2024-03-10.csv"],
    ),
    one(
        "a part without a column that the mapping needs",
        {f"{D}/p0.csv": TWO, f"{D}/p1.csv": csv([("u3", TIME, 1)], header=("user", "ts", "liked"))},
        exit_code=3,
        says=["p1.csv", "'item'"],
    ),
    one(
        "a part without a column that a rule alone needs",
        {
            f"{D}/p0.csv": csv(
                [(*r, "web") for r in rows("u1")], header=("user", "item", "ts", "liked", "place")
            ),
            f"{D}/p1.csv": csv(rows("u2")),
        },
        own(strength={"liked = 1": 1, "place = 'web'": 2, "TRUE": 0}),
        exit_code=3,
        says=["p1.csv has no column 'place', which strength rule 2 needs"],
    ),
    read(
        "a part with a column more",
        {
            f"{D}/p0.csv": csv(rows("u1")),
            f"{D}/p1.csv": csv(
                [(*r, "x") for r in rows("u2")], header=("user", "item", "ts", "liked", "new")
            ),
        },
    ),
    one(
        "no header",
        {f"{D}.csv": csv(rows("u1", "u2"), header=None)},
        exit_code=3,
        says=["2024-03-10.csv", "'user'"],
    ),
]

SEPARATORS = [
    one(
        "semicolons, as the preset says",
        {f"{D}.csv": csv([("u1", "a,b", TIME, 1), ("u2", '"c;d"', TIME, 1)], separator=";")},
        own(separator=";"),
        separator=";",
        published=2,
        table=[("u1", "a,b", 2), ("u2", "c;d", 2)],
    ),
    one(
        "tabs, as the preset says",
        {f"{D}.csv": csv([("u1", "a", TIME, 1), ("u2", "b c", TIME, 1)], separator="\t")},
        own(separator="\t"),
        separator="\t",
        published=2,
        table=[("u1", "a", 2), ("u2", "b c", 2)],
    ),
    one(
        "semicolons that the preset doesn't say",
        {f"{D}.csv": csv(rows("u1"), separator=";")},
        exit_code=3,
        says=["source.separator", ";"],
    ),
    one(
        "tabs that the preset doesn't say",
        {f"{D}.csv": csv(rows("u1"), separator="\t")},
        exit_code=3,
        says=["source.separator", "\\t"],
    ),
]

LINES = [
    read(
        "too few and too many fields",
        {f"{D}.csv": TWO + f"u3,a,{TIME}\nu4,a,{TIME},1,more\nu5\n".encode()},
        quarantined=3,
        reasons=["fields"],
    ),
    one(
        "a quote that is never closed",
        {f"{D}.csv": csv([row("u1"), row("u2", '"b'), row("u3", "c"), row("u4", "d", liked=0)])},
        lines_are_rows=True,
        published=3,
        quarantined=1,
        table=[("u1", "a", 2), ("u3", "c", 2), ("u4", "d", 0)],
        reasons=["a quote that is not closed"],
    ),
    one(
        "a quote that is never closed, packed, in the last line",
        {f"{D}.csv.gz": PACK["gz"](f'{HEAD}u1,a,{TIME},1\n"u2,b,{TIME},1'.encode())},
        lines_are_rows=True,
        published=1,
        quarantined=1,
        table=[("u1", "a", 2)],
        reasons=["a quote that is not closed"],
    ),
    one(
        "a quote that is never closed in one part of two",
        {
            f"{D}/p0.csv": f'{HEAD}u1,"a,{TIME},1\nu2,b,{TIME},1\n'.encode(),
            f"{D}/p1.csv": csv([row("u3")]),
        },
        lines_are_rows=True,
        published=2,
        quarantined=1,
        table=[("u2", "b", 2), ("u3", "a", 2)],
        reasons=["a quote that is not closed"],
    ),
    read(
        "a line longer than any event",
        {f"{D}.csv": TWO + b"u3," + b"x" * 70_000 + f",{TIME},1\n".encode()},
        quarantined=1,
        reasons=["longer than"],
    ),
]

CATALOGUES = [
    one(
        "a catalogue with a quote that is never closed",
        {f"{D}.csv": TWO, "items.csv": b'id,name\na,"A\nb,B\nc,C\n'},
        own(catalogue=CATALOGUE),
        steps=WITH_ITEMS,
        exit_code=3,
        says=["items.csv line 2: a quote that is not closed"],
    ),
    one(
        "a catalogue with quoted line breaks and quotes, and a mark before its header",
        {f"{D}.csv": TWO, "items.csv": b'\xef\xbb\xbf"id",name\na,"A ""1""\nand, more"\n"b","B"\n'},
        own(catalogue=CATALOGUE),
        steps=WITH_ITEMS,
        published=2,
        look=lambda outcome: _titles(outcome, a='A "1"\nand, more', b="B"),
    ),
    read(
        "a catalogue's header in other letters",
        {f"{D}.csv": TWO, "items.csv": ITEMS.replace(b"id,name", b"ID,Name")},
        own(catalogue=CATALOGUE),
        steps=WITH_ITEMS,
    ),
    one(
        "a catalogue with a line of too few fields",
        {f"{D}.csv": TWO, "items.csv": ITEMS + b"c\n"},
        own(catalogue=CATALOGUE),
        steps=WITH_ITEMS,
        exit_code=3,
        says=["items.csv", "line 4"],
    ),
    read(
        "a catalogue with semicolons, as the preset says",
        {f"{D}.csv": csv(rows("u1", "u2"), separator=";"), "items.csv": ITEMS.replace(b",", b";")},
        own(catalogue=CATALOGUE | {"separator": ";"}, separator=";"),
        separator=";",
        steps=WITH_ITEMS,
    ),
]


def _titles(outcome, **expected):
    found = {row["item_id"]: row["title"] for row in outcome.store.read("items").to_pylist()}
    assert found == expected


INPUTS = [*TEXT, *HEADERS, *SEPARATORS, *LINES, *CATALOGUES]
