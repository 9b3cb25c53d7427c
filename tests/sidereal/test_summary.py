"""A day's summary: from run records to facts, to a table, to a file."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from rich.console import Console

from feature_store.run_record import write_step
from sidereal.airflow_api import Task
from sidereal.chain import Progress
from sidereal.failure import exit_code, triage
from sidereal.live_view import LineView, TableView
from sidereal.summary import summarize, write_summary
from sidereal.summary_view import console_of_run, print_summary
from tests.evaluation_records import around, board, comparison, entrant, evaluation
from training.evaluation.record import Evaluation

DAY = date(1998, 4, 20)


def evaluated(*, decides="ndcg@10", rows=(), **boards):
    """tiger against a champion of sasrec; `boards` are of tiger alone."""
    lists = {
        label: {metric: around(value) for metric in ("ndcg@10", "hr@10", "mrr")}
        for label, value in (("tiger", 0.08), ("champion", 0.1))
    }
    how = {"slices": ("light",), "num_users": 236}
    return evaluation(
        {
            "tiger": entrant("tiger", lists=lists["tiger"], **how, **boards),
            "champion": entrant("champion", family="sasrec", lists=lists["champion"], **how),
        },
        [
            comparison("tiger", "champion", "ndcg@10", (-0.03, -0.02, -0.01), slice_name=name)
            for name in ("all", "light")
        ]
        + list(rows),
        baselines=("sasrec",),
        primary_metric=decides,
    )


def task(name, state="success", seconds=3.25, tries=1, dag="recommender_daily", steps=None):
    started = datetime(2024, 1, 1, tzinfo=UTC) if state else None
    run_id = "run-1" if state else ""
    return Task(dag, run_id, name, state, seconds, started, tries, tuple(steps or [name]))


def progress(*tasks, done=True):
    return Progress(DAY, tasks, done=done, failed=not done)


@pytest.fixture
def records(settings):
    """Run records of a whole day, with the keys that the steps write."""
    level = {
        "used_codes": 60,
        "used_share": 0.94,
        "entropy_share": 0.97,
        "perplexity": 55.0,
        "residual_share": 0.4,
        "counts": [1] * 64,
    }
    collision = {"share": 0.05, "largest_bucket": 3}
    quality = {"items": 1682, "collision": collision, "levels": [level], "reconstruction_mse": 0.1}
    rules = [{"rule": "volume", "success": True}, {"rule": "drift", "success": False}]
    records = {
        "ingest_interactions": {
            "seconds": 11.0,
            "status": "done",
            "rows_in": 100,
            "published": 90,
            "duplicates": 7,
            "quarantined": 3,
            "validation": {
                "success": False,
                "rules": rules,
                "seconds": 2.0,
                "share": 0.18,
                "docs_paths": ["/docs/interactions/index.html"],
            },
        },
        "embed_items": {"alarms": ["40 of 40 items have no text"]},
        "build_semantic_ids": {
            "generation": "1998-04-20-abc",
            "quality": quality,
            "points": [1],
            "alarms": ["78% of items are not told apart by their codes (alarm above 30%)"],
        },
        "evaluate_recommender": evaluated().to_json(),
        "promote_recommender": {
            "decision": "refuse",
            "champion_version": 1,
            "champion_family": "sasrec",
            "verdict": {"summary": "refuse: tiger lost", "reasons": []},
        },
        "write_report": {"path": "/runs/report.html"},
    }
    for step, facts in records.items():
        write_step(settings.runs_of("mine"), DAY, step, facts)
    return settings


def test_a_summary_holds_what_the_steps_recorded(records):
    found = summarize(records, "mine", progress(task("ingest_interactions")), seconds=12.34)
    assert (found["status"], found["seconds"]) == ("done", 12.3)
    assert found["tasks"][0]["seconds"] == 3.2
    assert found["steps"][0]["seconds"] == 11.0
    assert found["delivery"] == {
        "rows_in": 100,
        "published": 90,
        "duplicates": 7,
        "quarantined": 3,
    }
    assert found["validation"][0]["rules_failed"] == ["drift"]
    assert found["tokenizer"]["generation"] == "1998-04-20-abc"
    assert "counts" not in found["tokenizer"]["levels"][0]
    record = Evaluation.from_json(found["evaluation"])
    assert record.entrants["tiger"].value("mrr") == around(0.08)
    assert len(record.comparisons) == 1
    assert found["gate"]["summary"] == "refuse: tiger lost"
    assert found["paths"]["report"] == "/runs/report.html"
    assert found["paths"]["data_docs"] == ["/docs/interactions/index.html"]


def test_tables_are_counted_in_the_store(settings):
    import pyarrow as pa

    from feature_store.arrow import arrow_schema
    from feature_store.store import FeatureStore
    from feature_store.tables import CATALOG

    contract = CATALOG["recommendations"]
    store = FeatureStore.open(settings, "mine")
    stage = store.stage("recommendations", day=DAY, job="recommend")
    row = {"day": DAY, "user_id": "u", "item_ids": ["i"], "item_indices": [0], "scores": [1.0]}
    row |= {"model_family": "popularity", "model_version": "1", "bundle_digest": "d"}
    stage.write(pa.Table.from_pylist([row], schema=arrow_schema(contract)))
    published = store.publish(stage)
    facts = {"table": "recommendations", "rows": published.rows, "changed": True}
    write_step(settings.runs_of("mine"), DAY, "recommend", facts)
    found = summarize(settings, "mine", progress(), seconds=1.0)["tables"]
    assert found["recommendations"]["total_rows"] == found["recommendations"]["rows"] == 1


def test_the_summary_is_written_beside_the_run_records(records):
    facts = summarize(records, "mine", progress(task("recommend")), seconds=1.0)
    path = write_summary(records, facts)
    assert path == records.runs_of("mine") / "1998-04-20" / "summary.json"
    assert json.loads(path.read_text()) == json.loads(json.dumps(facts))


def test_the_printed_summary_shows_every_part(records):
    facts = summarize(records, "mine", progress(task("ingest_interactions", tries=2)), seconds=12.0)
    console = Console(width=160, record=True)
    print_summary(console, facts, write_summary(records, facts))
    text = console.export_text()
    for part in (
        "mine, day 1998-04-20: done in 12 s",
        "2 tries",
        "1998-04-20-abc",
        "champion (sasrec)",
        "-0.0200 [-0.0300, -0.0100]",
        "refuse: tiger lost",
        "champion: version 1 (sasrec)",
        "/runs/report.html",
        "drift",
    ):
        assert part in text


def text_of(records, *tasks, width, tables=None):
    """The printed summary, without what rich makes bold."""
    facts = summarize(records, "mine", progress(*tasks), seconds=12.0)
    facts["tables"] = tables or facts["tables"]
    console = Console(width=width, record=True)
    print_summary(console, facts, write_summary(records, facts))
    return console.export_text()


@pytest.mark.parametrize("width", [80, 100])
def test_no_interval_is_cut_on_a_narrow_console(records, width):
    record = evaluated(feedback=board({"auc": around(0.75)}))
    write_step(records.runs_of("mine"), DAY, "evaluate_recommender", record.to_json())
    text = text_of(records, task("ingest_interactions"), width=width)
    tables = text[: text.index("\nreport  ")]
    assert max(len(line) for line in tables.splitlines()) <= width
    assert "…" not in text
    for interval in (
        "0.0800 [0.0700, 0.0900]",
        "0.1000 [0.0900, 0.1100]",
        "0.7500 [0.7400, 0.7600]",
        "-0.0200 [-0.0300, -0.0100]",
    ):
        assert interval in text
    lines = text.splitlines()
    assert any("tiger" in line and "ndcg@10" in line for line in lines)
    assert any("difference" in line and "-0.0200" in line for line in lines)


def test_a_line_says_what_the_challenger_is_worth_beside_the_best_baseline(records):
    rows = [
        comparison("tiger", label, "ndcg@10", (point - 0.01, point, point + 0.01), theirs_at=theirs)
        for label, point, theirs in (("sasrec", 0.02, 0.10), ("popularity", 0.08, 0.04))
    ]
    record = replace(evaluated(rows=rows), baselines=("popularity", "sasrec"))
    write_step(records.runs_of("mine"), DAY, "evaluate_recommender", record.to_json())
    said = "tiger 0.1200, the best baseline sasrec 0.1000 in ndcg@10; difference +0.0200 [+0.0100,"
    assert said in text_of(records, task("ingest_interactions"), width=160)


def test_rows_of_a_refused_day_are_withheld_and_add_up(records):
    account = {"rows_in": 50, "published": 0, "duplicates": 0, "quarantined": 10, "withheld": 40}
    refused = {**account, "status": "refused", "table": "interactions", "rows": 0, "changed": False}
    write_step(records.runs_of("mine"), DAY, "ingest_interactions", refused)
    text = text_of(records, task("ingest_interactions"), width=120)
    assert (
        "50 rows in = 0 published + 0 duplicates + 10 quarantined + 40 withheld with their day"
    ) in text


def test_tasks_are_named_with_their_dag(records):
    text = text_of(records, task("spark_jobs", dag="features_daily"), width=80)
    assert "features_daily.spark_jobs" in text


@pytest.mark.parametrize("is_terminal", [True, False])
def test_paths_are_whole_on_any_console(records, is_terminal):
    facts = summarize(records, "mine", progress(task("recommend")), seconds=12.0)
    facts["paths"]["report"] = report = f"/srv/{'folder/' * 20}report.html"
    console = Console(width=80, record=True, force_terminal=is_terminal)
    print_summary(console, facts, write_summary(records, facts))
    lines = console.export_text().splitlines()
    assert f"report      {report}" in lines
    assert f"Data Docs   {records.data_docs_of('mine') / 'index.html'}" in lines
    assert "            /docs/interactions/index.html" in lines


def test_a_log_cuts_no_line_of_a_table(records, capsys):
    place = f"/srv/{'folder/' * 20}2026-03-01.csv"
    failed = {"status": "failed", "reason": f"no delivery at {place}. Deliver it"}
    write_step(records.runs_of("mine"), DAY, "recommend", failed)
    facts = summarize(records, "mine", progress(task("recommend")), seconds=12.0)
    print_summary(console_of_run(stderr=False), facts, write_summary(records, facts))
    assert f"no delivery at {place}. Deliver it" in capsys.readouterr().out


def test_alarms_of_embeddings_and_tokenizer_stand_below_its_table(records):
    text = text_of(records, task("recommend"), width=100)
    assert "alarm: 40 of 40 items have no text" in text
    assert "alarm: 78% of items are not told apart by their codes" in text


def test_a_champion_that_should_not_serve_is_told_before_anything_else(records):
    decided = {"decision": "refuse", "verdict": {"summary": "refuse: tiger lost", "reasons": []}}
    alarm = "the champion (sasrec of 1998-04-19) is worse than popularity beyond chance"
    facts = {**decided, "champion_version": 1, "champion_family": "sasrec", "alarms": [alarm]}
    write_step(records.runs_of("mine"), DAY, "promote_recommender", facts)
    lines = text_of(records, task("recommend"), width=300).splitlines()
    assert lines[1] == f"  alarm: {alarm}"
    assert 'sidereal models rollback --preset mine --reason "…"' in lines[2]


def test_rows_of_a_table_add_up(records):
    tables = {
        "interactions": {"rows": 120, "total_rows": 2_795, "changed": True},
        "items": {"rows": 1_682, "total_rows": 1_682, "changed": False},
        "slates": {"total_rows": None},
    }
    lines = text_of(records, task("recommend"), width=80, tables=tables).splitlines()
    (head,) = [line for line in lines if "this run's rows" in line]
    assert head.split() == "table this run's rows + others = rows in all".split()
    cells = {
        line.split()[0]: line.split()[1:4]
        for line in lines
        if line.split()[:1] and line.split()[0] in tables
    }
    assert cells["interactions"] == ["120", "2,675", "2,795"]
    assert cells["items"] == ["1,682", "0", "1,682"]
    assert cells["slates"] == ["–", "–", "–"]


def test_feedback_is_shown_where_an_entrant_ranks(records):
    record = evaluated(feedback=board({"auc": around(0.75)}))
    write_step(records.runs_of("mine"), DAY, "evaluate_recommender", record.to_json())
    found = summarize(records, "mine", progress(task("ingest_interactions")), seconds=12.0)
    console = Console(width=200, record=True)
    print_summary(console, found, write_summary(records, found))
    text = console.export_text()
    assert "auc" in text
    assert "0.7500 [" in text
    champion = next(line for line in text.splitlines() if "champion (sasrec)" in line)
    assert "–" in champion  # it can't rank


def test_the_metric_that_decides_comes_first_of_slates_too(records):
    values = {"slate_hit@5": around(0.3), "slate_ndcg@5": around(0.125)}
    row = comparison("tiger", "champion", "slate_ndcg@5", (0.01, 0.0375, 0.06))
    record = evaluated(decides="slate_ndcg@5", rows=[row], slates=board(values))
    write_step(records.runs_of("mine"), DAY, "evaluate_recommender", record.to_json())
    found = summarize(records, "mine", progress(task("ingest_interactions")), seconds=12.0)
    console = Console(width=200, record=True)
    print_summary(console, found, write_summary(records, found))
    lines = console.export_text().splitlines()
    head = next(line for line in lines if "ndcg@10" in line)
    assert head.index("slate_ndcg@5") < head.index("ndcg@10")
    assert "tiger − this, slate_ndcg@5" in head
    assert any("0.1250 [" in line and "tiger" in line for line in lines)
    assert any("+0.0375" in line and "champion" in line for line in lines)


def test_a_day_that_stopped_early_still_has_a_summary(settings):
    facts = summarize(
        settings, "mine", progress(task("build_items", "failed"), done=False), seconds=1
    )
    assert facts["status"] == "failed"
    assert facts["evaluation"] == facts["tokenizer"] == facts["tables"] == {}
    print_summary(Console(width=120, record=True), facts, write_summary(settings, facts))


def test_an_evaluation_of_an_older_version_is_left_out(records):
    write_step(records.runs_of("mine"), DAY, "evaluate_recommender", {"entrants": {"tiger": {}}})
    found = summarize(records, "mine", progress(task("build_items")), seconds=1.0)
    assert found["evaluation"] == {}


def test_refused_data_ends_with_3_and_any_other_failure_with_1(settings):
    failed = progress(task("ingest_interactions", "failed"), done=False)
    assert exit_code(settings, "mine", failed) == 1
    write_step(settings.runs_of("mine"), DAY, "ingest_interactions", {"status": "refused"})
    assert exit_code(settings, "mine", failed) == 3
    assert exit_code(settings, "mine", progress(task("recommend", "failed"), done=False)) == 1


def test_steps_that_share_a_task_are_shown_and_judged_one_by_one(records):
    jobs = progress(
        task("spark_jobs", dag="interactions_daily", steps=["build_items", "ingest_interactions"])
    )
    found = summarize(records, "mine", jobs, seconds=12.0)
    assert [step["step"] for step in found["steps"]] == ["build_items", "ingest_interactions"]
    console = Console(width=120, record=True)
    print_summary(console, found, write_summary(records, found))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["interactions_daily.spark_jobs", "3.2", "11.0"] in lines
    assert ["ingest_interactions", "11.0", "done"] in lines
    write_step(records.runs_of("mine"), DAY, "ingest_interactions", {"status": "refused"})
    failed = progress(task("spark_jobs", "failed", steps=["ingest_interactions"]), done=False)
    assert exit_code(records, "mine", failed) == 3


def test_days_that_were_filled_in_and_those_still_missing_are_shown(records):
    account = {"rows_in": 9, "published": 8, "duplicates": 1, "quarantined": 0}
    runs, before = records.runs_of("mine"), date(1998, 4, 19)
    write_step(runs, before, "ingest_interactions", account)
    missing = {**account, "missing_days": ["1998-04-16", "1998-04-17"]}
    write_step(runs, DAY, "ingest_interactions", missing)
    found = summarize(
        records, "mine", progress(task("x")), seconds=1.0, given="/x/mine.yaml", filled=[before]
    )
    assert found["filled"] == [{"day": "1998-04-19", **account}]
    console = Console(width=200, record=True)
    print_summary(console, found, write_summary(records, found))
    text = console.export_text()
    assert "1998-04-19: 9 rows in = 8 published + 1 duplicates + 0 quarantined" in text
    assert "2 day(s) before this one were never brought in: 1998-04-16 to 1998-04-17" in text
    assert "sidereal run --preset /x/mine.yaml --from 1998-04-16 --to 1998-04-20" in text


def test_a_day_refused_while_it_was_filled_in_ends_with_3(settings):
    before = date(1998, 4, 19)
    write_step(settings.runs_of("mine"), before, "ingest_interactions", {"status": "refused"})
    failed = progress(task("spark_jobs", "failed", steps=["ingest_interactions"]), done=False)
    assert exit_code(settings, "mine", failed) == 1
    assert exit_code(settings, "mine", failed, [before]) == 3


def test_the_triage_section_is_what_follows_its_heading():
    assert triage("Makes.\n\n## Triage\n\n* do this\n") == "* do this"
    assert triage("no such section") == ""


def test_outside_a_terminal_a_task_gets_a_line_when_it_starts_and_when_it_ends():
    console = Console(record=True, width=100)
    view = LineView(console)
    for state in (None, "queued", "running", "running", "success", "success"):
        view.show(progress(task("recommend", state, seconds=4.0)))
    assert console.export_text().splitlines() == [
        "1998-04-20 recommender_daily.recommend running",
        "1998-04-20 recommender_daily.recommend success 4.0 s",
    ]


def test_in_a_terminal_all_tasks_stand_in_one_table():
    from rich.live import Live

    console = Console(record=True, width=100, force_terminal=True)
    with Live(console=console, auto_refresh=False) as live:
        TableView(live).show(
            progress(
                task("build_items", dag="interactions_daily"),
                task("recommend", "failed", seconds=7.0),
                task("write_report", None, None),
            )
        )
        live.refresh()
    text = console.export_text()
    assert "interactions_daily" in text
    assert "✗" in text
    assert "write_report" in text
