"""The days of a preset."""

from datetime import date

import pytest

from feature_store.preset import PresetError, load
from feature_store.settings import REPOSITORY
from sidereal.schedule import PART


@pytest.fixture
def preset(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_the_default_preset_names_two_consecutive_days():
    first, second = load(PART, "movielens-100k", folder=REPOSITORY / "presets").schedule.days
    assert (second - first).days == 1


def test_a_preset_without_a_schedule_has_no_days(preset, tmp_path):
    assert load(PART, preset("name: mine"), folder=tmp_path).schedule.days == ()


def test_an_override_replaces_the_days(preset, tmp_path):
    found = load(
        PART,
        preset("schedule: {days: [1998-01-01]}"),
        folder=tmp_path,
        overrides=["schedule.days=[2020-02-29]"],
    )
    assert found.schedule.days == (date(2020, 2, 29),)


def test_a_wrong_day_is_refused_with_its_path(preset, tmp_path):
    with pytest.raises(PresetError, match=r"line 1: schedule\.days\.1: found the text 'April'"):
        load(PART, preset("schedule: {days: [1998-04-20, April]}"), folder=tmp_path)


def test_a_misspelt_key_is_refused_with_its_path(preset, tmp_path):
    with pytest.raises(PresetError, match=r"schedule\.day: is no key"):
        load(PART, preset("schedule: {day: 1998-04-20}"), folder=tmp_path)
