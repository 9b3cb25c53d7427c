"""The three sources on real data, as a deployment would meet it."""

from datetime import date, timedelta

import pytest

from feature_store.preset import load
from feature_store.settings import REPOSITORY, Settings
from feature_store.store import FeatureStore
from pipelines.config import PART
from pipelines.runner import run_job

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark"), pytest.mark.exhaustive]


@pytest.fixture
def run(spark, tmp_path):
    """Runs jobs for some days over data at `folder`; returns the last one's facts by day."""

    def days(preset, folder, *days, overrides=(), jobs=("build_items", "ingest_interactions")):
        settings = Settings(home=tmp_path / "home", data=folder)
        config = load(PART, preset, folder=REPOSITORY / "presets", overrides=overrides)
        found = {}
        for day in days:
            for name in jobs:
                found[day] = run_job(name, preset_config=config, settings=settings, day=day)
        return found, FeatureStore.open(settings, preset)

    return days


def test_movielens_100k_is_published_to_the_last_row(run, movielens_100k):
    first, second, last = date(1998, 4, 20), date(1998, 4, 21), date(1998, 4, 22)
    free = ("validation.strength_drift=2", "validation.volume_low_factor=0")
    facts, store = run("movielens-100k", movielens_100k.parent, first, second, last, overrides=free)
    assert [facts[day]["rows_in"] for day in (first, second, last)] == [99_344, 120, 536]
    assert sum(day["published"] for day in facts.values()) == 100_000
    assert sum(day["duplicates"] + day["quarantined"] for day in facts.values()) == 0
    assert facts[first]["days_touched"] == 211
    assert store.row_count("interactions", partition=date(1998, 4, 17)) == 696
    assert store.row_count("items") == 1682
    toy_story = next(r for r in store.read("items").to_pylist() if r["item_id"] == "1")
    assert toy_story["title"] == "Toy Story (1995)"
    assert toy_story["text"] == "Toy Story (1995). Animation, Children's, Comedy"


def test_kuairand_days_arrive_one_by_one_with_their_duplicates(run, shared_data):
    first = date(2022, 4, 25)
    days = [first + timedelta(days=number) for number in range(3)]
    facts, store = run("kuairand", shared_data, *days)
    accounts = [
        tuple(facts[day][k] for k in ("rows_in", "published", "duplicates", "quarantined"))
        for day in days
    ]
    # Published are the distinct (user_id, video_id, time_ms) of each file. Some of the second and
    # third file are in the file before, too, and are published in both.
    assert accounts == [
        (14_911, 14_655, 256, 0),
        (14_530, 14_148, 382, 0),
        (14_328, 13_805, 523, 0),
    ]
    # Rows of a file before its own UTC day: the files are cut at UTC+8.
    assert [facts[day]["late_rows"] for day in days] == [2452, 2234, 2250]
    assert store.partitions("interactions") == [first - timedelta(days=1), *days]
    rows = store.read("interactions", columns=["dwell_seconds", "signals", "strength"])
    sample = rows.slice(0, 1).to_pylist()[0]
    signals = dict(sample["signals"])
    assert sample["dwell_seconds"] == pytest.approx(float(signals["play_time_ms"]) / 1000)
    assert store.row_count("items") == 7583


def test_kuairands_user_days_become_slates_and_pairs(run, shared_data):
    day = date(2022, 4, 25)
    jobs = ("build_items", "ingest_interactions", "embed_items", "build_slates")
    facts, store = run("kuairand", shared_data, day, jobs=(*jobs, "build_preference_pairs"))
    # Counted in the file itself by `time_ms` at UTC+8; some rows of the file are of the day before.
    assert store.row_count("slates", partition=day) == 3_261
    slates = store.read("slates", partition=day)
    sizes = [len(items) for items in slates["item_indices"].to_pylist()]
    assert min(sizes) == 2 and max(sizes) <= 10
    assert set(slates["source"].to_pylist()) == {"day"}
    made = facts[day]["pairs_made"]
    # Counted in the file, too, but for items that were shown at the same moment around a cut.
    assert made["diversity"] == pytest.approx(1_171, abs=2)
    # Of those, what was chosen is of one strength in more than half: no order to learn.
    chosen = [{s for s in row if s >= 1} for row in slates["strengths"].to_pylist()]
    assert made["ranking"] == pytest.approx(sum(len(row) > 1 for row in chosen), abs=2)
    assert made["interest"] == pytest.approx(1_742, abs=5)
    assert facts[day]["anchors_stood_in_for"] == 0


def test_amazon_office_comes_through_the_table_adapter(run, shared_data):
    day = date(2014, 7, 23)
    facts, store = run("amazon-office", shared_data, day)
    account = facts[day]
    assert (account["rows_in"], account["published"]) == (53_258, 53_258)
    assert store.row_count("items") == 2420
    texts = store.read("items", columns=["title", "text"]).to_pylist()
    assert sum(row["title"] is not None for row in texts) > 2400


def test_kuairands_user_days_become_lists_of_four_tiers(run, shared_data):
    day = date(2022, 4, 25)
    jobs = ("build_items", "ingest_interactions", "build_slates", "build_preference_lists")
    facts, store = run("kuairand", shared_data, day, jobs=jobs)
    assert facts[day]["lists_made"] == store.row_count("slates")
    # Slates have at most 10 items, of which a tier keeps 8.
    strengths = store.read("slates")["strengths"].to_pylist()
    tiers = [[3 - (s >= 1) - (s >= 2) for s in row] for row in strengths]
    for tier in (1, 2, 3):
        kept = sum(min(row.count(tier), 8) for row in tiers)
        assert facts[day]["items_by_tier"][f"{tier}"] == kept > 0
    assert facts[day]["items_cut"] == sum(
        max(row.count(t) - 8, 0) for row in tiers for t in (1, 2, 3)
    )
    assert facts[day]["items_by_tier"]["4"] == 16 * len(tiers)
    assert facts[day]["pseudo_exposures_missing"] == 0
