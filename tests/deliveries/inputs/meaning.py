"""What a row means: ids, times, signals, late and early events."""

from datetime import date, datetime

from tests.deliveries.inputs.reading import TWO, D, one, read
from tests.deliveries.presets import own
from tests.deliveries.written import csv, json_lines, row, rows

TIME = "2024-03-10 12:00:00"


def at(*moments, preset=None, expected=(), reasons=(), name):
    """An input whose rows have these times; those expected are published, the others refused."""
    lines = csv([(f"u{place}", "a", moment, 1) for place, moment in enumerate(moments)])
    return one(
        name,
        {f"{D}.csv": lines},
        preset,
        published=len(expected),
        quarantined=len(moments) - len(expected),
        reasons=reasons,
        look=lambda outcome: _times(outcome, *expected),
    )


def _times(outcome, *expected):
    found = sorted(row["event_time"].replace(tzinfo=None) for row in outcome.table)
    assert found == sorted(expected)


IDS = [
    one(
        "what surrounds an id is no part of it",
        {
            f"{D}.csv": csv(
                [
                    row(" u1\t"),
                    row("\xa0u2\u202f"),
                    row("\u200bu3\u200b"),
                    row("\ufeffu4"),
                    row("u 5"),
                    row('"\nu6\n"'),
                    row("u7", "\u3000a\u2009"),
                ]
            )
        },
        published=7,
        table=[(user, "a", 2) for user in ("u1", "u2", "u3", "u4", "u 5", "u6", "u7")],
    ),
    read(
        "an id that isn't there, in each way",
        {
            f"{D}.csv": TWO
            + csv(
                [
                    row(user)
                    for user in (
                        "",
                        " ",
                        "\t",
                        "\xa0",
                        "\u200b",
                        "nan",
                        "NaN",
                        "null",
                        "NULL",
                        "None",
                        "\\N",
                        "<NA>",
                        "<na>",
                        " nan ",
                    )
                ],
                header=None,
            )
            + csv([row("u3", "")], header=None)
        },
        quarantined=15,
        reasons=["user_id is missing", "item_id is missing"],
    ),
    one(
        "ids that only look as if they weren't there",
        {f"{D}.csv": csv([row(u) for u in ("na", "N/A", "-", "0", "nil", "nano", "undefined")])},
        published=7,
    ),
    one(
        "one id, composed and decomposed",
        {
            f"{D}.csv": csv([row("caf\u00e9"), row("cafe\u0301"), row("u2", "e\u0301", 1)]),
            "items.csv": csv([("a", "A"), ("\u00e9", "E")], header=("id", "name")),
        },
        own(catalogue={"path": "items.csv", "item_id": "id", "title": "name"}),
        steps=("build_items", "ingest_interactions"),
        published=2,
        duplicates=1,
        table=[("caf\u00e9", "a", 2), ("u2", "\u00e9", 2)],
    ),
    one(
        "text that looks like a number stays as it is",
        {f"{D}.csv": csv([row(u) for u in ("42.0", "042", "4e2", "42", "-0")])},
        published=5,
        table=[(u, "a", 2) for u in ("42.0", "042", "4e2", "42", "-0")],
    ),
    one(
        "letters of an id have their case",
        {f"{D}.csv": csv(rows("u1") + rows("U1"))},
        published=2,
        table=[("u1", "a", 2), ("U1", "a", 2)],
    ),
]

