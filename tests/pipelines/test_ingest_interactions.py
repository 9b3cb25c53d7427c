"""ingest_interactions as a whole: what is published, when, and what a rerun changes."""

from datetime import date, timedelta

import pytest

from feature_store.run_record import read_steps
from feature_store.store import FeatureStore
from pipelines.config import Validation
from pipelines.errors import DataRefused, RowsUnaccounted
from pipelines.jobs.ingest_interactions import Tally, balance, excess
from pipelines.runner import run_job
from tests.pipelines.raw_worlds import (
    DAY,
    good_rows,
    table_config,
    write_catalogue,
    write_csv,
)

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]
BEFORE, AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)


@pytest.fixture
def deliver(spark, settings):
    """Writes a day's log and ingests it, after build_items wherever that has something to do."""
    write_catalogue(settings.data_path)
    catalogued = []

    def run(day, rows, **sections):
        if rows is not None:
            write_csv(settings.data_path / "log" / f"{day}.csv", rows)
        config = table_config(**sections)
        if sections or not catalogued:
            run_job("build_items", preset_config=config, settings=settings, day=day)
            catalogued.append(day)
        return run_job("ingest_interactions", preset_config=config, settings=settings, day=day)

    return run


@pytest.fixture
def store(settings):
    return FeatureStore.open(settings, "own")


def account(facts):
    return tuple(facts[k] for k in ("rows_in", "published", "duplicates", "quarantined"))


def test_days_are_published_once_late_rows_in_their_own_day_and_a_rerun_changes_nothing(
    deliver, store, settings
):
    late = ("u1", "a", f"{BEFORE} 23:59:59", 1, 1)
    again = good_rows(4)
    first = deliver(BEFORE, good_rows(day=BEFORE))
    second = deliver(DAY, [*good_rows(), late, *again, ("u1", "zzz", f"{DAY} 10:00:00", 1, 1)])
    assert (first["bootstrap"], account(first)) == (True, (40, 40, 0, 0))
    assert (second["bootstrap"], account(second)) == (False, (46, 41, 4, 1))
    assert second["late_rows"] == 1
    assert second["reasons"] == {"item_id is not in the catalogue": 1}
    assert store.partitions("interactions") == [BEFORE, DAY]
    assert store.row_count("interactions", partition=BEFORE) == 41
    (refused,) = store.read("quarantine").to_pylist()
    assert refused["raw"] == f"u1,zzz,{DAY} 10:00:00,1,1"
    assert (refused["source_file"], refused["line"]) == (f"{DAY}.csv", 45)

    hashes = {name: store.content_hash(name) for name in ("interactions", "quarantine", "items")}
    rerun = deliver(DAY, None)
    bootstrap = deliver(BEFORE, None)
    assert (rerun["status"], bootstrap["status"]) == ("unchanged", "unchanged")
    assert account(rerun) == (46, 0, 45, 1)
    assert account(bootstrap) == (40, 0, 40, 0)
    assert {name: store.content_hash(name) for name in hashes} == hashes

    record = read_steps(settings.runs_of("own"), DAY)["ingest_interactions"]
    assert {k: record[k] for k in ("step", "day", "preset", "table", "changed")} == {
        "step": "ingest_interactions",
        "day": DAY.isoformat(),
        "preset": "own",
        "table": "interactions",
        "changed": False,
    }
    assert record["inputs"]["interactions"] == store.snapshot_id("interactions")
    assert 0 < record["validation"]["share"] < 1
    assert record["validation"]["success"]
    raw = store.lineage("interactions")["inputs"]["raw_files"]
    assert [file.rpartition("/")[2] for file in raw] == [f"{DAY}.csv"]
    assert store.lineage("items")["inputs"]["raw_files"] == ["items.csv"]


def test_the_same_delivery_under_another_name_is_all_duplicates(deliver, store, settings):
    deliver(DAY, good_rows())
    published = store.content_hash("interactions")
    next_day = [*good_rows(), ("u1", "a", f"{AFTER} 10:00:00", 1, 1)]
    facts = deliver(AFTER, next_day)
    assert account(facts) == (41, 1, 40, 0)
    assert store.content_hash("interactions", partition=DAY) == published


def test_a_better_version_of_an_event_takes_the_place_of_the_published_one(deliver, store):
    user, item, time, _, seconds = good_rows(1)[0]
    deliver(DAY, [(user, item, time, 0, seconds), *good_rows()[1:]])
    facts = deliver(AFTER, [(user, item, time, 1, seconds), ("u", "a", f"{AFTER} 10:00:00", 1, 1)])
    assert account(facts) == (2, 1, 1, 0)
    rows = store.read("interactions", partition=DAY).to_pylist()
    assert {
        row["strength"]
        for row in rows
        if row["event_time"].isoformat()[:16] == time[:16].replace(" ", "T")
    } == {2}


