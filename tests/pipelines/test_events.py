"""Raw rows → judged events → one row per event."""

from datetime import UTC, date, datetime

import pytest

from feature_store.tables.interactions import INTERACTIONS
from feature_store.tables.quarantine import QUARANTINE
from pipelines.config import ColumnMapping, EventTime, StrengthRule
from pipelines.schema import conform, spark_schema
from pipelines.sources.raw_rows import ROW
from pipelines.transforms.events import (
    accepted,
    judge_events,
    keep_text_of_refused,
    of_the_run,
    rank_copies,
    refuse_unknown_items,
    refused,
)
from pipelines.transforms.parsing import parse_events

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

DAY = date(2024, 3, 10)
MAPPING = ColumnMapping(
    user_id="user",
    item_id="item",
    event_time=EventTime(column="ts", unit="milliseconds"),
    request_id="request",
    position="place",
    dwell_seconds="watched",
    dwell_unit="milliseconds",
    signals=("rating", "click"),
)
RULES = (
    StrengthRule(strength=3, when="rating >= 4.5"),
    StrengthRule(strength=1, when="click = 1"),
    StrengthRule(strength=-1, when="rating < 2"),
)
NOON_MS = 1710072000000  # 2024-03-10T12:00:00Z
GOOD = ("u1", "i1", str(NOON_MS), "r1", "0", "1500", "5", "1")
NAMES = ("user", "item", "ts", "request", "place", "watched", "rating", "click")


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


def raw(spark, cells, problems=None):
    """Raw rows as `read_rows` gives them; `problems` by place of the row."""
    schema = ", ".join(f"{name} string" for name in NAMES)
    row = "struct<source_file: string, line: bigint, raw: string, problem: string>"
    rows = [
        (*cell, ("f.csv", place, "|".join(map(str, cell)), (problems or {}).get(place)))
        for place, cell in enumerate(cells)
    ]
    return spark.createDataFrame(rows, f"{schema}, {ROW} {row}")


def judged(spark, cells, **options):
    events = parse_events(raw(spark, cells), MAPPING, RULES)
    options = {"day": DAY, "earliest": date(1990, 1, 1), "future_is_refused": True} | options
    return keep_text_of_refused(judge_events(events, **options))


def with_(**changes):
    return tuple(changes.get(name, cell) for name, cell in zip(NAMES, GOOD, strict=True))


def test_a_raw_row_becomes_an_event_with_typed_columns(spark):
    rows = accepted(judged(spark, [GOOD, with_(rating="", place="", request=" ", watched="")]))
    full, sparse = rows.collect()
    assert conform(rows, INTERACTIONS).columns == list(INTERACTIONS.column_names)
    assert (full.day, full.user_id, full.item_id) == (DAY, "u1", "i1")
    assert full.event_time.astimezone(UTC) == utc(2024, 3, 10, 12)
    assert (full.request_id, full.position, full.dwell_seconds) == ("r1", 0, 1.5)
    assert full.signals == {"rating": "5", "click": "1"}
    assert (full.strength, full.source_file) == (3, "f.csv")
    assert (sparse.request_id, sparse.position, sparse.dwell_seconds) == (None, None, None)
    assert sparse.signals == {"click": "1"}
    assert sparse.strength == 1


