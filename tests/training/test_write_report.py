import json
import re
from datetime import timedelta

import pytest

from feature_store.settings import Settings
from tests.report_days import DAY, PRESET, Page, record, report_of, verdict, whole_day
from training.config import TrainingConfig
from training.programs import write_report
from training.programs.errors import ProgramError
from training.programs.interface import Task


def test_a_report_shows_the_verdict_the_metrics_and_the_data_and_loads_nothing(tmp_path):
    raw = report_of(
        tmp_path,
        {
            "ingest_interactions": {
                "rows_in": 12, "published": 9, "duplicates": 2, "quarantined": 1,
                "reasons": {"user_id is empty": 1},
            },
            "embed_items": {"alarms": ["7 of 7 items have no text"]},
            "evaluate_recommender": record(),
            "promote_recommender": verdict("promote", "tiger"),
        },
    )  # fmt: skip
    page = Page(raw)
    assert page.loaded == []
    assert not re.search(r"@import|url\((?!#)|<script", raw)
    assert "tiger became the champion." in page.text
    assert "0.1 against <0.05>" in page.text  # escaped in the page, readable as text
    assert "the champion is <older>" in page.text
    assert "user_id is empty" in page.text
    assert "Embeddings: 7 of 7 items have no text" in page.text
    assert raw.count("<svg") == raw.count(' role="img">\n <title>') >= 2


def test_every_link_of_a_page_leads_somewhere(tmp_path):
    report_of(tmp_path, whole_day())
    later = DAY + timedelta(days=1)
    folder = tmp_path / "data_docs" / PRESET / "items"
    folder.mkdir(parents=True)
    (folder / f"{later}.html").touch()
    validation = {"rules": [{"table": "items", "rule": "r", "success": True}], "seconds": 0.1}
    page = Page(report_of(tmp_path, whole_day(build_items={"validation": validation}), later))
    here = tmp_path / "runs" / PRESET / later.isoformat()
    inside = [link for link in page.links if link.startswith("#")]
    assert {link[1:] for link in inside} <= page.anchors
    outside = [link for link in page.links if link not in inside]
    assert outside == [
        "../index.html", f"../{DAY}/report.html", f"../../../data_docs/{PRESET}/items/{later}.html"
    ]  # fmt: skip
    assert all((here / link).resolve().is_file() for link in outside)


def test_a_good_day_has_nothing_to_do(tmp_path):
    page = Page(report_of(tmp_path, whole_day()))
    assert "What to do" not in page.texts
    assert "The first run" in page.texts


def test_a_page_says_what_changed_since_the_run_before(tmp_path):
    report_of(tmp_path, whole_day())
    later = whole_day(ingest_interactions={"rows_in": 5, "published": 5, "status": "done"})
    page = Page(report_of(tmp_path, later, DAY + timedelta(days=3)))
    place = page.texts.index("What changed since 1998-04-20")
    rows = page.texts[place:]
    assert rows[rows.index("events published") :][:4] == ["events published", "9", "5", "−4"]
    assert "The last 2 runs" in page.texts


def test_a_report_of_half_a_day_has_the_half_that_ran(tmp_path):
    page = Page(report_of(tmp_path, {"ingest_interactions": {"rows_in": 12, "published": 12}}))
    assert "data" in page.anchors
    assert not {"lists", "people"} & page.anchors
    assert "The data of the day came in, and nothing was trained." in page.text
    assert f"sidereal run --preset {PRESET} --day {DAY}" in page.text


def test_a_step_whose_process_was_killed_is_named(tmp_path):
    steps = {"ingest_interactions": {"rows_in": 1, "published": 1}, "build_slates": {}}
    page = Page(report_of(tmp_path, steps, stopped_at="train_tokenizer"))
    assert "train_tokenizer failed." in page.text


def test_what_an_earlier_run_of_the_day_decided_is_not_shown_after_a_failure(tmp_path):
    failed = {"status": "refused", "reason": "no rows", "validation": {"rules": [], "seconds": 0}}
    page = Page(report_of(tmp_path, whole_day(ingest_interactions=failed)))
    assert "became the champion" not in page.text
    assert "lists" not in page.anchors


def test_equal_records_give_equal_pages(tmp_path):
    first = report_of(tmp_path / "a", whole_day())
    assert first == report_of(tmp_path / "b", whole_day())
    index = [tmp_path / home / "runs" / PRESET / "index.html" for home in "ab"]
    assert index[0].read_text() == index[1].read_text()


def test_a_day_that_is_reported_again_does_not_see_later_days(tmp_path):
    first = report_of(tmp_path, whole_day())
    report_of(tmp_path, whole_day(), DAY + timedelta(days=1))
    assert report_of(tmp_path, whole_day()) == first


def test_the_index_lists_every_day_with_a_record(tmp_path):
    report_of(tmp_path, whole_day())
    report_of(tmp_path, {"build_items": {"rows": 3}}, DAY + timedelta(days=1))
    page = Page((tmp_path / "runs" / PRESET / "index.html").read_text())
    assert page.links == ["1998-04-21/report.html", "1998-04-20/report.html"]
    assert {"data only", "promoted"} <= set(page.texts)


def test_the_day_in_a_few_numbers_lies_beside_its_page(tmp_path):
    report_of(tmp_path, whole_day())
    path = tmp_path / "runs" / PRESET / DAY.isoformat() / "report.json"
    assert path.stat().st_size < 2000
    brief = json.loads(path.read_text())
    assert (brief["metric"], brief["rows"], brief["kind"]) == ("ndcg@10", 9, "promoted")


def test_a_day_without_records_is_refused(tmp_path):
    task = Task(Settings(home=tmp_path), TrainingConfig(name="x"), DAY, step="write_report")
    with pytest.raises(ProgramError, match=r"no step has run for 1998-04-20 .* run the day first"):
        write_report.run(task)


def test_a_report_of_an_older_versions_evaluation_says_what_to_run(tmp_path):
    old = {"entrants": {"tiger": {}}}
    with pytest.raises(ProgramError, match=r"1998-04-20: the evaluation is a record of version 1"):
        report_of(tmp_path, {"evaluate_recommender": old})
