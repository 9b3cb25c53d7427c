"""Spark steps of `sidereal step` and `sidereal fetch`: arguments, output, exit codes."""

import json

import pytest
from click.testing import CliRunner

from feature_store.errors import CatalogLocked
from feature_store.preset import PresetError
from pipelines import cli
from pipelines.cli import describe, fetch
from pipelines.errors import DataRefused, DeliveryUnreadable, RowsUnaccounted
from pipelines.sources import fetch as fetching
from pipelines.submit import step

FACTS = {
    "step": "ingest_interactions",
    "day": "1998-04-15",
    "status": "done",
    "seconds": 3.21,
    "table": "interactions",
    "rows": 97722,
    "snapshot_id": 7,
    "rows_in": 97724,
    "published": 97722,
    "duplicates": 1,
    "quarantined": 1,
    "reasons": {"user_id is missing": 1},
    "added": 97700,
    "corrected": 20,
    "unchanged": 2,
    "withdrawn": 4,
    "late_rows": 3,
    "left_out": ["1998-04-15.csv.tmp: a temporary file"],
    "num_left_out": 3,
    "missing_days": ["1998-04-13", "1998-04-14"],
    "preset": "movielens-100k",
}
ARGUMENTS = ["ingest_interactions", "--preset", "movielens-100k", "--day", "1998-04-15"]


@pytest.fixture
def invoke(monkeypatch):
    """Runs the command with a job that returns or raises what the test says."""

    def run(result, *more):
        def job_run(*_):
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(cli, "_run", job_run)
        return CliRunner().invoke(step, [*ARGUMENTS, *more])

    return run


def test_facts_are_printed_for_people_or_as_json(invoke):
    said = invoke(FACTS)
    assert (said.exit_code, said.stdout) == (0, describe(FACTS) + "\n")
    assert "97,724 rows in = 97,722 published + 1 duplicates + 1 quarantined" in said.stdout
    assert "    1 × user_id is missing" in said.stdout
    assert json.loads(invoke(FACTS, "--json").stdout) == FACTS


def test_what_a_delivery_changed_and_lacks_is_told(invoke):
    said = invoke(FACTS).stdout
    assert "events: 97,700 added, 20 corrected, 2 unchanged, 4 withdrawn; 3 of earlier" in said
    assert "not read: 1998-04-15.csv.tmp: a temporary file\n    not read: 2 more files" in said
    assert "2 days have no delivery" in said
    assert "--preset movielens-100k --from 1998-04-13 --to 1998-04-15" in said


def test_the_way_to_fill_days_in_names_the_preset_as_it_was_given(monkeypatch):
    monkeypatch.setattr(cli, "_run", lambda *_: FACTS)
    given = "/srv/my shop/shop.yaml"
    said = CliRunner().invoke(step, [*ARGUMENTS[:2], given, *ARGUMENTS[3:]])
    assert f"sidereal run --preset '{given}' --from 1998-04-13" in said.stdout


def test_an_alarm_of_a_job_is_told(invoke):
    said = invoke({**FACTS, "alarms": ["40 of 40 items have no text: their ids are embedded"]})
    assert "    alarm: 40 of 40 items have no text: their ids are embedded" in said.stdout


def test_what_a_catalogue_lists_is_told(invoke):
    items = {name: FACTS[name] for name in ("step", "day", "status", "seconds", "snapshot_id")}
    items |= {"table": "items", "rows": 3, "catalogue_rows": 6, "listed_items": 2}
    items |= {"withdrawn_items": 1, "rows_without_id": 1, "without_id": ["Heat (1995)"]}
    items |= {"rows_of_an_item_again": 2, "again": ["7", "9"], "left_out": ["x.tmp: hidden"]}
    said = invoke(items).stdout
    assert "2 items listed, 1 withdrawn" in said
    assert "1 rows without an id: Heat (1995)" in said
    assert "2 rows of items that are there already: 7, 9\n    not read: x.tmp: hidden" in said


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PresetError("a misspelt key"), 2),
        (DataRefused("half a day"), 3),
        (DeliveryUnreadable("cut short"), 1),
        (RowsUnaccounted("a defect"), 1),
        (CatalogLocked("another run"), 1),
    ],
)
def test_what_stands_in_the_way_is_said_on_stderr_with_its_exit_code(invoke, error, code):
    said = invoke(error)
    assert said.exit_code == code
    assert said.stderr == f"ingest_interactions: {error}\n"
    assert said.stdout == ""