REASONS = {
    "an empty user": (with_(user=" "), ["user_id is missing"]),
    "a null item": (with_(item=None), ["item_id is missing"]),
    "NaN written as an id": (with_(item="NaN"), ["item_id is missing"]),
    "no time": (with_(ts=""), ["event_time is missing"]),
    "a time that is text": (with_(ts="noon"), ["event_time is not milliseconds since 1970"]),
    "a time beyond a long": (with_(ts="9" * 25), ["event_time is not milliseconds since 1970"]),
    "a negative time": (with_(ts="-5"), ["event_time is negative"]),
    "a time of 1970": (with_(ts="0"), ["event_time is before 1990-01-01"]),
    "seconds for milliseconds": (
        with_(ts=str(NOON_MS // 1000)),
        ["event_time is before 1990-01-01"],
    ),
    "the next day": (with_(ts=str(NOON_MS + 43_200_000)), ["event_time is after the run's day"]),
    "a NaN rating": (with_(rating="NaN"), ["rating is NaN or infinite"]),
    "an infinite rating": (with_(rating="-Infinity"), ["rating is NaN or infinite"]),
    "a rating that is text": (with_(rating="good"), ["rating is not a number"]),
    "a negative dwell": (with_(watched="-1"), ["watched is negative"]),
    "a dwell that is text": (with_(watched="long"), ["watched is not a number"]),
    "a negative place": (with_(place="-1"), ["place is not a place"]),
    "a broken place": (with_(place="1.5"), ["place is not a place"]),
    "signals that meet no rule": (with_(rating="3", click="0"), ["no strength rule holds"]),
    "an item nobody knows": (with_(item="i9"), ["item_id is not in the catalogue"]),
    "several at once": (
        with_(user="", rating="x", click="0", item="i9"),
        [
            "user_id is missing",
            "rating is not a number",
            "no strength rule holds",
            "item_id is not in the catalogue",
        ],
    ),
    "a line that can't be cut": ((None,) * len(NAMES), ["line is not valid UTF-8"]),
}


def test_every_reason_against_a_row_is_given_and_the_row_is_kept(spark):
    items = spark.createDataFrame([("i1",)], "item_id string")
    broken = {list(REASONS).index("a line that can't be cut"): "line is not valid UTF-8"}
    rows = raw(spark, [cells for cells, _ in REASONS.values()], broken)
    events = parse_events(rows, MAPPING, RULES)
    events = judge_events(events, day=DAY, earliest=date(1990, 1, 1), future_is_refused=True)
    events = keep_text_of_refused(refuse_unknown_items(events, items))
    assert accepted(events).count() == 0
    rows = conform(refused(events, DAY), QUARANTINE).orderBy("line").collect()
    found = {name: row.reasons for name, row in zip(REASONS, rows, strict=True)}
    assert found == {name: reasons for name, (_, reasons) in REASONS.items()}
    assert {(row.day, row.source_file) for row in rows} == {(DAY, "f.csv")}


def test_what_is_kept_of_a_refused_row_is_valid_text_of_bounded_length(spark):
    cells = [with_(user="", item="x" * 5000)]
    (row,) = refused(judged(spark, cells), DAY).collect()
    assert len(row.raw) == 4096
    assert row.raw_chars == len("|".join(cells[0]))


def test_a_dumps_rows_belong_to_the_run_whose_days_they_fall_in(spark):
    hours = {"old": -72, "yesterday": -24, "today": 0, "tomorrow": 24}
    cells = [with_(user=name, ts=str(NOON_MS + h * 3_600_000)) for name, h in hours.items()]
    events = parse_events(raw(spark, [*cells, with_(user="timeless", ts="x")]), MAPPING, RULES)

    def users(**options):
        return {row.user_id for row in of_the_run(events, day=DAY, **options).collect()}

    assert users(after=None) == {"old", "yesterday", "today", "timeless"}
    assert users(after=date(2024, 3, 8)) == {"yesterday", "today"}
    assert users(after=date(2024, 3, 9)) == {"today"}
    later = judge_events(events, day=DAY, earliest=date(1990, 1, 1), future_is_refused=False)
    assert accepted(later.where("user_id = 'tomorrow'")).count() == 1


def interaction(**changes):
    row = {
        "day": DAY,
        "user_id": "u1",
        "item_id": "i1",
        "event_time": utc(2024, 3, 10, 12),
        "request_id": None,
        "position": None,
        "signals": {"click": "1"},
        "strength": 1,
        "dwell_seconds": None,
        "source_file": "new.csv",
    }
    return tuple((row | changes).values())


def test_of_rows_with_one_key_the_strongest_then_longest_then_published_stays(spark):
    schema = spark_schema(INTERACTIONS)
    fresh = [
        interaction(user_id="strength", strength=3, dwell_seconds=1.0),
        interaction(user_id="strength", strength=2, dwell_seconds=9.0),
        interaction(user_id="dwell", dwell_seconds=2.0),
        interaction(user_id="dwell", dwell_seconds=None),
        interaction(user_id="tie"),
        interaction(user_id="tie", signals={"click": "2"}),
        interaction(user_id="place", position=0),
        interaction(user_id="place", position=1),
    ]
    published = [
        interaction(user_id="tie", source_file="old.csv", signals={"click": "9"}),
        interaction(user_id="dwell", dwell_seconds=1.0, source_file="old.csv"),
        interaction(user_id="kept", source_file="old.csv"),
    ]
    old = spark.createDataFrame(published, schema)
    for rows in (fresh, fresh[::-1]):
        for buckets in (1, 3):
            ranked = rank_copies(spark.createDataFrame(rows, schema), old, buckets=buckets)
            kept = ranked.where("_rank = 1").collect()
            found = {(r.user_id, r.position): r for r in kept}
            assert found[("strength", None)].strength == 3
            assert found[("dwell", None)].dwell_seconds == 2.0
            assert found[("tie", None)].source_file == "old.csv"
            assert set(found) == {
                *((user, None) for user in ("strength", "dwell", "tie", "kept")),
                ("place", 0),
                ("place", 1),
            }
            assert ranked.count() == len(fresh) + len(published)
            assert len(kept) == len(found)


def test_no_rows_make_no_rows_in_the_right_columns(spark):
    nothing = spark.createDataFrame([], spark_schema(INTERACTIONS))
    made = rank_copies(nothing, nothing).drop("_rank")
    assert conform(made, INTERACTIONS).count() == 0