TIMES = [
    at(
        TIME,
        "2024-03-10T12:00:01Z",
        "2024-03-10T13:00:02+01:00",
        "2024-03-10 12:00:03.123456789",
        "2024-03-10",
        "2024-03-10 12:00",
        " 2024-03-10 12:00:05 ",
        name="times as ISO writes them",
        expected=[
            datetime(2024, 3, 10, 12),
            datetime(2024, 3, 10, 12, 0, 1),
            datetime(2024, 3, 10, 12, 0, 2),
            datetime(2024, 3, 10, 12, 0, 3, 123456),
            datetime(2024, 3, 10),
            datetime(2024, 3, 10, 12),
            datetime(2024, 3, 10, 12, 0, 5),
        ],
    ),
    at(
        TIME,
        "12:30",
        "12:30:00",
        "T12:30",
        "2024",
        "2024-03",
        "10:00Z",
        name="times without a date",
        expected=[datetime(2024, 3, 10, 12)],
        reasons=["event_time has no date"],
    ),
    at(
        TIME,
        "now",
        "today",
        "yesterday",
        "tomorrow",
        "epoch",
        "NOW",
        name="words for a time",
        expected=[datetime(2024, 3, 10, 12)],
        reasons=["event_time"],
    ),
    at(
        TIME,
        "",
        "2024-02-30 12:00:00",
        "10/03/2024",
        "2024-03-10 25:00:00",
        "soon",
        "1710072000",
        name="times that can't be read",
        expected=[datetime(2024, 3, 10, 12)],
        reasons=["event_time is missing", "event_time is not a timestamp"],
    ),
    at(
        TIME,
        "2024-03-11 00:00:00",
        "1970-01-01 00:00:00",
        "1969-07-20",
        "1989-12-31 23:59:59",
        name="times outside of what can be",
        expected=[datetime(2024, 3, 10, 12)],
        reasons=["after the delivery's day", "before 1990-01-01", "negative"],
    ),
    at(
        "1710072000",
        "1710072000.5",
        "1.710072E9",
        "171e7x",
        "",
        "-5",
        name="seconds since 1970",
        preset=own(event_time={"column": "ts", "unit": "seconds"}),
        expected=[
            datetime(2024, 3, 10, 12),
            datetime(2024, 3, 10, 12, 0, 0, 500000),
            datetime(2024, 3, 10, 12),
        ],
        reasons=["event_time is not seconds since 1970", "event_time is missing", "negative"],
    ),
    at(
        "1710072000000",
        "1710072000",
        TIME,
        name="milliseconds, of which one is seconds and one is text",
        preset=own(event_time={"column": "ts", "unit": "milliseconds"}),
        expected=[datetime(2024, 3, 10, 12)],
        reasons=["before 1990-01-01", "not milliseconds since 1970"],
    ),
    at(
        "1710072000000000123",
        name="nanoseconds since 1970",
        preset=own(event_time={"column": "ts", "unit": "nanoseconds"}),
        expected=[datetime(2024, 3, 10, 12)],
    ),
    at(
        "0",
        "1",
        "x",
        "-1",
        name="a place instead of a time",
        preset=own(
            event_time={"column": "ts", "unit": "order", "origin": "2024-03-10"},
            evaluation={"protocol": "leave_last_out"},
        ),
        expected=[datetime(2024, 3, 10), datetime(2024, 3, 10, 0, 0, 1)],
        reasons=["not a place from 0"],
    ),
    one(
        "late events land in their own day",
        {f"{D}.csv": csv(rows("u1") + rows("u2", day="2024-03-07"))},
        published=2,
        look=lambda outcome: _days(outcome, date(2024, 3, 7), date(2024, 3, 10)),
    ),
]

SHOP = ("user", "item", "ts", "action", "seconds")