def test_several_jobs_run_in_turn_until_one_fails(monkeypatch):
    ran = []

    def job_run(request):
        name = request.step.name
        ran.append(name)
        if name == "ingest_interactions":
            raise DataRefused("half a day")
        return {**FACTS, "step": name}

    monkeypatch.setattr(cli, "_run", job_run)
    said = CliRunner().invoke(step, ["build_items", *ARGUMENTS[:1], "build_slates", *ARGUMENTS[1:]])
    assert ran == ["build_items", "ingest_interactions"]
    assert said.exit_code == 3
    assert said.stdout == describe({**FACTS, "step": "build_items"}) + "\n"
    assert said.stderr == "ingest_interactions: half a day\n"
    assert CliRunner().invoke(step, ARGUMENTS[1:]).exit_code == 2


def test_a_range_runs_day_after_day_until_one_fails(monkeypatch):
    ran = []

    def job_run(request):
        name, day = request.step.name, request.day
        ran.append((name, day.day))
        if (name, day.day) == ("ingest_interactions", 14):
            raise DataRefused("half a day")
        return {**FACTS, "step": name, "day": day}

    monkeypatch.setattr(cli, "_run", job_run)
    said = CliRunner().invoke(step, ["build_items", *ARGUMENTS, "--from", "1998-04-13"])
    assert ran == [
        ("build_items", 13),
        ("ingest_interactions", 13),
        ("build_items", 14),
        ("ingest_interactions", 14),
    ]
    assert said.exit_code == 3
    assert said.stderr == "ingest_interactions 1998-04-14: half a day\n"
    wrong = CliRunner().invoke(step, [*ARGUMENTS, "--from", "1998-04-16"])
    assert wrong.exit_code == 2
    assert "--from 1998-04-16 is after --day 1998-04-15" in wrong.output


def test_a_defect_keeps_its_trace(invoke):
    said = invoke(KeyError("oops"))
    assert said.exit_code == 1
    assert isinstance(said.exception, KeyError)


def test_a_misspelt_preset_or_argument_is_refused_before_spark_starts(monkeypatch, tmp_path):
    monkeypatch.setenv("SIDEREAL_HOME", str(tmp_path))
    wrong = CliRunner().invoke(step, [*ARGUMENTS, "--set", "validation.quarantine_shre=1"])
    assert wrong.exit_code == 2
    assert "validation.quarantine_shre" in wrong.stderr
    assert CliRunner().invoke(step, ["nothing", *ARGUMENTS[1:]]).exit_code == 2
    assert CliRunner().invoke(step, [*ARGUMENTS[:3], "--day", "15.4.98"]).exit_code == 2


def test_fetch_says_the_terms_and_where_the_data_is(monkeypatch, tmp_path):
    monkeypatch.setenv("SIDEREAL_DATA", str(tmp_path))
    (tmp_path / "movielens-100k").mkdir()
    said = CliRunner().invoke(fetch, ["movielens-100k"])
    assert (said.exit_code, said.stdout) == (0, f"{tmp_path / 'movielens-100k'}\n")
    assert "no redistribution" in said.stderr
    assert set(cli.DATASETS) == set(fetching.DATASETS)


def test_a_failed_fetch_exits_1_with_what_went_wrong(monkeypatch):
    def fail(*_):
        raise fetching.FetchFailed("nobody answers")

    monkeypatch.setattr(fetching, "fetch", fail)
    said = CliRunner().invoke(fetch, ["movielens-1m"])
    assert said.exit_code == 1
    assert "fetch: nobody answers" in said.stderr
