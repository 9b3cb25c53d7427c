"""What `sidereal run` is going to do, and what it refuses before anything starts."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from click.testing import CliRunner

from feature_store.preset import PresetError
from sidereal.days import which_days
from sidereal.drive import RunFailed
from sidereal.init import preset_text
from sidereal.run import make_plan, refuse_absent, run


def plan(settings, preset="movielens-100k", days=(), model=None, overrides=(), **range_):
    chosen, first = which_days(
        days,
        first=range_.get("first"),
        last=range_.get("last"),
        before_today=range_.get("before_today", False),
    )
    return make_plan(preset, chosen, model, overrides, settings, first_day=first)


def test_without_days_the_presets_own_are_run(settings):
    found = plan(settings)
    assert found.days == (date(1998, 4, 20), date(1998, 4, 21))
    assert found.dataset == "movielens-100k"


def test_days_may_be_listed_or_repeated(settings):
    found = plan(settings, days=("1998-04-20,1998-04-21", "1998-04-22"))
    assert [day.day for day in found.days] == [20, 21, 22]


def test_a_log_that_has_an_order_and_no_times_is_of_one_day(settings):
    assert plan(settings, preset="amazon-office").days == (date(2014, 7, 23),)
    assert plan(settings, preset="amazon-office", days=("2014-07-24",)).days[0].day == 24


def test_places_that_are_not_there_are_said_before_airflow_starts(settings, tmp_path):
    preset = tmp_path / "shop.yaml"
    preset.write_text(preset_text("shop"))
    found = plan(settings, str(preset), days=("2026-03-01",))
    both = r"source\.path: there is nothing at .*events;.*\nsource\.catalogue\.path: "
    with pytest.raises(RunFailed, match=both) as said:
        refuse_absent(found, settings)
    assert said.value.exit_code == 1
    (settings.data_path / "events").mkdir(parents=True)
    with pytest.raises(RunFailed, match=r"^error: source\.catalogue\.path: .*items\.csv;"):
        refuse_absent(found, settings)
    (settings.data_path / "items.csv").write_text("item,title,description,category\n")
    refuse_absent(found, settings)


def test_a_copy_that_kept_its_name_is_not_run_into_the_other_s_tables(settings, tmp_path):
    for name in ("shop", "other"):
        (tmp_path / f"{name}.yaml").write_text(preset_text("shop"))
    with pytest.raises(PresetError, match=r"shop\.yaml has the name 'shop', too"):
        plan(settings, str(tmp_path / "other.yaml"), days=("2026-03-01",))


def test_a_range_runs_its_last_day_and_brings_in_the_others(settings):
    found = plan(settings, first="1998-04-18", last="1998-04-20")
    assert found.days == (date(1998, 4, 20),)
    assert found.filled_days == [date(1998, 4, 18), date(1998, 4, 19)]
    assert plan(settings, first="1998-04-20", last="1998-04-20").filled_days == []
    assert plan(settings).filled_days == []


def test_yesterday_is_the_day_before_the_clock_s(settings):
    before = datetime.now(UTC).date()
    [day] = plan(settings, before_today=True).days
    after = datetime.now(UTC).date()
    assert before - timedelta(days=1) <= day <= after - timedelta(days=1)
    found = plan(settings, first=(day - timedelta(days=2)).isoformat(), before_today=True)
    assert len(found.filled_days) == 2


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"days": ("1998-04-20",), "before_today": True}, "--day, --to and --yesterday each say"),
        ({"first": "1998-04-18", "last": "1998-04-20", "before_today": True}, "give one of them"),
        ({"last": "1998-04-20"}, "--to needs --from: the first of the days"),
        ({"first": "1998-04-20"}, "--from needs --to or --yesterday: the last of the days"),
        ({"first": "1998-04-21", "last": "1998-04-20"}, "--from 1998-04-21 is after 1998-04-20"),
        ({"first": "18.4.", "last": "1998-04-20"}, r"--from: '18\.4\.' is no day; write it"),
        ({"first": "1998-04-18", "last": "soon"}, "--to: 'soon' is no day; write it"),
    ],
)
def test_days_that_contradict_each_other_are_refused(settings, asked, message):
    with pytest.raises(PresetError, match=message):
        plan(settings, **asked)


def test_the_model_is_one_more_override(settings):
    found = plan(settings, model="sasrec", overrides=("training.seed=7",))
    assert found.overrides == ("training.seed=7", "models.challenger=sasrec")


def test_a_preset_with_data_of_its_own_fetches_nothing(settings):
    assert plan(settings, preset="kuairand", days=("2022-04-20",)).dataset is None


def test_a_preset_without_a_schedule_asks_for_days(settings, tmp_path):
    text = (settings.presets / "kuairand.yaml").read_text().split("\nschedule:")[0]
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(PresetError, match=r"has no schedule\.days; say which with --day"):
        plan(settings, preset=str(tmp_path / "mine.yaml"))


def test_what_is_no_day_is_refused(settings):
    with pytest.raises(PresetError, match=r"--day: '20\.4\.1998' is no day; write it"):
        plan(settings, days=("20.4.1998",))


@pytest.mark.parametrize("override", ["training.sed=7", "source.layuot=table", "models.x=1"])
def test_a_misspelt_key_ends_the_command_before_airflow_starts(override, tmp_path, monkeypatch):
    monkeypatch.setenv("SIDEREAL_HOME", str(tmp_path))
    result = CliRunner().invoke(run, ["--set", override])
    assert result.exit_code == 2
    assert override.split("=")[0].split(".")[1] in result.output
    assert not (tmp_path / "airflow").exists()


def test_what_is_wrong_is_json_where_json_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDEREAL_HOME", str(tmp_path))
    result = CliRunner().invoke(run, ["--json", "--day", "10.3.2024"])
    assert result.exit_code == 2
    assert json.loads(result.stdout)["exit_code"] == 2
    assert "'10.3.2024' is no day" in json.loads(result.stdout)["error"]


def test_an_old_home_ends_the_command_before_airflow_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDEREAL_HOME", str(tmp_path))
    (tmp_path / "runs" / "1998-04-20" / "steps").mkdir(parents=True)
    result = CliRunner().invoke(run)
    assert result.exit_code == 2
    assert "of an earlier version, which did not keep presets apart" in result.output
    assert not (tmp_path / "airflow").exists()
