from datetime import date

import pytest

from feature_store.run_record import write_step
from feature_store.settings import Settings
from sidereal.airflow_api import Task
from sidereal.chain import Progress
from sidereal.stopped_report import report_stopped, stopped_at

DAY = date(1998, 4, 20)
PRESET = "movielens-100k"


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


def progress(*steps, state="failed"):
    task = Task("a_dag", "run", "a_task", state, 1.0, None, 1, steps)
    return Progress(day=DAY, tasks=(task,), done=False, failed=True)


def recorded(settings, **records):
    for step, status in records.items():
        write_step(settings.runs_of(PRESET), DAY, step, {"status": status, "seconds": 1.0})


def test_a_step_that_was_killed_is_the_first_without_a_record(settings):
    recorded(settings, embed_items="done")
    failed = progress("embed_items", "build_slates", "build_preference_pairs")
    assert stopped_at(settings, PRESET, failed) == "build_slates"


def test_where_all_have_records_the_first_may_be_the_one_that_failed(settings):
    recorded(settings, embed_items="done", build_slates="done")
    assert stopped_at(settings, PRESET, progress("embed_items", "build_slates")) == "embed_items"


def test_a_step_that_says_itself_that_it_failed_needs_nobody_else(settings):
    recorded(settings, embed_items="refused")
    assert stopped_at(settings, PRESET, progress("embed_items", "build_slates")) == ""
    assert stopped_at(settings, PRESET, progress("embed_items", state="success")) == ""


def test_a_day_that_stopped_gets_a_report_of_the_half_that_ran(settings):
    recorded(settings, build_items="done", ingest_interactions="done")
    line = report_stopped(settings, PRESET, (), progress("embed_items"))
    path = settings.runs_of(PRESET) / DAY.isoformat() / "report.html"
    assert line == f"report {path}"
    assert "embed_items failed." in path.read_text()
    assert (settings.runs_of(PRESET) / "index.html").is_file()


def test_where_a_day_that_was_filled_in_was_refused_the_report_is_of_that_one(settings):
    days = [date(1998, 4, 18), date(1998, 4, 19)]
    for day, status in zip(days, ("done", "refused"), strict=True):
        facts = {"status": status, "seconds": 1.0, "error": "146 of 2,651 rows were refused"}
        write_step(settings.runs_of(PRESET), day, "ingest_interactions", facts)
    failed = progress("build_items", "ingest_interactions")
    line = report_stopped(settings, PRESET, (), failed, days)
    assert line == f"report {settings.runs_of(PRESET) / '1998-04-19' / 'report.html'}"
    assert (
        "146 of 2,651 rows were refused"
        in (settings.runs_of(PRESET) / "1998-04-19" / "report.html").read_text()
    )


def test_a_report_that_cannot_be_written_hides_nothing(settings):
    line = report_stopped(settings, PRESET, (), progress("build_items"))
    assert line.startswith(f"no report of {DAY} could be written: no step has run for {DAY}")
