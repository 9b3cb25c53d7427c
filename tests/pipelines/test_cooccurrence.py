"""Slates → co-occurrence, and its job."""

from datetime import UTC, date, datetime
from math import nan, sqrt

import pytest

from feature_store.tables.item_cooccurrence import ITEM_COOCCURRENCE
from feature_store.tables.slates import SLATES
from pipelines.config import Cooccurrence
from pipelines.errors import DataRefused
from pipelines.schema import conform, spark_schema
from pipelines.transforms.cooccurrence import count_cooccurrence
from tests.pipelines.slate_world import World, at, events

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

DAY = date(2024, 5, 7)
NOON = datetime(2024, 5, 7, 12, tzinfo=UTC)


@pytest.fixture
def count(spark):
    """(item, other) → (together, score) of slates given as {item: strength}."""

    def count(*slates, partitions=2, **config):
        rows = [
            (DAY, f"s{n}", "u", NOON, NOON, list(slate), list(slate.values()),
             [nan] * len(slate), "day")
            for n, slate in enumerate(slates)
        ]  # fmt: skip
        frame = spark.createDataFrame(rows, spark_schema(SLATES)).repartition(partitions)
        found = count_cooccurrence(frame, Cooccurrence.model_validate(config), day=DAY)
        return {
            (row["item_index"], row["other_index"]): (row["together"], row["score"])
            for row in conform(found, ITEM_COOCCURRENCE).collect()
        }

    return count


def test_pairs_engaged_with_in_the_same_slate_are_counted_both_ways(count):
    found = count({1: 1, 2: 2, 3: 0}, {1: 3, 2: 1}, {2: 1, 4: -1}, {1: 1, 4: 1})
    assert found == {
        (1, 2): (2, pytest.approx(2 / 3)),
        (2, 1): (2, pytest.approx(2 / 3)),
        (1, 4): (1, pytest.approx(1 / sqrt(3))),
        (4, 1): (1, pytest.approx(1 / sqrt(3))),
    }


def test_the_best_neighbours_are_kept_and_ties_go_to_the_lower_index(count):
    slates = [{1: 1, 5: 1}, {1: 1, 5: 1}, {1: 1, 4: 1}, {1: 1, 3: 1}]
    found = count(*slates, neighbours=2)
    assert [pair for pair in sorted(found) if pair[0] == 1] == [(1, 3), (1, 5)]
    assert (4, 1) in found
    assert set(count(*slates, minimum_together=2)) == {(1, 5), (5, 1)}


def test_of_a_long_slate_the_strongest_count(count):
    found = count({1: 1, 2: 3, 3: 1, 4: 2}, maximum_items=3)
    assert set(found) == {(1, 2), (2, 1), (1, 4), (4, 1), (2, 4), (4, 2)}
    assert set(count({1: 1, 2: 3, 4: 2}, positive_strength=2)) == {(2, 4), (4, 2)}


def test_it_is_the_same_however_the_slates_lie(count):
    slates = [{(n * k) % 11: k % 3 for k in range(1, 7)} for n in range(1, 40)]
    assert count(*slates, partitions=1) == count(*slates[::-1], partitions=6)
    assert count({1: 1}) == {}


def test_the_job_counts_the_last_days_and_a_rerun_changes_nothing(spark, settings):
    world = World(settings, {"cooccurrence": {"days": 2, "neighbours": 5}})
    world.publish_items()
    # Of five days the last is held out, the one before it validates: weights see three.
    world.publish_events(events(days=5))
    for step in ("build_user_sequences", "build_slates"):
        world.run(step, 5)
    facts = world.run("build_item_cooccurrence", 5)
    assert facts["days_counted"] == 2
    engaged = [
        {i for i, s in zip(row["item_indices"], row["strengths"], strict=True) if s >= 1}
        for number in (2, 3)
        for row in world.rows("slates", number)
    ]
    rows = world.rows("item_cooccurrence", 5)
    assert rows
    for row in rows:
        both = sum({row["item_index"], row["other_index"]} <= items for items in engaged)
        assert row["together"] == both
    assert world.run("build_item_cooccurrence", 5)["status"] == "unchanged"


def test_the_job_is_refused_without_slates_and_publishes_none_of_an_empty_day(spark, settings):
    world = World(settings)
    world.publish_items()
    with pytest.raises(DataRefused, match="there are no slates; run build_slates"):
        world.run("build_item_cooccurrence", 1)
    world.publish_events([("u", 1, at(1), 1)])
    world.run("build_slates", 1)
    assert world.run("build_item_cooccurrence", 1)["rows"] == 0
    assert world.store.partitions("item_cooccurrence") == []
