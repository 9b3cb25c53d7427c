"""What `sidereal run` is going to do, and what it refuses before anything starts."""

from datetime import date

import pytest
from click.testing import CliRunner

from feature_store.preset import PresetError
from sidereal.run import make_plan, run


def plan(settings, preset="movielens-100k", days=(), model=None, overrides=()):
    return make_plan(preset, days, model, overrides, settings)


def test_without_days_the_presets_own_are_run(settings):
    found = plan(settings)
    assert found.days == (date(1998, 4, 20), date(1998, 4, 21))
    assert found.dataset == "movielens-100k"


def test_days_may_be_listed_or_repeated(settings):
    found = plan(settings, days=("1998-04-20,1998-04-21", "1998-04-22"))
    assert [day.day for day in found.days] == [20, 21, 22]


def test_the_model_is_one_more_override(settings):
    found = plan(settings, model="sasrec", overrides=("training.seed=7",))
    assert found.overrides == ("training.seed=7", "models.challenger=sasrec")


def test_a_preset_with_data_of_its_own_fetches_nothing(settings):
    assert plan(settings, preset="kuairand", days=("2022-04-20",)).dataset is None


def test_a_preset_without_a_schedule_asks_for_days(settings, tmp_path):
    text = (settings.presets / "kuairand.yaml").read_text().split("\nschedule:")[0]
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(PresetError, match=r"has no schedule\.days; say which with --days"):
        plan(settings, preset=str(tmp_path / "mine.yaml"))


def test_what_is_no_day_is_refused(settings):
    with pytest.raises(PresetError, match=r"--days: '20\.4\.1998' is not a day such as"):
        plan(settings, days=("20.4.1998",))


@pytest.mark.parametrize("override", ["training.sed=7", "source.layuot=table", "models.x=1"])
def test_a_misspelt_key_ends_the_command_before_airflow_starts(override, tmp_path, monkeypatch):
    monkeypatch.setenv("SIDEREAL_HOME", str(tmp_path))
    result = CliRunner().invoke(run, ["--set", override])
    assert result.exit_code == 2
    assert override.split("=")[0].split(".")[1] in result.output
    assert not (tmp_path / "airflow").exists()
