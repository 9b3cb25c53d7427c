"""What a redelivery means: corrected days, late events, one growing file, a catalogue that changes.

Each input is a home with several nights. Rows of one growing file are counted by its pieces: the
rows of each event day, and those whose time can't be read. A run takes the pieces up to its day
that earlier runs did not see as they are now.
"""

from datetime import date

from tests.deliveries.counted import events_by_day
from tests.deliveries.inputs.reading import TWO, TWO_OUT, WITH_ITEMS, D, csv, row, rows
from tests.deliveries.night import Input, Night
from tests.deliveries.presets import own
from tests.deliveries.written import HEADER, PACK, events, parquet

NINE, TEN, ELEVEN, TWELVE = (date(2024, 3, day) for day in (9, 10, 11, 12))
E = "events/2024-03-11"
MIXED = csv([*rows("u1", "u2"), row("u3", "b")])


def nights(name, *several, preset=None):
    """An input of several nights."""
    return Input(name=name, preset=preset or own(), nights=several)


FIRST = Night(files={f"{D}.csv": TWO}, published=2, table=TWO_OUT)


def again(content, **expected):
    """The tenth, delivered again."""
    return Night(files={f"{D}.csv": content}, **expected)


CORRECTED = [
    nights(
        "the same delivery again",
        FIRST,
        again(TWO, published=2, table=TWO_OUT, facts={"status": "unchanged", "withdrawn": 0}),
    ),
    nights(
        "a corrected signal",
        FIRST,
        again(
            csv([row("u1", liked=0), row("u2", minute=1)]),
            published=2,
            table=[("u1", "a", 0), ("u2", "a", 2)],
        ),
        again(TWO, published=2, table=TWO_OUT),
    ),
    nights(
        "all rows corrected to weaker ones",
        FIRST,
        again(csv(rows("u1", "u2", liked=0)), published=2, table=[("u1", "a", 0), ("u2", "a", 0)]),
    ),
    nights(
        "a corrected time",
        FIRST,
        again(
            csv([row("u1", minute=30), row("u2", minute=1)]),
            published=2,
            table=TWO_OUT,
            facts={"withdrawn": 1},
        ),
    ),
    nights(
        "a corrected item",
        FIRST,
        again(
            csv([row("u1", "b"), row("u2", minute=1)]),
            published=2,
            table=[("u1", "b", 2), ("u2", "a", 2)],
            facts={"withdrawn": 1},
        ),
    ),
    nights(
        "a redelivery that lacks rows",
        FIRST,
        again(csv([row("u1")]), published=1, table=[("u1", "a", 2)], facts={"withdrawn": 1}),
    ),
    nights(
        "a redelivery with rows more",
        FIRST,
        again(
            csv(rows("u1", "u2", "u3")),
            published=3,
            table=[*TWO_OUT, ("u3", "a", 2)],
            facts={"withdrawn": 0},
        ),
    ),
    nights(
        "a redelivery without rows, which the preset allows",
        FIRST,
        again(csv([]), table=[], facts={"withdrawn": 2}),
        preset=own(validation={"allow_empty_day": True}),
    ),
    nights(
        "a redelivery in another form",
        FIRST,
        Night(
            files={f"{D}.csv": None, f"{D}/p0.csv.gz": PACK["gz"](csv(rows("u3")))},
            published=1,
            table=[("u3", "a", 2)],
            facts={"withdrawn": 2},
        ),
    ),
    nights(
        "a redelivery without one of its parts",
        Night(
            files={
                f"{D}/p0.parquet": parquet(events("u1")),
                f"{D}/p1.parquet": parquet(events("u2")),
            },
            published=2,
        ),
        Night(
            files={f"{D}/p1.parquet": None},
            rows_in=1,
            published=1,
            table=[("u1", "a", 2)],
            facts={"withdrawn": 1},
        ),
        preset=own(format="parquet"),
    ),
    nights(
        "a refused redelivery leaves what was there",
        FIRST,
        again(csv([row("u1"), row("")]), exit_code=3, quarantined=1, says=["1 of 2 rows"]),
        preset=own(validation={"quarantine_share": 0.0}),
    ),
    nights(
        "refused rows that are mended leave the quarantine",
        again(csv([row("u1"), row("", minute=1)]), published=1, quarantined=1),
        again(TWO, published=2, table=TWO_OUT),
    ),
    nights(
        "copies within a delivery, twice",
        again(csv([*rows("u1", "u2"), row("u1")]), published=2, duplicates=1, table=TWO_OUT),
        again(csv([*rows("u1", "u2"), row("u1")]), published=2, duplicates=1, table=TWO_OUT),
        again(csv([row("u1"), row("u1"), row("u1")]), published=1, duplicates=2),
    ),
    nights(
        "an item that the catalogue lists later",
        Night(
            files={f"{D}.csv": MIXED, "items.csv": b"id,name\nb,B\n"},
            steps=WITH_ITEMS,
            published=1,
            quarantined=2,
            table=[("u3", "b", 2)],
        ),
        Night(
            files={f"{D}.csv": MIXED, "items.csv": b"id,name\nb,B\na,A\n"},
            steps=WITH_ITEMS,
            published=3,
            table=[*TWO_OUT, ("u3", "b", 2)],
        ),
        preset=own(catalogue={"path": "items.csv", "item_id": "id"}),
    ),
]

