"""ingest_interactions as a whole: what is published, when, and what a rerun changes."""

from datetime import date, timedelta

import pytest

from feature_store.run_record import read_steps
from feature_store.store import FeatureStore
from pipelines.cli import describe
from pipelines.config import Validation
from pipelines.errors import DataRefused, RowsUnaccounted
from pipelines.jobs.account import Tally, balance, excess, refuse_imbalance
from pipelines.runner import run_job
from pipelines.transforms.events import is_tolerable
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
    assert account(rerun) == account(second)
    assert account(bootstrap) == account(first)
    assert (second["added"], rerun["added"], rerun["unchanged"]) == (41, 0, 41)
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
    checked = {rule["table"] for rule in record["validation"]["rules"]}
    assert checked == {"quarantine", "interactions", "deliveries"}
    assert len(record["validation"]["docs_paths"]) == 3
    raw = store.lineage("interactions")["inputs"]["raw_files"]
    assert [file.rpartition("/")[2] for file in raw] == [f"{DAY}.csv"]
    assert store.lineage("items")["inputs"]["raw_files"] == ["items.csv"]


def strengths(store, day):
    """Strength by time of day."""
    rows = store.read("interactions", partition=day).to_pylist()
    return {row["event_time"].isoformat()[11:19]: row["strength"] for row in rows}


def changes(facts):
    return {
        fate: facts[fate]
        for fate in ("added", "corrected", "unchanged", "withdrawn", "kept")
        if facts[fate]
    }


@pytest.mark.exhaustive
def test_a_day_delivered_again_takes_the_place_of_its_first_delivery(deliver, store):
    deliver(BEFORE, good_rows(day=BEFORE))
    late = ("u1", "a", f"{BEFORE} 23:59:59", 1, 1)
    deliver(DAY, [*good_rows(), late])
    deliver(AFTER, good_rows(day=AFTER))
    files = store.files("interactions", partitions=[AFTER])
    corrected = [(*row[:3], 1 - row[3], row[4]) for row in good_rows(4)]
    again = deliver(DAY, [*corrected, *good_rows(39)[4:], ("u1", "a", f"{DAY} 10:00:00", 1, 1)])
    assert account(again) == (40, 40, 0, 0)
    assert changes(again) == {
        "added": 1, "corrected": 4, "unchanged": 35, "withdrawn": 2, "kept": 40
    }  # fmt: skip
    assert strengths(store, DAY)["08:00:00"] == 2
    assert "23:59:59" not in strengths(store, BEFORE), "the late event is withdrawn"
    assert store.files("interactions", partitions=[AFTER]) == files, "another day isn't written"
    last = store.history("interactions")[0]
    diff = store.diff("interactions", last.parent_id, None)
    assert (diff.rows_added, diff.rows_removed) == (5, 6)


@pytest.mark.exhaustive
def test_an_event_of_two_deliveries_stays_until_neither_holds_it(deliver, store):
    overlap = good_rows(30)
    deliver(DAY, [*good_rows(), *good_rows(2)])
    published = store.content_hash("interactions")
    corrected = [(*overlap[0][:3], 1, 7), *overlap[1:]]
    facts = deliver(AFTER, [*corrected, *good_rows(day=AFTER)])
    assert account(facts) == (70, 70, 0, 0)
    assert changes(facts) == {"added": 40, "corrected": 1, "unchanged": 29, "kept": 10}
    assert (facts["late_rows"], strengths(store, DAY)["08:00:00"]) == (30, 2)
    fewer = deliver(DAY, good_rows()[20:])
    assert account(fewer) == (20, 20, 0, 0)
    assert changes(fewer) == {"unchanged": 20, "kept": 20}
    back = deliver(DAY, [*good_rows(), *good_rows(2)])
    assert account(back) == (42, 40, 2, 0)
    moved = deliver(AFTER, good_rows(day=AFTER))
    assert changes(moved) == {"unchanged": 40, "kept": 40}
    assert store.content_hash("interactions", partition=DAY) == published


@pytest.mark.exhaustive
def test_a_day_of_the_first_run_is_replaced_alone(deliver, store, settings):
    write_csv(settings.data_path / "log" / f"{BEFORE}.csv", good_rows(day=BEFORE))
    first = deliver(DAY, good_rows())
    assert (first["bootstrap"], account(first)) == (True, (80, 80, 0, 0))
    files = store.files("interactions", partitions=[DAY])
    again = deliver(BEFORE, good_rows(30, day=BEFORE))
    assert (again["bootstrap"], account(again)) == (False, (30, 30, 0, 0))
    assert (again["withdrawn"], store.row_count("interactions")) == (10, 70)
    assert store.files("interactions", partitions=[DAY]) == files
    rerun = deliver(DAY, None)
    assert (rerun["bootstrap"], account(rerun)) == (True, (70, 70, 0, 0))


@pytest.mark.exhaustive
def test_days_without_a_delivery_are_named(deliver):
    deliver(BEFORE - timedelta(days=2), good_rows(day=BEFORE - timedelta(days=2)))
    facts = deliver(DAY, good_rows())
    assert facts["missing_days"] == [f"{BEFORE - timedelta(days=1)}", f"{BEFORE}"]
    assert "2 days have no delivery" in describe(facts)
    assert f"--from {BEFORE - timedelta(days=1)} --to {DAY}" in describe(facts)
    deliver(BEFORE, good_rows(day=BEFORE))
    assert deliver(DAY, None)["missing_days"] == []
    assert deliver(BEFORE, None)["missing_days"] == [f"{BEFORE - timedelta(days=1)}"]