SIGNALS = [
    one(
        "signals as text and numbers in text",
        {
            f"{D}.csv": csv(
                [
                    ("u1", "a", TIME, "purchase", "3"),
                    ("u2", "a", TIME, "view", "45.5"),
                    ("u3", "a", TIME, "view", ""),
                    ("u4", "a", TIME, "", "1e2"),
                    ("u5", "a", TIME, "view", "long"),
                ],
                header=SHOP,
            )
        },
        own(
            signals=["action", "seconds"],
            strength={"action = 'purchase'": 3, "seconds >= 30": 2, "TRUE": 0},
        ),
        published=4,
        quarantined=1,
        table=[("u1", "a", 3), ("u2", "a", 2), ("u3", "a", 0), ("u4", "a", 2)],
        reasons=["seconds is not a number"],
        look=lambda outcome: _signals(outcome, u1={"action": "purchase", "seconds": "3"}),
    ),
    one(
        "signals as they came, also those that no rule names",
        {f"{D}.csv": csv([("u1", "a", TIME, " Buy ", "007")], header=SHOP)},
        own(signals=["action", "seconds"], strength={"TRUE": 1}),
        published=1,
        table=[("u1", "a", 1)],
        look=lambda outcome: _signals(outcome, u1={"action": " Buy ", "seconds": "007"}),
    ),
    one(
        "true and false in text",
        {f"{D}.csv": csv([row("u1", liked="true"), row("u2", liked="FALSE"), row("u3", liked="")])},
        own(strength={"liked": 2, "TRUE": 0}),
        published=3,
        table=[("u1", "a", 2), ("u2", "a", 0), ("u3", "a", 0)],
    ),
    one(
        "a signal that is compared in two ways",
        {f"{D}.csv": TWO},
        own(strength={"liked = 'yes'": 2, "liked >= 3": 1, "TRUE": 0}),
        exit_code=2,
        says=["liked"],
    ),
    one(
        "a rule with a column that is not there",
        {f"{D}.csv": TWO},
        own(strength={"likes = 1": 2, "TRUE": 0}),
        exit_code=2,
        says=["likes", "liked"],
    ),
    one(
        "numbers that are none",
        {f"{D}.csv": csv([row("u1"), row("u2", liked="NaN"), row("u3", liked="inf")])},
        published=1,
        quarantined=2,
        table=[("u1", "a", 2)],
        reasons=["liked is NaN or infinite"],
    ),
    one(
        "a dwell time below zero, one that is none, and one in text",
        {
            f"{D}.csv": csv(
                [(*row("u1"), 1500), (*row("u2"), -1), (*row("u3"), "x"), (*row("u4"), "")],
                header=("user", "item", "ts", "liked", "ms"),
            )
        },
        own(columns={"dwell_seconds": "ms", "dwell_unit": "milliseconds"}),
        published=2,
        quarantined=2,
        table=[("u1", "a", 2), ("u4", "a", 2)],
        reasons=["ms is negative", "ms is not a number"],
        look=lambda outcome: _dwell(outcome, u1=1.5, u4=None),
    ),
    one(
        "places in a request",
        {
            f"{D}.csv": csv(
                [
                    (*row("u1", "a"), "r1", 0),
                    (*row("u1", "b"), "r1", 1),
                    (*row("u1", "c"), "r1", -1),
                    (*row("u1", "d"), "r1", "x"),
                ],
                header=("user", "item", "ts", "liked", "request", "place"),
            )
        },
        own(columns={"request_id": "request", "position": "place"}),
        published=2,
        quarantined=2,
        table=[("u1", "a", 2), ("u1", "b", 2)],
        reasons=["place is not a place"],
    ),
    one(
        "of equal events the strongest stays",
        {f"{D}.csv": csv([row("u1", liked=0), row("u1", liked=1), row("u1", liked=0), row("u2")])},
        published=2,
        duplicates=2,
        table=[("u1", "a", 2), ("u2", "a", 2)],
    ),
    one(
        "no rule holds",
        {f"{D}.json": json_lines([*rows("u1", "u2"), row("u3", liked=7), row("u4", liked=None)])},
        own(format="json", strength={"liked = 1": 2, "liked = 0": 0}),
        published=2,
        quarantined=2,
        table=[("u1", "a", 2), ("u2", "a", 2)],
        reasons=["no strength rule holds"],
    ),
]


def _days(outcome, *expected):
    assert sorted({row["day"] for row in outcome.table}) == sorted(expected)


def _signals(outcome, **expected):
    found = {row["user_id"]: dict(row["signals"]) for row in outcome.table}
    assert {user: found[user] for user in expected} == expected


def _dwell(outcome, **expected):
    assert {row["user_id"]: row["dwell_seconds"] for row in outcome.table} == expected


INPUTS = [*IDS, *TIMES, *SIGNALS]
