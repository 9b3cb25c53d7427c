"""The job: from slates and the catalogue to published lists, counted and audited."""

from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner

from feature_store.arrow import arrow_schema
from feature_store.settings import Settings
from feature_store.tables.preference_lists import PREFERENCE_LISTS
from pipelines.config import PreferenceLists
from pipelines.errors import DataRefused
from pipelines.schema import conform, spark_schema
from pipelines.submit import step
from pipelines.transforms.listed_items import TableFiles
from pipelines.transforms.preference_lists import made, tiered
from pipelines.transforms.tiers import NOTHING_TO_DRAW, ONE_TIER
from pipelines.unchanged import unchanged
from tests.pipelines.slate_world import World, at, day, events

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

EVENTS = events(days=3, seed=5)
SECTIONS = {"slates": {"maximum_items": 6}, "preference_lists": {"pseudo_exposures": 5}}
TIER = {3: 1, 2: 1, 1: 2, 0: 3, -1: 3}


@pytest.fixture
def world(spark, settings):
    world = World(settings, SECTIONS)
    world.publish_items()
    return world


def slates_of(world, rows, number=1):
    world.publish_events(rows)
    world.run("build_slates", number)


def test_every_slate_becomes_a_list_and_the_account_adds_up(world):
    slates_of(world, EVENTS, 3)
    facts = world.run("build_preference_lists", 3)
    assert facts["days_built"] == 3
    assert facts["lists_made"] == facts["rows"] == world.store.row_count("slates")
    assert facts["lists_not_made"] == {ONE_TIER: 0, NOTHING_TO_DRAW: 0}
    rows = [row for n in (1, 2, 3) for row in world.rows("preference_lists", n)]
    tiers = [tier for row in rows for tier in row["tiers"]]
    assert facts["items_by_tier"] == {f"{n}": tiers.count(n) for n in (1, 2, 3, 4)}
    assert min(facts["items_by_tier"].values()) > 0
    assert facts["pseudo_exposures_missing"] == 5 * len(rows) - tiers.count(4)
    slates = {row["slate_id"]: row for n in (1, 2, 3) for row in world.rows("slates", n)}
    for row in rows:
        slate = slates[row["slate_id"]]
        assert row["context_until"] == slate["started_at"]
        assert row["ended_at"] == slate["ended_at"]
        of = dict(zip(slate["item_indices"], slate["strengths"], strict=True))
        shown = [
            (item, tier)
            for item, tier in zip(row["item_indices"], row["tiers"], strict=True)
            if tier < 4
        ]
        assert {item: TIER[of[item]] for item in of} == dict(shown)


def test_an_item_that_a_session_has_twice_counts_once_with_its_best(world):
    world.sections = {"preference_lists": {"pseudo_exposures": 0}}
    twice = [("u", 7, at(1, 0), 0), ("u", 8, at(1, 1), 1), ("u", 7, at(1, 2), 3)]
    slates_of(world, [*twice, *(("v", n, at(1, n), 2) for n in range(10))])
    facts = world.run("build_preference_lists", 1)
    assert facts["lists_not_made"][ONE_TIER] == 1
    [row] = world.rows("preference_lists", 1)
    assert (row["item_indices"], row["tiers"]) == ([7, 8], [1, 2])


def test_what_is_cut_and_what_a_small_catalogue_lacks_is_counted(spark, settings):
    world = World(settings, {"preference_lists": {"most_per_tier": 2}})
    world.publish_items(6)
    slates_of(world, [("u", n, at(1, n), 1) for n in range(4)])
    facts = world.run("build_preference_lists", 1)
    assert (facts["items_cut"], facts["pseudo_exposures_missing"]) == (2, 14)
    [row] = world.rows("preference_lists", 1)
    assert sorted(row["item_indices"][2:]) == [4, 5] and row["tiers"] == [2, 2, 4, 4]


BEAMS = {
    "slates": {"maximum_items": 6},
    "preference_lists": {"pseudo_exposures": 5, "pseudo_exposures_from": "beams"},
}


def publish_beams(world, number, *, until=None, every=2):
    """A beam of items 0 to 29 for every second slate of a day, as `sample_beams` writes them."""
    slates = [row for n, row in enumerate(world.rows("slates", number)) if n % every == 0]
    rows = {
        **{name: [row[name] for row in slates] for name in ("day", "slate_id", "user_id")},
        "context_until": [row["started_at"] for row in slates],
        "item_indices": [list(range(30))] * len(slates),
        "scores": [[-float(n) for n in range(30)]] * len(slates),
        **dict.fromkeys(("model_family", "bundle_digest", "generation"), ["x"] * len(slates)),
        "weights_until": [until or at(number)] * len(slates),
    }
    schema = arrow_schema(world.store.contract("sampled_beams"))
    world.publish("sampled_beams", pa.table(rows, schema=schema), day(number))
    return {row["slate_id"]: row for row in slates}


