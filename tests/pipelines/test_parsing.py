"""Raw rows → events: times, signals, ids, and the rules over them, by the raw columns' types."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from feature_store.preset import PresetError
from pipelines.config import ColumnMapping, EventTime, StrengthRule
from pipelines.errors import DataRefused
from pipelines.sources.interface import ROW
from pipelines.transforms.parsing import parse_events

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)
KINDS = {"user": "string", "item": "string", "ts": "string"}
GOOD = {"user": "u1", "item": "i1", "ts": "2024-03-10 12:00:00"}
ALWAYS = (("TRUE", 0),)


def mapping(**changes):
    event_time = changes.pop("event_time", EventTime(column="ts"))
    return ColumnMapping(user_id="user", item_id="item", event_time=event_time, **changes)


def parse(spark, rows, kinds=None, rules=ALWAYS, **changes):
    """Events of raw rows given as what differs from a good one, in their order."""
    kinds = KINDS | (kinds or {})
    row = "struct<source_file: string, line: bigint, raw: string, problem: string>"
    cells = [
        (*((GOOD | each).get(name) for name in kinds), ("f.csv", place, "", None))
        for place, each in enumerate(rows)
    ]
    schema = ", ".join(f"`{name}` {kind}" for name, kind in kinds.items())
    raw = spark.createDataFrame(cells, f"{schema}, {ROW} {row}")
    strengths = [StrengthRule(strength=strength, when=when) for when, strength in rules]
    return parse_events(raw, mapping(**changes), strengths).orderBy(f"{ROW}.line").collect()


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


TIMES = {
    "2024-03-10 12:00:00": NOON,
    "2024-03-10T12:00:00Z": NOON,
    " 2024-03-10 13:00:00.25+01:00 ": utc(2024, 3, 10, 12, 0, 0, 250_000),
    "2024-03-10 13:00:00 Europe/Berlin": NOON,
    "2024-03-10 12:00:00.123456789": utc(2024, 3, 10, 12, 0, 0, 123_456),
    "2024-03-10 12:00": NOON,
    "2024-3-9": utc(2024, 3, 9),
    "2024-03-10": utc(2024, 3, 10),
    "9999-12-31 23:59:59": utc(9999, 12, 31, 23, 59, 59),
    "": "event_time is missing",
    None: "event_time is missing",
    "12:30": "event_time has no date",
    "T12:30:00": "event_time has no date",
    "2024": "event_time has no date",
    "2024-03": "event_time has no date",
    "now": "event_time is not a timestamp",
    "today": "event_time is not a timestamp",
    "epoch": "event_time is not a timestamp",
    "2024-02-30": "event_time is not a timestamp",
    "10.03.2024": "event_time is not a timestamp",
    "1710072000": "event_time is not a timestamp",
    "9999-12-31 23:59:59-18:00": "event_time is outside of the years 1 to 9999",
}


def test_a_time_as_text_needs_a_full_date_and_nothing_comes_from_the_clock(spark):
    events = parse(spark, [{"ts": text} for text in TIMES])
    found = {
        text: event.reasons[0] if event.reasons else event.event_time.astimezone(UTC)
        for text, event in zip(TIMES, events, strict=True)
    }
    assert found == TIMES
    assert all(event.event_time is None for event in events if event.reasons)


UNITS = {
    "seconds": ("1710072000.25", utc(2024, 3, 10, 12, 0, 0, 250_000)),
    "milliseconds": ("1.710072000250E12", utc(2024, 3, 10, 12, 0, 0, 250_000)),
    "microseconds": ("1710072000250001", utc(2024, 3, 10, 12, 0, 0, 250_001)),
    "nanoseconds": ("1710072000250001999", utc(2024, 3, 10, 12, 0, 0, 250_001)),
    "order": ("7.0", utc(2000, 1, 1, 0, 0, 7)),
}


@pytest.mark.parametrize("unit", UNITS)
def test_each_unit_of_time_is_read_exactly(spark, unit):
    text, expected = UNITS[unit]
    how = EventTime(column="ts", unit=unit)
    read, wrong, far = parse(spark, [{"ts": text}, {"ts": "x"}, {"ts": "9" * 18}], event_time=how)
    assert read.event_time.astimezone(UTC) == expected
    words = "a place from 0" if unit == "order" else f"{unit} since 1970"
    assert wrong.reasons == [f"event_time is not {words}"]
    # A unit that is too large is told, and no year that Python hasn't reaches a table.
    assert bool(far.reasons) == (unit != "nanoseconds")


TYPED_TIMES = {
    "timestamp": (NOON, "timestamp", NOON),
    "timestamp_ntz": (datetime(2024, 3, 10, 12), "timestamp", NOON),
    "date": (date(2024, 3, 10), "timestamp", utc(2024, 3, 10)),
    "bigint": (1710072000000, "milliseconds", NOON),
    "double": (1710072000000.0, "milliseconds", NOON),
    "decimal(20,3)": (Decimal("1710072000.000"), "seconds", NOON),
    "int": (7, "order", utc(2000, 1, 1, 0, 0, 7)),
}


@pytest.mark.parametrize("kind", TYPED_TIMES)
def test_typed_times_are_read_as_they_are(spark, kind):
    value, unit, expected = TYPED_TIMES[kind]
    how = EventTime(column="ts", unit=unit)
    event, none = parse(spark, [{"ts": value}, {"ts": None}], {"ts": kind}, event_time=how)
    assert event.event_time.astimezone(UTC) == expected
    assert none.reasons == ["event_time is missing"]


def test_columns_that_hold_no_times_or_ids_are_refused_by_their_type(spark):
    for kind, words in (("boolean", "booleans"), ("array<string>", "lists"), ("binary", "bytes")):
        with pytest.raises(DataRefused, match=f"event_time: column 'ts' holds {words}; expected"):
            parse(spark, [], {"ts": kind})
    with pytest.raises(DataRefused, match="user_id: column 'user' holds structs; ids are text"):
        parse(spark, [], {"user": "struct<id: int>"})
    with pytest.raises(PresetError, match="raw column 'ts' is a number; set its unit"):
        parse(spark, [], {"ts": "bigint"})
    with pytest.raises(PresetError, match=r"'ts' holds dates, whose unit can't be seconds; leave"):
        parse(spark, [], {"ts": "date"}, event_time=EventTime(column="ts", unit="seconds"))


def test_ids_follow_one_rule_and_a_float_speaks_against_its_column(spark):
    rows = [{"item": 42.0}, {"item": float("nan")}, {"item": 0.5}]
    whole, missing, fraction = parse(spark, rows, {"item": "double"})
    assert (whole.item_id, whole.reasons) == ("42", [])
    assert missing.reasons == ["item_id is missing"]
    assert fraction.reasons == ["item_id: column 'item' holds floats"]
    (composed,) = parse(spark, [{"user": "\u00a0cafe\u0301"}])
    assert composed.user_id == "caf\u00e9"


SHOP = (("action = 'purchase'", 3), ("action = 'cart' OR seconds >= 30", 2), ("TRUE", 0))


@pytest.mark.parametrize("kind", ["string", "double", "decimal(9,2)", "int"])
def test_the_same_preset_reads_text_and_typed_signals_alike(spark, kind):
    cast = {"string": str, "double": float, "decimal(9,2)": Decimal, "int": int}[kind]
    rows = [
        {"action": "purchase", "seconds": cast(1)},
        {"action": "view", "seconds": cast(40)},
        {"action": None, "seconds": None},
    ]
    kinds = {"action": "string", "seconds": kind}
    events = parse(spark, rows, kinds, SHOP, signals=("action", "seconds"), dwell_seconds="seconds")
    assert [(e.strength, e.signals, e.dwell_seconds, e.reasons) for e in events] == [
        (3, {"action": "purchase", "seconds": "1"}, 1.0, []),
        (2, {"action": "view", "seconds": "40"}, 40.0, []),
        (0, {}, None, []),
    ]


def test_signals_are_kept_as_they_came_and_numbers_in_their_shortest_text(spark):
    kinds = {
        "text": "string",
        "flag": "boolean",
        "whole": "double",
        "part": "float",
        "price": "decimal(9,4)",
        "zero": "decimal(38,18)",
        "tags": "array<string>",
        "at": "date",
    }
    row = {
        "text": " 5.0",
        "flag": True,
        "whole": 5.0,
        "part": 0.1,
        "price": Decimal("10.5000"),
        "zero": Decimal(0),
        "tags": ["a", "b"],
        "at": date(2024, 3, 10),
    }
    full, blank = parse(spark, [row, {"text": " "}], kinds, signals=tuple(kinds))
    assert full.signals == {
        "text": " 5.0",
        "flag": "true",
        "whole": "5",
        "part": "0.1",
        "price": "10.5",
        "zero": "0",
        "tags": json.dumps(["a", "b"], separators=(",", ":")),
        "at": "2024-03-10",
    }
    assert (blank.signals, blank.reasons) == ({}, [])


LIKED = {
    "string": [("1", 2), ("0", 0), ("true", 2), ("FALSE", 0), ("1.0", 2)],
    "boolean": [(True, 2), (False, 0)],
    "int": [(1, 2), (0, 0)],
    "double": [(1.0, 2), (0.0, 0)],
}


@pytest.mark.parametrize("condition", ["liked = 1", "liked", "liked = TRUE"])
@pytest.mark.parametrize("kind", LIKED)
def test_true_and_false_are_1_and_0_whatever_the_column_holds(spark, kind, condition):
    rows = [{"liked": value} for value, _ in LIKED[kind]]
    events = parse(spark, rows, {"liked": kind}, ((condition, 2), ("TRUE", 0)))
    assert [(event.strength, event.reasons) for event in events] == [
        (strength, []) for _, strength in LIKED[kind]
    ]


def test_a_value_that_cannot_be_read_as_the_rules_compare_it_refuses_its_row(spark):
    kinds = {"seconds": "string", "liked": "string", "views": "double", "stars": "int"}
    rules = (("seconds > 3 OR liked", 2), ("views > 2 OR stars", 1), ("TRUE", 0))
    rows = [
        {"seconds": "long"},
        {"liked": "maybe"},
        {"views": float("nan")},
        {"stars": 5},
        {"seconds": "\\N", "liked": "null"},
        {"seconds": "inf"},
    ]
    events = parse(spark, rows, kinds, rules)
    assert [event.reasons for event in events] == [
        ["seconds is not a number"],
        ["liked is not true or false"],
        ["views is NaN or infinite"],
        ["stars is not true or false"],
        [],
        ["seconds is NaN or infinite"],
    ]


def test_a_rule_that_fails_on_a_row_is_named_and_other_rows_are_events(spark):
    kinds = {"watched": "string", "length": "string"}
    rules = (("watched  / length >= 0.5", 2), ("TRUE", 0))
    rows = [{"watched": w, "length": n} for w, n in (("10", "20"), ("10", "0"), ("1", "20"))]
    events = parse(spark, rows, kinds, rules, signals=("watched", "length"))
    assert [(event.strength, event.reasons) for event in events] == [
        (2, []),
        (None, ["strength rule 1 fails: watched / length >= 0.5"]),
        (0, []),
    ]


def test_columns_are_found_whatever_the_case_of_their_letters(spark):
    kinds = {"Seconds": "string", "Action": "string"}
    (event,) = parse(
        spark,
        [{"Seconds": "40", "Action": "view"}],
        kinds,
        SHOP,
        signals=("seconds", "ACTION"),
    )
    assert (event.strength, event.signals) == (2, {"seconds": "40", "ACTION": "view"})


def test_places_and_requests_of_float_columns_are_whole_numbers(spark):
    kinds = {"place": "double", "request": "double"}
    rows = [{"place": 3.0, "request": 17.0}, {"place": 0.5, "request": None}]
    first, second = parse(spark, rows, kinds, position="place", request_id="request")
    assert (first.position, first.request_id, first.reasons) == (3, "17", [])
    assert (second.request_id, second.reasons) == (None, ["place is not a place"])
