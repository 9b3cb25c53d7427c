"""What a delivery says now, in place of what it said before."""

import json
import random
from datetime import UTC, date, datetime, timedelta

import pytest
from pyspark.sql import functions as F

from feature_store.tables.interactions import INTERACTIONS
from pipelines.schema import conform, spark_schema
from pipelines.transforms.redelivery import LOG, holds, merge_deliveries

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]
DAY, NEXT = date(2024, 3, 10), date(2024, 3, 11)


def said(user="u1", *, by=DAY, also=None, **changes):
    """A row of `interactions` of `DAY`, as the delivery of `by` says it."""
    row = {
        "day": DAY,
        "user_id": user,
        "item_id": "i1",
        "event_time": datetime(2024, 3, 10, 12, tzinfo=UTC),
        "request_id": None,
        "position": None,
        "signals": {},
        "strength": 1,
        "dwell_seconds": None,
        "source_file": f"{by}.csv",
        "tie_order": 7,
        "delivery_day": by,
        "also_delivered": also or {},
    }
    return tuple((row | changes).values())


def merged(spark, fresh, published=(), *, replaced=None, **how):
    """Rows by user, after the delivery of `DAY` was read as `fresh`."""
    frames = [spark.createDataFrame(list(rows), spark_schema(INTERACTIONS)) for rows in (
        fresh, published)]  # fmt: skip
    which = F.col("delivery_day") == DAY if replaced is None else replaced
    made = merge_deliveries(*frames, replaced=which, **how)
    assert conform(made.drop("_fate", "_copies"), INTERACTIONS).columns
    return {(row.user_id, row.position): row for row in made.collect()}


def test_of_a_deliverys_rows_with_one_key_the_strongest_then_the_longest_counts(spark):
    fresh = [
        said("strength", strength=3, dwell_seconds=1.0),
        said("strength", strength=2, dwell_seconds=9.0),
        said("dwell", dwell_seconds=2.0),
        said("dwell", dwell_seconds=None),
        said("tie", source_file="b.csv"),
        said("tie", source_file="a.csv", tie_order=9),
        said("tie", source_file="a.csv", tie_order=8),
        said("place", position=0),
        said("place", position=1),
    ]
    for rows in (fresh, fresh[::-1]):
        for how in ({}, {"buckets": 3}, {"is_alone": True}, {"is_alone": True, "by_day": True}):
            rows_by_event = merged(spark, rows, **how)
            assert len(rows_by_event) == 5
            assert {row["_fate"] for row in rows_by_event.values()} == {"added"}
            assert rows_by_event["strength", None].strength == 3
            assert rows_by_event["dwell", None].dwell_seconds == 2.0
            assert rows_by_event["tie", None].source_file == "a.csv"
            assert rows_by_event["tie", None].tie_order == 8
            assert rows_by_event["tie", None]["_copies"] == 3


def test_a_delivery_says_anew_what_it_said_before(spark):
    published = [
        said("same"),
        said("corrected", strength=3),
        said("withdrawn"),
        said("of another day", by=NEXT),
    ]
    fresh = [said("same"), said("corrected", strength=0), said("new")]
    rows = merged(spark, fresh, published)
    assert {user: row["_fate"] for (user, _), row in rows.items()} == {
        "same": "unchanged",
        "corrected": "corrected",
        "withdrawn": "withdrawn",
        "of another day": "kept",
        "new": "added",
    }
    assert rows["corrected", None].strength == 0


def test_the_last_days_delivery_stands_and_the_others_are_kept_behind_it(spark):
    early = merged(spark, [said(strength=3)], [said(by=NEXT, strength=1)])["u1", None]
    late = merged(
        spark,
        [said(by=NEXT, strength=1)],
        [said(strength=3)],
        replaced=F.col("delivery_day") == NEXT,
    )["u1", None]
    for row in (early, late):
        assert (row.delivery_day, row.strength, row.source_file) == (NEXT, 1, f"{NEXT}.csv")
        assert {day: json.loads(text) for day, text in row.also_delivered.items()} == {
            str(DAY): {"source_file": f"{DAY}.csv", "tie_order": 7, "signals": {}, "strength": 3}
        }
    assert (early["_fate"], late["_fate"]) == ("unchanged", "corrected")