@pytest.mark.exhaustive
def test_what_is_appended_to_a_log_after_a_day_has_run_is_taken_by_the_next_run(
    deliver, store, settings
):
    days = [BEFORE, DAY]
    rows = [row for day in days for row in good_rows(20, day)]
    source = {"path": "all.csv", "validation": {"quarantine_share": 0.2}}
    write_csv(settings.data_path / "all.csv", rows)
    deliver(DAY, None, **source)
    files = store.files("interactions", partitions=[BEFORE])
    appended = [
        ("u1", "a", f"{DAY} 23:00:00", 1, 1),
        ("u2", "a", "never", 1, 1),
        (" ", "b", f"{DAY} 23:10:00", 1, 1),
    ]
    write_csv(settings.data_path / "all.csv", [*rows, *appended, *good_rows(20, AFTER)])
    facts = deliver(AFTER, None, **source)
    # The day before is settled; of the day all rows are said anew, with the two that came late.
    assert account(facts) == (43, 41, 0, 2)
    assert changes(facts) == {"added": 21, "unchanged": 20}
    assert facts["late_rows"] == 2
    assert facts["log"] == {"days_taken": 3, "days_settled": 1, "days_gone": 0}
    assert store.row_count("quarantine", partition=AFTER) == 2
    assert store.files("interactions", partitions=[BEFORE]) == files
    rerun = deliver(AFTER, None, **source)
    assert (account(rerun), rerun["late_rows"]) == (account(facts), 2)
    assert rerun["status"] == "unchanged"


@pytest.mark.exhaustive
def test_a_log_whose_window_moves_on_loses_no_row_and_corrects_what_it_holds(
    deliver, store, settings
):
    source = {"path": "all.csv", "validation": {"allow_empty_day": True}}
    rows = [row for day in (BEFORE, DAY) for row in good_rows(20, day)]
    write_csv(settings.data_path / "all.csv", rows)
    deliver(DAY, None, **source)
    # The window begins in the middle of the day; one row there is corrected, one is left out.
    kept = [(*rows[30][:3], 1 - rows[30][3], rows[30][4]), *rows[32:]]
    write_csv(settings.data_path / "all.csv", [*kept, *good_rows(20, AFTER)])
    facts = deliver(AFTER, None, **source)
    assert facts["log"] == {"days_taken": 2, "days_settled": 0, "days_gone": 1}
    assert changes(facts) == {
        "added": 20, "corrected": 1, "unchanged": 8, "withdrawn": 1, "kept": 10
    }  # fmt: skip
    assert store.row_count("interactions", partition=BEFORE) == 20
    assert store.row_count("interactions", partition=DAY) == 19


@pytest.mark.exhaustive
def test_a_log_is_taken_up_to_the_day_and_then_day_by_day(deliver, store, settings):
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
    assert (account(again), again["status"]) == ((41, 40, 0, 1), "unchanged")


@pytest.mark.exhaustive
def test_an_empty_day_is_refused_unless_the_preset_allows_it(deliver, store, settings):
    deliver(BEFORE, good_rows(day=BEFORE))
    with pytest.raises(DataRefused, match=rf"no rows for {DAY} in .*validation\.allow_empty_day"):
        deliver(DAY, [])
    record = read_steps(settings.runs_of("own"), DAY)["ingest_interactions"]
    assert record["status"] == "refused"
    assert record["reason"].startswith(f"no rows for {DAY}")
    (settings.data_path / "log" / f"{DAY}.csv").write_bytes(b"")
    with pytest.raises(DataRefused, match=rf"no rows for {DAY} in {DAY}\.csv \(zero bytes\)\. If"):
        deliver(DAY, None)
    assert account(deliver(DAY, None, validation={"allow_empty_day": True})) == (0, 0, 0, 0)
    allowed = deliver(DAY, [], validation={"allow_empty_day": True})
    assert account(allowed) == (0, 0, 0, 0)
    assert allowed["status"] in ("done", "unchanged")
    assert store.partitions("interactions") == [BEFORE]


@pytest.mark.exhaustive
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
    record = read_steps(settings.runs_of("own"), DAY)["ingest_interactions"]
    assert (account(record), record["withheld"]) == ((50, 0, 0, 10), 40)
    assert not {"added", "corrected", "unchanged", "withdrawn", "kept"} & record.keys()
    facts = deliver(DAY, good_rows())
    assert facts["withheld"] == 0
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
    assert (account(record), record["withheld"]) == ((4, 0, 0, 0), 4)


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
    refuse_imbalance(staged=3, before=2, added=2, withdrawn=1)
    with pytest.raises(RowsUnaccounted, match=r"4 rows staged ≠ 2 before \+ 2 added - 1 withdrawn"):
        refuse_imbalance(staged=4, before=2, added=2, withdrawn=1)


def test_the_share_that_may_be_refused_is_inclusive():
    tally = Tally(
        rows_in=100, refused=5, reasons={"x": 5}, rows_by_day={date(2024, 1, 1): 95}, taken={}
    )
    assert excess(tally, Validation(quarantine_share=0.05)) is None
    assert "5 × x" in str(excess(tally, Validation(quarantine_share=0.04)))


@pytest.mark.parametrize(
    ("refused", "rows", "share", "tolerable"),
    [(1, 3, 0.05, True), (2, 6, 0.05, False), (1, 1, 0.05, False), (1, 3, 0, False)],
)
def test_a_single_row_does_not_speak_against_the_others(refused, rows, share, tolerable):
    assert is_tolerable(refused, rows, share) is tolerable
