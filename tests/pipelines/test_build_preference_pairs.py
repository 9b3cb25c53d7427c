"""The job: from slates and embeddings to published pairs, counted and audited."""

from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner

from feature_store.settings import Settings
from pipelines.errors import DataRefused
from pipelines.submit import step
from pipelines.transforms.preferences import (
    FEW_SIMILAR,
    NO_EMBEDDING,
    REASONS,
    SIMILAR_IN_SLATE,
)
from tests.pipelines.slate_world import World, at, day, events

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

EVENTS = events(days=3, seed=5)
SECTIONS = {"slates": {"maximum_items": 6}, "preferences": {"pairs_per_context": 6}}


@pytest.fixture
def world(spark, settings):
    world = World(settings, SECTIONS)
    world.publish_items()
    world.publish_embeddings()
    return world


def slates_of(world, rows, number=1):
    world.publish_events(rows)
    world.run("build_slates", number)


def test_pairs_of_every_kind_are_made_and_every_other_has_its_reason(world):
    slates_of(world, EVENTS, 3)
    facts = world.run("build_preference_pairs", 3)
    made, not_made = facts["pairs_made"], facts["pairs_not_made"]
    assert all(made[kind] > 10 for kind in REASONS)
    assert facts["rows"] == sum(made.values())
    asked = sum(made.values()) + sum(sum(reasons.values()) for reasons in not_made.values())
    assert asked == 6 * world.store.row_count("slates")
    assert facts["days_built"] == 3
    slates = {row["slate_id"]: row for n in (1, 2, 3) for row in world.rows("slates", n)}
    for pair in world.rows("preference_pairs", 3):
        slate = slates[pair["slate_id"]]
        assert pair["context_until"] == slate["started_at"]
        assert pair["newest_source"] <= slate["ended_at"]
        assert set(pair["chosen"]) <= set(slate["item_indices"])
        assert len(pair["chosen"]) == len(pair["rejected"]) == len(set(pair["rejected"]))


@pytest.mark.exhaustive
def test_days_one_by_one_and_all_at_once_are_the_same_rows(world, tmp_path):
    at_once = World(Settings(home=tmp_path / "other"), SECTIONS)
    at_once.publish_items()
    at_once.publish_embeddings()
    slates_of(at_once, EVENTS, 3)
    assert at_once.run("build_preference_pairs", 3)["days_built"] == 3
    world.publish_events(EVENTS)
    for number in (1, 2, 3):
        world.run("build_slates", number)
        assert world.run("build_preference_pairs", number)["days_built"] == 1
    assert world.hashes("preference_pairs") == at_once.hashes("preference_pairs")
    assert world.run("build_preference_pairs", 2)["status"] == "unchanged"


@pytest.mark.exhaustive
def test_items_that_came_later_make_no_difference_to_a_day_run_again(world):
    slates_of(world, EVENTS, 3)
    world.run("build_preference_pairs", 3)
    world.publish_items(50, first_days=[day(1)] * 40 + [day(5)] * 10)
    world.publish_embeddings(50)
    first = world.rows("preference_pairs", 3)
    assert world.run("build_preference_pairs", 3)["status"] == "unchanged"
    assert world.rows("preference_pairs", 3) == first


def test_items_without_embeddings_are_stood_in_for_and_counted(world):
    world.sections = {**SECTIONS, "preferences": {"pairs_per_context": 1, "ranking": 0,
                                                  "interest": 0}}  # fmt: skip
    world.publish_embeddings(without={1, 2, 3, 4})
    slates_of(
        world,
        [
            *(("u", 1, at(1, 0), 3), ("u", 5, at(1, 1), 1)),
            *(("v", 2, at(1, 0), 1), ("v", 3, at(1, 1), 1)),
        ],
    )
    facts = world.run("build_preference_pairs", 1)
    assert facts["pairs_made"]["diversity"] == 1
    assert facts["anchors_stood_in_for"] == 1
    assert facts["pairs_not_made"]["diversity"][NO_EMBEDDING] == 1
    [pair] = world.rows("preference_pairs", 1)
    assert pair["chosen"] == [1, 5] and pair["rejected"][0] == 5
    assert "stands in for 1 without an embedding" in pair["source"]


@pytest.mark.exhaustive
def test_a_catalogue_of_three_items_gives_what_it_can(spark, settings):
    world = World(settings, SECTIONS)
    world.publish_items(3)
    world.publish_embeddings(3)
    slates_of(
        world,
        [
            *(("u", n, at(1, n), strength) for n, strength in enumerate((1, 2, 0))),
            *(("v", n, at(1, n), 1) for n in range(3)),
        ],
    )
    facts = world.run("build_preference_pairs", 1)
    assert facts["pairs_made"]["interest"] == 2
    assert facts["pairs_made"]["diversity"] == 0
    reasons = facts["pairs_not_made"]["diversity"]
    assert reasons[SIMILAR_IN_SLATE] + reasons[FEW_SIMILAR] > 0


def test_without_any_embedding_the_day_is_refused_unless_none_is_asked_for(spark, settings):
    world = World(settings, SECTIONS)
    world.publish_items()
    slates_of(world, EVENTS, 3)
    with pytest.raises(DataRefused, match="run embed_items for that day first"):
        world.run("build_preference_pairs", 3)
    world.sections = {**SECTIONS, "preferences": {"diversity": 0}}
    assert set(world.run("build_preference_pairs", 3)["inputs"]) == {"slates", "items"}


def test_without_slates_the_day_is_refused(world):
    with pytest.raises(DataRefused, match="slates was never published; run build_slates"):
        world.run("build_preference_pairs", 1)


def test_a_day_without_slates_has_no_pairs_and_is_no_failure(world):
    slates_of(world, [("u", 1, at(1), 1)])
    facts = world.run("build_preference_pairs", 1)
    assert (facts["rows"], sum(facts["pairs_made"].values())) == (0, 0)


def test_corrupted_slates_fail_the_audit_and_the_command_exits_3(world, monkeypatch, tmp_path):
    slates_of(world, EVENTS, 3)
    world.run("build_preference_pairs", 2)
    before = world.hashes("preference_pairs")
    rows = world.store.read("slates", partition=day(3))
    wrong = pc.subtract(rows["started_at"], pa.scalar(timedelta(hours=1)))
    place = rows.column_names.index("ended_at")
    world.publish("slates", rows.set_column(place, "ended_at", wrong), day(3))

    monkeypatch.setenv("SIDEREAL_HOME", str(world.settings.home))
    preset = tmp_path / "t.yaml"
    preset.write_text(world.config.model_dump_json())
    arguments = ["build_preference_pairs", "--preset", str(preset), "--day", "2024-01-03"]
    refused = CliRunner().invoke(step, arguments)
    assert refused.exit_code == 3, refused.output
    assert "the audit refused the preference pairs" in refused.stderr
    assert "the slate ends before it starts" in refused.stderr
    assert world.hashes("preference_pairs") == before
