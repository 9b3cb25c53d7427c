"""Raw rows → judged events → rows of interactions and quarantine."""

from datetime import UTC, date, datetime

import pytest

from feature_store.tables.interactions import INTERACTIONS
from feature_store.tables.quarantine import QUARANTINE
from pipelines.config import ColumnMapping, EventTime, StrengthRule
from pipelines.schema import conform
from pipelines.sources.interface import ROW
from pipelines.transforms.events import (
    accepted,
    judge_events,
    keep_text_of_refused,
    refuse_unknown_items,
    refused,
    up_to,
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


def raw(spark, cells, problems=None, day=DAY, file="f.csv"):
    """Raw rows as `read_rows` gives them; `problems` by place of the row."""
    schema = ", ".join(f"{name} string" for name in NAMES)
    row = (
        "struct<source_file: string, delivery_day: date, line: bigint, raw: string, "
        "problem: string>"
    )
    rows = [
        (*cell, (file, day, place, "|".join(map(str, cell)), (problems or {}).get(place)))
        for place, cell in enumerate(cells)
    ]
    return spark.createDataFrame(rows, f"{schema}, {ROW} {row}")


def judged(spark, cells, *, file="f.csv", **options):
    events = parse_events(raw(spark, cells, file=file), MAPPING, RULES)
    options = {"earliest": date(1990, 1, 1)} | options
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
    assert (full.delivery_day, full.also_delivered) == (DAY, {})
    assert (sparse.request_id, sparse.position, sparse.dwell_seconds) == (None, None, None)
    assert sparse.signals == {"click": "1"}
    assert sparse.strength == 1


def test_ties_are_in_the_order_of_the_file_and_files_in_another_one_for_every_user(spark):
    users = [f"u{number}" for number in range(40)]
    cells = [with_(user=user, item=item) for item in ("i9", "i1", "i5") for user in users]
    rows = accepted(judged(spark, cells, file="a.csv")).unionByName(
        accepted(judged(spark, cells, file="b.csv"))
    )
    in_turn = rows.orderBy("user_id", "tie_order").collect()
    assert {row.tie_order >= 0 for row in in_turn} == {True}
    told = {user: [r for r in in_turn if r.user_id == user] for user in users}
    files = ["".join(row.source_file[0] for row in of_user) for of_user in told.values()]
    assert set(files) == {"aaabbb", "bbbaaa"}
    assert 8 <= files.count("aaabbb") <= 32
    items = {tuple(row.item_id for row in of_user) for of_user in told.values()}
    assert items == {("i9", "i1", "i5") * 2}


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
    "the next day": (
        with_(ts=str(NOON_MS + 43_200_000)),
        ["event_time is after the delivery's day"],
    ),
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
    items = spark.createDataFrame([("i1", None)], "item_id string, last_listed_day date")
    broken = {list(REASONS).index("a line that can't be cut"): "line is not valid UTF-8"}
    rows = raw(spark, [cells for cells, _ in REASONS.values()], broken)
    events = parse_events(rows, MAPPING, RULES)
    events = judge_events(events, earliest=date(1990, 1, 1))
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


def test_an_event_after_its_item_was_withdrawn_is_told_and_accepted(spark):
    days = [("listed", None), ("today", DAY), ("gone", date(2024, 3, 9))]
    items = spark.createDataFrame(days, "item_id string, last_listed_day date")
    events = refuse_unknown_items(judged(spark, [with_(item=item) for item, _ in days]), items)
    told = {row.item_id: (row.of_withdrawn, row.reasons) for row in events.collect()}
    assert told == {"listed": (False, []), "today": (False, []), "gone": (True, [])}


def test_of_a_log_only_what_is_up_to_the_day_is_looked_at(spark):
    hours = {"old": -72, "today": 11, "tomorrow": 12}
    cells = [with_(user=name, ts=str(NOON_MS + h * 3_600_000)) for name, h in hours.items()]
    cells.append(with_(user="timeless", ts="x"))
    events = up_to(parse_events(raw(spark, cells), MAPPING, RULES), DAY)
    assert {row.user_id for row in events.collect()} == {"old", "today", "timeless"}


def test_an_event_after_its_delivery_is_refused_whatever_the_runs_day(spark):
    hours = {"in time": 11, "early": 12}
    cells = [with_(user=name, ts=str(NOON_MS + h * 3_600_000)) for name, h in hours.items()]
    for day, refused_users in ((DAY, {"early"}), (None, set())):
        rows = raw(spark, cells, day=day)
        events = judge_events(parse_events(rows, MAPPING, RULES), earliest=date(1990, 1, 1))
        bad = events.where("size(reasons) > 0").collect()
        assert {row.user_id for row in bad} == refused_users
        assert {reason for row in bad for reason in row.reasons} <= {
            "event_time is after the delivery's day"
        }