LATE = csv([*rows("u2", day="2024-03-11"), row("u3")])
OF_TWO_DAYS = [("u1", "a", 2), ("u2", "a", 2), ("u3", "a", 2)]

LATE_EVENTS = [
    nights(
        "a late event belongs to the delivery that brought it",
        again(csv(rows("u1")), published=1),
        Night(
            files={f"{E}.csv": LATE},
            day=ELEVEN,
            published=2,
            table=OF_TWO_DAYS,
            facts={"late_rows": 1},
        ),
        again(
            csv(rows("u1", liked=0)),
            published=1,
            table=[("u1", "a", 0), ("u2", "a", 2), ("u3", "a", 2)],
            facts={"withdrawn": 0},
        ),
        Night(
            files={f"{E}.csv": csv(rows("u2", day="2024-03-11"))},
            day=ELEVEN,
            published=1,
            table=[("u1", "a", 0), ("u2", "a", 2)],
            facts={"withdrawn": 1, "late_rows": 0},
        ),
    ),
    nights(
        "a row of two days' deliveries is one row",
        again(csv(rows("u1")), published=1),
        Night(
            files={f"{E}.csv": csv([row("u1"), *rows("u2", day="2024-03-11")])},
            day=ELEVEN,
            published=2,
            table=TWO_OUT,
            facts={"late_rows": 1},
        ),
        again(
            csv([row("u9")]),
            published=1,
            table=[*TWO_OUT, ("u9", "a", 2)],
            facts={"withdrawn": 0},
        ),
        Night(
            files={f"{E}.csv": csv(rows("u2", day="2024-03-11"))},
            day=ELEVEN,
            published=1,
            table=[("u2", "a", 2), ("u9", "a", 2)],
            facts={"withdrawn": 1},
        ),
    ),
    nights(
        "a row that moves to the next day's delivery",
        again(TWO, published=2),
        Night(
            files={
                f"{D}.csv": csv([row("u1")]),
                f"{E}.csv": csv([row("u2", minute=1), row("u3", day="2024-03-11")]),
            },
            day=ELEVEN,
            rows_in=2,
            published=2,
            table=OF_TWO_DAYS,
            facts={"late_rows": 1},
        ),
        Night(rows_in=1, published=1, table=OF_TWO_DAYS, facts={"withdrawn": 0}),
    ),
    nights(
        "the first run reads several days, of which one is delivered again",
        Night(
            files={
                "events/2024-03-09.csv": csv(rows("u1", "u9", day="2024-03-09")),
                f"{D}.csv": csv(rows("u2")),
            },
            published=3,
        ),
        Night(
            files={"events/2024-03-09.csv": csv(rows("u1", day="2024-03-09", liked=0))},
            day=NINE,
            published=1,
            table=[("u1", "a", 0), ("u2", "a", 2)],
            facts={"withdrawn": 1},
        ),
    ),
    nights(
        "days in another order",
        Night(files={f"{E}.csv": csv(rows("u2", day="2024-03-11"))}, day=ELEVEN, published=1),
        Night(files={f"{D}.csv": csv(rows("u1"))}, published=1, table=TWO_OUT),
    ),
]


def log(*records):
    """One growing file; a record is (user, day) or cells."""
    cells = [row(r[0], day=r[1].isoformat()) if len(r) == 2 else r for r in records]
    return csv(cells, header=HEADER)


def taken(content, day, before=None, until=None):
    """Rows of a growing file that a run takes.

    Args:
        content: the file.
        day: the run's.
        before: the file as the run before saw it.
        until: that run's day.
    """
    now = events_by_day(content.decode())
    then = events_by_day(before.decode()) if before else {}
    seen = {piece: found for piece, found in then.items() if piece <= until.isoformat()}
    return sum(
        len(found)
        for piece, found in now.items()
        if piece <= day.isoformat() and seen.get(piece) != found
    )


G1 = log(("u1", NINE), ("u2", TEN), ("u3", ELEVEN))
G2 = (
    G1
    + log(row("u4", minute=30), ("u5", "a", "soon", 1), ("", ELEVEN), ("u6", ELEVEN))[
        len(",".join(HEADER)) + 1 :
    ]
)
G3 = log(row("u4", minute=30), ("u3", ELEVEN), ("u6", ELEVEN), ("u7", TWELVE))


def grown(content, day, *expected, **more):
    """A run over the growing file."""
    return Night(
        files={"events/log.csv": content},
        day=day,
        table=[(user, "a", 2) for user in expected],
        **more,
    )


