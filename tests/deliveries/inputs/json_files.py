"""JSON lines: what is no line of JSON, values of every kind, keys in some rows only."""

import json

from tests.deliveries.inputs.reading import LINES, TWO_OUT, D, one, read
from tests.deliveries.presets import own
from tests.deliveries.written import PACK, json_lines, rows

TIME = "2024-03-10 12:00:00"
JSON = own(format="json")


def event(user, **more):
    """A mapping of one event."""
    return {"user": user, "item": "a", "ts": TIME, "liked": 1} | more


FORMS = [
    one(
        "a JSON array on one line",
        {f"{D}.json": json.dumps([event("u1"), event("u2")]).encode()},
        JSON,
        exit_code=3,
        says=["2024-03-10.json", "array", "one object a line"],
    ),
    one(
        "a JSON array over lines, packed",
        {f"{D}.json.gz": PACK["gz"](json.dumps([event("u1"), event("u2")], indent=1).encode())},
        JSON,
        exit_code=3,
        says=["2024-03-10.json.gz", "array"],
    ),
    one(
        "pretty-printed objects",
        {f"{D}.json": json.dumps(event("u1"), indent=2).encode() * 2},
        JSON,
        exit_code=3,
        says=["2024-03-10.json", "one object a line"],
    ),
    one(
        "a JSON array in one part of two",
        {f"{D}/p0.json": LINES, f"{D}/p1.json": json.dumps([event("u3")]).encode()},
        JSON,
        exit_code=3,
        says=["p1.json"],
    ),
    read("blank lines between objects", {f"{D}.json": LINES.replace(b"\n", b"\n\n  \r\n")}, JSON),
    read("a byte order mark before an object", {f"{D}.json": b"\xef\xbb\xbf" + LINES}, JSON),
    read(
        "lines that are no objects",
        {f"{D}.json": LINES + b'{"user": "u3", "item"\n"u4"\n[1, 2]\nnull\n'},
        JSON,
        quarantined=4,
        reasons=["JSON"],
    ),
]

VALUES = [
    one(
        "ids as numbers",
        {f"{D}.json": json_lines([event(42, item=7), event(9007199254740993, item="007")])},
        JSON,
        published=2,
        table=[("42", "7", 2), ("9007199254740993", "007", 2)],
    ),
    read(
        "ids that are objects or lists",
        {f"{D}.json": LINES + json_lines([event({"id": 1}), event("u4", item=["a"])])},
        JSON,
        quarantined=2,
        reasons=["user is a list or an object", "item is a list or an object"],
    ),
    read(
        "ids that are missing in each way",
        {
            f"{D}.json": LINES
            + json_lines([event(None), event(""), event("NaN"), {"item": "a", "ts": TIME}])
        },
        JSON,
        quarantined=4,
        reasons=["user_id is missing"],
    ),
    one(
        "a signal that some rows lack",
        {f"{D}.json": json_lines([event("u1"), {"user": "u2", "item": "a", "ts": TIME}])},
        JSON,
        published=2,
        table=[("u1", "a", 2), ("u2", "a", 0)],
    ),
    one(
        "true and false",
        {f"{D}.json": json_lines([event("u1", liked=True), event("u2", liked=False)])},
        own(format="json", strength={"liked": 2, "TRUE": 0}),
        published=2,
        table=[("u1", "a", 2), ("u2", "a", 0)],
    ),
    one(
        "text and numbers side by side as signals",
        {
            f"{D}.json": json_lines(
                [
                    event("u1", action="purchase", seconds=1.5),
                    event("u2", action="view", seconds=30),
                    event("u3", action="view"),
                ]
            )
        },
        own(
            format="json",
            signals=["action", "seconds"],
            strength={"action = 'purchase'": 3, "seconds >= 30": 2, "TRUE": 0},
        ),
        published=3,
        table=[("u1", "a", 3), ("u2", "a", 2), ("u3", "a", 0)],
    ),
    one(
        "escaped signs are the signs",
        {
            f"{D}.json": json_lines([event('café "x"', item="a\nb")]),
        },
        JSON,
        published=1,
        table=[('café "x"', "a\nb", 2)],
    ),
    one(
        "milliseconds since 1970",
        {f"{D}.json": json_lines([event("u1", ts=1710072000000), event("u2", ts="1710072000000")])},
        own(format="json", event_time={"column": "ts", "unit": "milliseconds"}),
        published=2,
        table=TWO_OUT,
        look=lambda outcome: _hours(outcome, 12),
    ),
    read(
        "nested values that nobody needs",
        {f"{D}.json": json_lines([event("u1", more={"a": [1, {"b": 2}]}), event("u2", more=[])])},
        JSON,
    ),
    one(
        "no object has the key of the items",
        {
            f"{D}.json": json_lines(
                [
                    dict(zip(("user", "sku", "ts", "liked"), r, strict=True))
                    for r in rows("u1", "u2")
                ]
            )
        },
        JSON,
        exit_code=3,
        says=["'item'", "2024-03-10.json"],
    ),
    one(
        "keys in other letters in each file",
        {
            f"{D}.json": json_lines([{"LIKED": 1, "Ts": TIME, "Item": "a", "USER": "u1"}]),
            "events/2024-03-09.json": json_lines([event("u2", ts="2024-03-09 12:00:00")]),
            "events/2024-03-08.json": json_lines([{"user": "u3", "Item": "b", "ts": "2024-03-08"}]),
        },
        JSON,
        published=3,
        table=[("u1", "a", 2), ("u2", "a", 2), ("u3", "b", 0)],
    ),
    one(
        "a key twice in one object",
        {
            f"{D}.json": LINES
            + b'{"user": "u3", "USER": "u4", "item": "a", "ts": "%b", "liked": 1}\n' % TIME.encode()
        },
        JSON,
        exit_code=3,
        says=["user", "USER"],
    ),
]


def _hours(outcome, *expected):
    assert sorted({row["event_time"].hour for row in outcome.table}) == sorted(expected)


INPUTS = [*FORMS, *VALUES]
