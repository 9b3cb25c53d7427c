"""The job: which days it reads and builds, what it counts, what it refuses."""

import pytest

from feature_store.settings import Settings
from pipelines.errors import DataRefused
from tests.pipelines.slate_world import World, at, day, events

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

EVENTS = events(days=4)


@pytest.fixture
def world(spark, settings):
    world = World(settings, {"slates": {"utc_offset_hours": 8, "maximum_items": 4}})
    world.publish_items()
    return world


def until(number):
    return [row for row in EVENTS if row[2].date() <= day(number)]


def test_the_first_run_builds_all_days_and_the_next_one_its_own(world, tmp_path):
    world.publish_events(until(3))
    facts = world.run("build_slates", 3)
    assert (facts["days_built"], facts["days_read"]) == (3, 4)
    assert facts["groups"] > facts["groups_shorter_than_2"] > 0 < facts["groups_cut"]
    world.publish_events([row for row in EVENTS if row[2].date() == day(4)])
    facts = world.run("build_slates", 4)
    assert (facts["days_built"], facts["days_read"]) == (1, 2)
    stepwise = world.hashes("slates")

    at_once = World(Settings(home=tmp_path / "other"), world.sections)
    at_once.publish_items()
    at_once.publish_events(EVENTS)
    assert at_once.run("build_slates", 4)["days_built"] == 4
    assert at_once.hashes("slates") == stepwise
    assert set(stepwise) == {day(1), day(2), day(3), day(4)}


def test_a_run_sees_nothing_of_its_days_end_and_a_rerun_changes_nothing(world):
    world.publish_events(EVENTS)
    world.run("build_slates", 3)
    assert max(row["ended_at"] for row in world.rows("slates", 3)) < at(3, 16 * 60)
    assert world.store.partitions("slates")[-1] == day(3)
    again = world.run("build_slates", 3)
    assert (again["status"], again["days_built"]) == ("unchanged", 1)


def test_a_day_that_was_left_out_is_built_with_the_next(world):
    world.publish_events(EVENTS)
    world.run("build_slates", 1)
    assert world.run("build_slates", 4)["days_built"] == 3
    assert world.store.partitions("slates") == [day(1), day(2), day(3), day(4)]


def test_a_day_without_events_has_no_slates_and_is_no_failure(world):
    world.publish_events([("u", 1, at(1), 1), ("u", 2, at(1, 1), 0)])
    assert world.run("build_slates", 1)["rows"] == 1
    facts = world.run("build_slates", 2)
    assert (facts["rows"], facts["groups"], facts["groups_shorter_than_2"]) == (0, 0, 0)
    only_short = ("v", 3, at(3), 1)
    world.publish_events([only_short])
    facts = world.run("build_slates", 3)
    assert (facts["rows"], facts["groups_shorter_than_2"]) == (0, 1)


def test_events_of_unknown_items_refuse_the_day(world):
    world.publish_events([("u", 1, at(1), 1), ("u", 99, at(1, 1), 1), ("u", 98, at(1, 2), 0)])
    with pytest.raises(DataRefused, match="2 events are of items that `items` doesn't have"):
        world.run("build_slates", 1)
    assert world.store.partitions("slates") == []


def test_without_events_the_day_is_refused(world):
    with pytest.raises(DataRefused, match="interactions was never published; run ingest"):
        world.run("build_slates", 1)