def test_a_dump_is_taken_up_to_the_day_and_then_day_by_day(deliver, store, settings):
    days = [BEFORE, DAY, AFTER]
    rows = [row for day in days for row in good_rows(20, day)]
    write_csv(settings.data_path / "all.csv", [*rows, ("u", "a", "never", 1, 1)])
    source = {"path": "all.csv", "validation": {"quarantine_share": 0.1}}
    first = deliver(DAY, None, **source)
    assert account(first) == (41, 40, 0, 1)
    assert store.partitions("interactions") == [BEFORE, DAY]
    second = deliver(AFTER, None, **source)
    assert account(second) == (20, 20, 0, 0)
    again = deliver(DAY, None, **source)
    assert (account(again), again["status"]) == ((41, 0, 40, 1), "unchanged")


def test_an_empty_day_is_refused_unless_the_preset_allows_it(deliver, store, settings):
    deliver(BEFORE, good_rows(day=BEFORE))
    with pytest.raises(DataRefused, match=rf"no rows for {DAY} in .*validation\.allow_empty_day"):
        deliver(DAY, [])
    record = read_steps(settings.runs_of("own"), DAY)["ingest_interactions"]
    assert record["status"] == "refused"
    assert record["reason"].startswith(f"no rows for {DAY}")
    allowed = deliver(DAY, [], validation={"allow_empty_day": True})
    assert account(allowed) == (0, 0, 0, 0)
    assert allowed["status"] in ("done", "unchanged")
    assert store.partitions("interactions") == [BEFORE]


def test_a_delivery_that_loses_too_many_rows_is_refused_but_its_quarantine_is_kept(
    deliver, store, settings
):
    deliver(BEFORE, good_rows(day=BEFORE))
    before = store.content_hash("interactions")
    changed_type = [(*row[:3], "yes please", row[4]) for row in good_rows(10)]
    with pytest.raises(
        DataRefused, match=r"10 of 50 rows \(20\.0%\) were refused.*5\.0%"
    ) as caught:
        deliver(DAY, [*good_rows(), *changed_type])
    assert "10 × liked is not a number" in str(caught.value)
    assert store.content_hash("interactions") == before
    assert store.row_count("quarantine", partition=DAY) == 10
    facts = deliver(DAY, good_rows())
    assert account(facts) == (40, 40, 0, 0)
    assert store.row_count("quarantine", partition=DAY) == 0


def test_a_day_with_a_tenth_of_the_usual_rows_is_refused_and_yesterdays_table_stays(
    deliver, store, settings
):
    start = DAY - timedelta(days=3)
    for number in range(3):
        deliver(start + timedelta(days=number), good_rows(day=start + timedelta(days=number)))
    before = store.content_hash("interactions")
    with pytest.raises(DataRefused, match=r"refused by 1 rule\(s\); what was published before"):
        deliver(DAY, good_rows(4))
    assert store.content_hash("interactions") == before
    record = read_steps(settings.runs_of("own"), DAY)["ingest_interactions"]
    failed = [rule for rule in record["validation"]["rules"] if not rule["success"]]
    assert [rule["rule"] for rule in failed] == ["rows_against_trailing_days"]


def test_without_a_catalogue_or_on_request_unknown_items_are_added(deliver, store):
    rows = [*good_rows(), ("u1", "new", f"{DAY} 10:00:00", 1, 1), ("u1", "bad", "never", 1, 1)]
    facts = deliver(DAY, rows, items={"unknown_items": "add"})
    assert account(facts) == (42, 41, 0, 1)
    items = store.read("items").to_pylist()
    assert [item["item_id"] for item in items] == ["a", "b", "c", "d", "new"]
    assert (items[4]["title"], items[4]["text"], items[4]["attributes"]) == (None, None, [])
    bare = deliver(AFTER, [("u1", "other", f"{AFTER} 10:00:00", 1, 1)] * 1, catalogue=None)
    assert account(bare) == (1, 1, 0, 0)
    assert store.read("items").to_pylist()[5]["item_id"] == "other"


def test_rows_that_do_not_add_up_are_an_error():
    assert balance(rows_in=6, published=1, duplicates=2, quarantined=3)["rows_in"] == 6
    with pytest.raises(RowsUnaccounted, match=r"rows in 7 ≠ published 1 \+ duplicates 2 \+ "):
        balance(rows_in=7, published=1, duplicates=2, quarantined=3)


def test_the_share_that_may_be_refused_is_inclusive():
    tally = Tally(rows_in=100, refused=5, reasons={"x": 5}, rows_by_day={date(2024, 1, 1): 95})
    assert excess(tally, Validation(quarantine_share=0.05)) is None
    assert "5 × x" in str(excess(tally, Validation(quarantine_share=0.04)))