def test_beams_of_a_day_are_in_its_lists_once_the_next_day_is_built(spark, settings):
    world = World(settings, BEAMS)
    world.publish_items()
    world.publish_events(EVENTS)
    for number in (1, 2):
        world.run("build_slates", number)
    first = world.run("build_preference_lists", 1)
    assert (first["lists_of_beams"], first["lists_of_drawn_items"]) == (0, first["lists_made"])
    before = world.rows("preference_lists", 1)
    beams = publish_beams(world, 1)
    again = unchanged("build_preference_lists", world.config, world.settings, day(1))
    assert again is not None, "its own night again"

    second = world.run("build_preference_lists", 2)
    assert second["days_built"] == 2 and second["lists_of_beams"] == len(beams) > 10
    for row, drawn in zip(world.rows("preference_lists", 1), before, strict=True):
        if row["slate_id"] not in beams:
            assert row == drawn
            continue
        shown = set(beams[row["slate_id"]]["item_indices"])
        items = [i for i, t in zip(row["item_indices"], row["tiers"], strict=True) if t == 4]
        assert items == sorted(items) and max(items) < 30 and not shown & set(items)
    hashes = world.hashes("preference_lists")
    assert world.run("build_preference_lists", 2)["status"] == "unchanged"
    world.run("build_preference_lists", 1)
    assert world.hashes("preference_lists") == hashes, "an old day again"


def test_a_beam_of_weights_that_know_of_its_slate_fails_the_run(spark, settings):
    world = World(settings, BEAMS)
    world.publish_items()
    world.publish_events(EVENTS)
    for number in (1, 2):
        world.run("build_slates", number)
    world.run("build_preference_lists", 1)
    hashes = world.hashes("preference_lists")
    beams = publish_beams(world, 1, until=at(2))
    with pytest.raises(DataRefused, match=f"{len(beams)} lists: the slate's beam is of weights"):
        world.run("build_preference_lists", 2)
    assert world.hashes("preference_lists") == hashes


@pytest.mark.exhaustive
def test_days_one_by_one_and_all_at_once_are_the_same_rows(world, tmp_path):
    at_once = World(Settings(home=tmp_path / "other"), SECTIONS)
    at_once.publish_items()
    slates_of(at_once, EVENTS, 3)
    assert at_once.run("build_preference_lists", 3)["days_built"] == 3
    world.publish_events(EVENTS)
    for number in (1, 2, 3):
        world.run("build_slates", number)
        assert world.run("build_preference_lists", number)["days_built"] == 1
    assert world.hashes("preference_lists") == at_once.hashes("preference_lists")
    world.publish_items(50, first_days=[day(1)] * 40 + [day(5)] * 10)
    assert world.run("build_preference_lists", 3)["status"] == "unchanged"


def test_rows_follow_from_the_seed_however_the_input_is_partitioned(world, spark):
    slates_of(world, EVENTS, 3)
    items = TableFiles(world.store.folder("items"), tuple(world.store.files("items")))
    slates = spark.read.schema(spark_schema(world.store.contract("slates"))).parquet(
        *world.store.files("slates")
    )
    publish_beams(world, 2)
    beams = spark.read.parquet(*world.store.files("sampled_beams"))
    found = []
    for partitions, rows_at_once, seed in ((1, 7, 0), (5, 10_000, 0), (1, 10_000, 1)):
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", rows_at_once)
        frame = slates.repartition(partitions)
        config = PreferenceLists(seed=seed)
        asked = beams.repartition(6 - partitions)
        lists = made(tiered(frame, items, config, days=(day(1), day(3)), beams=asked))
        found.append(sorted(map(tuple, conform(lists, PREFERENCE_LISTS).collect())))
    spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    assert found[0] == found[1] != found[2] and len(found[0]) == world.store.row_count("slates")


def test_without_pseudo_exposures_only_the_days_slates_are_read(world):
    world.sections = {**SECTIONS, "preference_lists": {"pseudo_exposures": 0}}
    slates_of(world, EVENTS, 3)
    facts = world.run("build_preference_lists", 3)
    assert facts["items_by_tier"]["4"] == facts["pseudo_exposures_missing"] == 0
    assert facts["lists_made"] + facts["lists_not_made"][ONE_TIER] == world.store.row_count(
        "slates"
    )


def test_without_slates_the_day_is_refused(world):
    with pytest.raises(DataRefused, match="slates was never published; run build_slates"):
        world.run("build_preference_lists", 1)


def test_a_day_without_slates_has_no_lists_and_is_no_failure(world):
    slates_of(world, [("u", 1, at(1), 1)])
    facts = world.run("build_preference_lists", 1)
    assert (facts["rows"], facts["lists_made"]) == (0, 0)


def test_corrupted_slates_fail_the_audit_and_the_command_exits_3(world, monkeypatch, tmp_path):
    slates_of(world, EVENTS, 3)
    world.run("build_preference_lists", 2)
    before = world.hashes("preference_lists")
    rows = world.store.read("slates", partition=day(3))
    wrong = pc.subtract(rows["started_at"], pa.scalar(timedelta(hours=1)))
    place = rows.column_names.index("ended_at")
    world.publish("slates", rows.set_column(place, "ended_at", wrong), day(3))

    monkeypatch.setenv("SIDEREAL_HOME", str(world.settings.home))
    preset = tmp_path / "t.yaml"
    preset.write_text(world.config.model_dump_json())
    arguments = ["build_preference_lists", "--preset", str(preset), "--day", "2024-01-03"]
    refused = CliRunner().invoke(step, arguments)
    assert refused.exit_code == 3, refused.output
    assert "the audit refused the preference lists" in refused.stderr
    assert "the slate ends before it starts" in refused.stderr
    assert world.hashes("preference_lists") == before
