"""Retention on one machine: when it is due, and what goes."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from feature_store.errors import TableDamaged
from feature_store.store import FeatureStore
from sidereal.retention import EVERY_DAYS, tidy
from tests.suites.contract_rows import contract_rows

DAY = date(1998, 4, 20)


@pytest.fixture
def store(settings):
    """The tables of the preset `mine`, which has run for a day."""
    settings.runs_of("mine").mkdir(parents=True)
    return FeatureStore.open(settings, "mine")


def publish(store, day, count):
    stage = store.stage("items", day=day, job="build_items")
    stage.write(contract_rows(store.contract("items"), count, seed=count))
    store.publish(stage)


def test_old_snapshots_go_once_a_week_of_data(settings, store):
    for number in range(12):
        publish(store, DAY - timedelta(days=400 - number), number + 1)
    publish(store, DAY, 20)
    first = tidy(settings, "mine", DAY)
    assert first["snapshots_expired"] == 3  # ten stay whatever their day
    assert json.loads((settings.runs_of("mine") / "maintenance.json").read_text()) == first
    assert tidy(settings, "mine", DAY + timedelta(days=EVERY_DAYS - 1)) is None
    assert tidy(settings, "mine", DAY - timedelta(days=30)) is None
    again = tidy(settings, "mine", DAY + timedelta(days=EVERY_DAYS))
    assert again["snapshots_expired"] == 0


def test_what_could_not_be_tidied_is_tried_again(settings, store):
    publish(store, DAY, 3)
    path = Path(store.files("items")[0].removeprefix("file://"))
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(TableDamaged, match="of live snapshots are gone"):
        tidy(settings, "mine", DAY)
    path.write_bytes(content)
    assert tidy(settings, "mine", DAY) is not None