ONE_FILE = [
    nights(
        "one growing file: late rows, unreadable times and blank users after a day has run",
        grown(G1, TEN, "u1", "u2", rows_in=taken(G1, TEN), published=2),
        grown(
            G2,
            ELEVEN,
            *("u1", "u2", "u3", "u4", "u6"),
            rows_in=taken(G2, ELEVEN, G1, TEN),
            published=4,
            quarantined=2,
            reasons=["event_time is not a timestamp", "user_id is missing"],
        ),
        grown(
            G2,
            ELEVEN,
            *("u1", "u2", "u3", "u4", "u6"),
            rows_in=taken(G2, ELEVEN, G1, TEN),
            published=4,
            quarantined=2,
            facts={"withdrawn": 0, "status": "unchanged"},
        ),
        preset=own(path="events/log.csv"),
    ),
    nights(
        "one growing file whose window rolls on",
        grown(
            G2,
            ELEVEN,
            "u1",
            "u2",
            "u3",
            "u4",
            "u6",
            rows_in=taken(G2, ELEVEN),
            published=5,
            quarantined=2,
        ),
        grown(
            G3,
            TWELVE,
            *("u1", "u2", "u3", "u4", "u6", "u7"),
            rows_in=taken(G3, TWELVE, G2, ELEVEN),
            published=4,
            facts={"withdrawn": 0},
        ),
        preset=own(path="events/log.csv"),
    ),
    nights(
        "one growing file, read too early",
        grown(
            G1,
            NINE,
            "u1",
            rows_in=taken(G1, NINE),
            published=1,
            says=["2 rows of the log are of later days, up to 2024-03-11"],
        ),
        grown(G1, TEN, "u1", "u2", rows_in=taken(G1, TEN, G1, NINE), published=1),
        grown(G1, ELEVEN, "u1", "u2", "u3", rows_in=taken(G1, ELEVEN, G1, TEN), published=1),
        preset=own(path="events/log.csv"),
    ),
    nights(
        "one log without an event of the run's day, before its first and after its last",
        grown(
            G1,
            date(2024, 3, 8),
            exit_code=3,
            says=["no event of 2024-03-08 in", "its events are of 2024-03-09 to 2024-03-11"],
        ),
        grown(G1, ELEVEN, "u1", "u2", "u3", rows_in=3, published=3),
        grown(
            G1,
            TWELVE,
            exit_code=3,
            says=["no event of 2024-03-12 in", "its events are of 2024-03-09 to 2024-03-11"],
        ),
        preset=own(path="events/log.csv"),
    ),
    nights(
        "one file that is corrected",
        grown(G1, TEN, "u1", "u2", rows_in=taken(G1, TEN), published=2),
        grown(
            log(("u1", NINE), ("u8", TEN), ("u3", ELEVEN)),
            ELEVEN,
            *("u1", "u8", "u3"),
            rows_in=2,
            published=2,
            facts={"withdrawn": 1},
        ),
        preset=own(path="events/log.csv"),
    ),
    nights(
        "one log in parts, of which one grows and one comes late",
        Night(
            files={"events/p0.csv": G1, "events/p1.csv": log(("u2", TEN))},
            rows_in=3,
            published=2,
            duplicates=1,
            day=TEN,
            table=[("u1", "a", 2), ("u2", "a", 2)],
        ),
        Night(
            files={"events/p2.csv": log(("u9", NINE))},
            day=ELEVEN,
            rows_in=3,
            published=3,
            table=[("u1", "a", 2), ("u2", "a", 2), ("u3", "a", 2), ("u9", "a", 2)],
        ),
    ),
]


def listed(outcome, **expected):
    """(item_index, day of March 2024 on which it was last listed, None: it still is) by item."""
    rows_ = outcome.store.read("items").to_pylist()
    found = {row["item_id"]: (row["item_index"], row["last_listed_day"]) for row in rows_}
    wanted = {item: (index, day and date(2024, 3, day)) for item, (index, day) in expected.items()}
    assert found == wanted, found


def catalogue(day, *items, **last):
    """A night of one event whose catalogue lists these items."""
    text = "id,name\n" + "".join(f"{item},{item.upper()}\n" for item in items)
    return Night(
        files={
            f"events/{day}.csv": csv(rows("u1", day=day.isoformat())),
            f"items/{day}.csv": text.encode(),
        },
        day=day,
        steps=WITH_ITEMS,
        published=1,
        table=[("u1", "a", 2)] * (day.day - 9),
        look=lambda outcome: listed(outcome, **last),
    )


WITHDRAWN = [
    nights(
        "an item that the catalogue withdraws and lists again",
        catalogue(TEN, "a", "b", a=(0, None), b=(1, None)),
        catalogue(ELEVEN, "a", "c", a=(0, None), b=(1, 10), c=(2, None)),
        catalogue(TWELVE, "c", "a", "b", a=(0, None), b=(1, None), c=(2, None)),
        preset=own(catalogue={"path": "items/{day}.csv", "item_id": "id", "title": "name"}),
    ),
]

INPUTS = [*CORRECTED, *LATE_EVENTS, *ONE_FILE, *WITHDRAWN]
