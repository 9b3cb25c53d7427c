"""Events → slates: which belong together, in which order, with which feedback."""

from datetime import UTC, date, datetime, timedelta

import pytest

from feature_store.tables.slates import SLATES
from pipelines.config import Slates
from pipelines.schema import conform
from pipelines.transforms.slates import (
    cut_groups,
    day_of,
    days_read,
    gather_groups,
    group_events,
)

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

NOON = datetime(2024, 5, 7, 12, tzinfo=UTC)
SCHEMA = (
    "user_id string, item_index int, event_time timestamp, request_id string, position int, "
    "tie_order long, strength int, dwell_seconds float"
)


def event(
    item, minute=0.0, strength=0, *, user="u", request=None, position=None, tie=0, dwell=None
):
    time = NOON + timedelta(minutes=minute)
    return (user, item, time, request, position, tie, strength, dwell)


@pytest.fixture
def build(spark):
    """Rows of `slates` of some events, as dictionaries, by user, start and items."""

    def build(events, *, partitions=3, **config):
        config = Slates.model_validate(config)
        frame = spark.createDataFrame(events, SCHEMA).repartition(partitions)
        slates = cut_groups(gather_groups(group_events(frame, config)), config)
        rows = [row.asDict() for row in conform(slates, SLATES).collect()]
        return sorted(rows, key=lambda row: (row["user_id"], row["started_at"], row["slate_id"]))

    return build


def items(rows):
    return [row["item_indices"] for row in rows]


def test_a_pause_ends_a_session_and_no_user_gets_anothers_items(build):
    rows = build(
        [event(1), event(2, 20), event(3, 50), event(4, 80.5), event(5, 81), event(9, 1, user="v")]
    )
    assert items(rows) == [[1, 2, 3], [4, 5]]
    assert {row["source"] for row in rows} == {"gap"}
    first = rows[0]
    assert first["started_at"].replace(tzinfo=UTC) == NOON
    assert first["ended_at"].replace(tzinfo=UTC) == NOON + timedelta(minutes=50)
    assert first["day"] == NOON.date()


def test_a_day_is_one_slate_whatever_the_pauses(build):
    rows = build([event(1), event(2, 600), event(3, 700)], session="day")
    assert items(rows) == [[1, 2, 3]]
    assert rows[0]["source"] == "day"


def test_no_slate_goes_across_local_midnight(build):
    around = [event(1, 235), event(2, 238), event(3, 241), event(4, 245)]  # 16:00 is minute 240
    for session in ("gap", "day"):
        rows = build(around, session=session, utc_offset_hours=8)
        assert items(rows) == [[1, 2], [3, 4]]
        assert [row["day"] for row in rows] == [date(2024, 5, 7), date(2024, 5, 8)]
    assert items(build(around, session="gap")) == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("hours", "first", "last"),
    [
        (0, "2024-05-07T00:00:00", "2024-05-07T23:59:59.999999"),
        (8, "2024-05-06T16:00:00", "2024-05-07T15:59:59.999999"),
        (5.5, "2024-05-06T18:30:00", "2024-05-07T18:29:59.999999"),
        # Of 6 May in New York, which ends within 7 May (UTC): what the run of 7 May can see.
        (-5, "2024-05-06T05:00:00", "2024-05-07T04:59:59.999999"),
    ],
)
def test_the_run_of_a_day_sees_all_of_its_slates(spark, hours, first, last):
    config = Slates(utc_offset_hours=hours)
    instants = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (first, last)]
    beside = [instants[0] - timedelta(microseconds=1), instants[1] + timedelta(microseconds=1)]
    frame = spark.createDataFrame([(time,) for time in [*instants, *beside]], "time timestamp")
    day = date(2024, 5, 7)
    found = [row[0] for row in frame.select(day_of(frame["time"], config)).collect()]
    assert found == [day, day, day - timedelta(days=1), day + timedelta(days=1)]
    assert {time.date() for time in instants} <= set(days_read([day], config))
    assert max(days_read([day], config)) == day


def test_requests_are_slates_in_their_order_and_the_rest_are_sessions(build):
    rows = build(
        [
            event(7, 0, request="r", position=1),
            event(8, 300, request="r", position=0),
            event(1, 1, request="s", position=0),
            event(2, 1, request="s", position=1),
            event(3, 2),
            event(4, 3),
        ]
    )
    assert [(row["source"], row["item_indices"]) for row in rows] == [
        ("request", [8, 7]),
        ("request", [1, 2]),
        ("gap", [3, 4]),
    ]


def test_events_of_the_same_time_are_in_the_order_of_position_then_of_the_source(build):
    at_once = [
        *(event(5, tie=7), event(3, tie=8), event(4, tie=6)),
        *(event(9, position=1, tie=1), event(8, position=0, tie=2), event(1, 1, tie=0)),
    ]
    assert items(build(at_once)) == [[8, 9, 4, 5, 3, 1]]


def test_a_request_that_logs_no_positions_is_in_the_order_of_the_source(build):
    shown = [event(item, request="r", tie=tie) for item, tie in ((1, 3), (2, 1), (3, 2))]
    assert items(build([*shown, event(2, request="r", tie=9)])) == [[2, 3, 1]]


def test_an_item_that_comes_again_keeps_its_place_and_its_strongest_feedback(build):
    rows = build(
        [
            *(event(1, 0, 0, dwell=3.0), event(1, 0, 0, dwell=3.0)),
            *(event(2, 1, 1), event(3, 2, 0), event(4, 3, -1), event(5, 4, -1)),
            *(event(2, 5, 3, dwell=1.5), event(3, 6, -1), event(4, 7, 2), event(1, 8, 0)),
        ]
    )
    assert items(rows) == [[1, 2, 3, 4, 5]]
    assert rows[0]["strengths"] == [0, 3, -1, 2, -1]
    dwell = rows[0]["dwell_seconds"]
    assert dwell[:2] == [3.0, 1.5]
    assert all(seconds != seconds for seconds in dwell[2:])
    assert rows[0]["ended_at"].replace(tzinfo=UTC) == NOON + timedelta(minutes=8)


@pytest.mark.parametrize(
    ("number", "maximum", "sizes"), [(10, 10, [10]), (11, 10, [5, 6]), (7, 3, [2, 2, 3])]
)
def test_a_long_group_is_cut_into_about_equal_parts(build, number, maximum, sizes):
    rows = build([event(n, n) for n in range(number)], maximum_items=maximum)
    assert [len(part) for part in items(rows)] == sizes
    assert [item for part in items(rows) for item in part] == list(range(number))
    starts = [(row["started_at"].replace(tzinfo=UTC) - NOON).seconds // 60 for row in rows]
    assert starts == [part[0] for part in items(rows)]
    assert len({row["slate_id"] for row in rows}) == len(sizes)


def test_a_slate_shorter_than_two_is_none(build):
    assert build([event(1), event(1, 1), event(2, 60), event(3, 1, user="v")]) == []
    assert build([]) == []


def test_rows_and_ids_are_the_same_however_the_events_lie(build):
    events = [
        event(
            n % 7, (n * 37) % 400, n % 4 - 1, user=f"u{n % 5}", request="r" if n % 6 == 0 else None
        )
        for n in range(120)
    ]
    first = build(events, partitions=1)
    second = build(events[::-1], partitions=7)
    assert [str(row) for row in first] == [str(row) for row in second]
    assert len(first) > 10