def test_an_event_outlives_the_delivery_that_no_longer_holds_it(spark):
    (standing,) = merged(spark, [said(strength=3)], [said(by=NEXT, strength=1)]).values()
    published = [tuple(standing)[: len(INTERACTIONS.columns)]]
    of_next = F.col("delivery_day") == NEXT
    (row,) = merged(spark, [], published, replaced=of_next).values()
    assert (row["_fate"], row["_copies"]) == ("kept", 0)
    assert (row.delivery_day, row.strength, row.also_delivered) == (DAY, 3, {})
    (row,) = merged(spark, [], published, replaced=F.col("delivery_day") == DAY).values()
    assert (row["_fate"], row.delivery_day, row.also_delivered) == ("kept", NEXT, {})
    (row,) = merged(spark, [], published, replaced=F.lit(True)).values()
    assert row["_fate"] == "withdrawn"


def test_a_log_stands_behind_every_days_delivery(spark):
    row = merged(spark, [said(by=None, strength=3)], [said()], replaced=F.lit(False))["u1", None]
    assert row.delivery_day == DAY
    assert list(row.also_delivered) == [LOG]
    frame = spark.createDataFrame(
        [tuple(row)[: len(INTERACTIONS.columns)]], spark_schema(INTERACTIONS)
    )
    assert frame.where(holds((LOG,))).count() == 1
    assert frame.where(holds((str(DAY), str(NEXT)))).count() == 1
    assert frame.where(holds((str(NEXT),))).count() == 0


NUM_SCENARIOS, NUM_STEPS = 60, 6


def random_deliveries(generator):
    """Steps of a scenario: each delivers one of three days, anew or again, in any order."""
    events = [f"e{number}" for number in range(5)]
    return [
        (
            DAY + timedelta(days=generator.randrange(3)),
            [
                (event, generator.choice((-1, 0, 1, 2, 3)), generator.choice((None, 1.5, 2.5)))
                for event in generator.choices(events, k=generator.randrange(6))
            ],
        )
        for _ in range(NUM_STEPS)
    ]


def stated_meaning(steps):
    """What stands in the end, the slow way: of each event the last day's best row."""
    last = dict(steps)  # a day's last delivery is what it says
    stands = {}
    for day in sorted(last):
        best = {}
        for event, strength, dwell in last[day]:
            rank = (strength, -1.0 if dwell is None else dwell)
            best[event] = max(best.get(event, rank), rank)
        stands |= {event: (day, *rank) for event, rank in best.items()}
    return stands


def test_any_order_of_deliveries_and_redeliveries_ends_in_what_was_said_last(spark):
    generator = random.Random(12)
    scenarios = {f"s{n}": random_deliveries(generator) for n in range(NUM_SCENARIOS)}
    schema, rows = spark_schema(INTERACTIONS), []
    for step in range(NUM_STEPS):
        fresh = [
            said(f"{name}-{event}", by=steps[step][0], strength=strength, dwell_seconds=dwell)
            for name, steps in scenarios.items()
            for event, strength, dwell in steps[step][1]
        ]
        delivered = F.create_map(
            *(F.lit(x) for name, steps in scenarios.items() for x in (name, steps[step][0]))
        )
        scenario = F.substring_index("user_id", "-", 1)
        made = merge_deliveries(
            spark.createDataFrame(fresh, schema),
            spark.createDataFrame(rows, schema),
            replaced=F.col("delivery_day") == F.element_at(delivered, scenario),
        ).where("_fate <> 'withdrawn'")
        rows = [tuple(row)[: len(INTERACTIONS.columns)] for row in made.collect()]
    found = {}
    for row in rows:
        name, _, event = row[1].partition("-")
        dwell = -1.0 if row[8] is None else row[8]
        found.setdefault(name, {})[event] = (row[11], row[7], dwell)
    assert found == {
        name: stands for name, steps in scenarios.items() if (stands := stated_meaning(steps))
    }


def test_no_rows_make_no_rows(spark):
    assert merged(spark, []) == {}
