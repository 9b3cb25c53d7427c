"""Tables and records of several presets in one home, and homes from before they were kept apart."""

import shutil
from pathlib import Path

import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField, StringType

from feature_store.errors import OldHome
from feature_store.maintenance import Retention
from feature_store.preset import PresetError
from feature_store.run_record import read_steps, write_step
from feature_store.store import FeatureStore
from tests.feature_store.conftest import CONTRACTS, DAY_1, Shelf


@pytest.fixture
def other(shelf):
    """The same home's tables of another preset."""
    other = Shelf(shelf.settings)
    other.store = FeatureStore.open(shelf.settings, "films", CONTRACTS)
    return other


def old_catalog(settings):
    """A catalog as an earlier version left it: one namespace, nothing says whose."""
    settings.home.mkdir(parents=True, exist_ok=True)
    catalog = load_catalog(
        "sidereal",
        type="sql",
        uri=settings.resolved_catalog_uri,
        warehouse=settings.resolved_warehouse,
    )
    catalog.create_namespace("sidereal")
    return catalog


def test_a_preset_sees_its_own_tables_alone(shelf, other):
    shelf.publish(DAY_1, "a", "b")
    assert other.store.tables() == []
    other.publish(DAY_1, "c")
    assert (shelf.users(), other.users()) == (["a", "b"], ["c"])
    folders = sorted(path.name for path in Path(shelf.settings.resolved_warehouse).iterdir())
    assert folders == ["films", "shop"]


def test_maintenance_of_a_preset_leaves_the_others_alone(shelf, other):
    for users in (("a",), ("b",)):
        shelf.publish(DAY_1, *users)
        other.publish(DAY_1, *users)
    [done] = other.store.maintain(["clicks"], Retention(keep_days=0, keep_snapshots=1))
    assert len(done.snapshots_expired) == 1
    assert len(shelf.store.history("clicks")) == 2
    assert len(other.store.history("clicks")) == 1


def test_looking_at_a_preset_that_never_ran_makes_no_namespace(shelf):
    store = FeatureStore.open(shelf.settings, "never", CONTRACTS)
    assert store.tables() == []
    assert not store.exists("clicks")
    catalog = load_catalog("sidereal", type="sql", uri=shelf.settings.resolved_catalog_uri)
    assert ("never",) not in catalog.list_namespaces()


def test_records_of_a_preset_are_read_by_it_alone(settings):
    write_step(settings.runs_of("shop"), DAY_1, "build_items", {"status": "done"})
    assert read_steps(settings.runs_of("films"), DAY_1) == {}
    assert list(read_steps(settings.runs_of("shop"), DAY_1)) == ["build_items"]


def test_tables_that_no_preset_owns_are_refused_and_left_as_they_are(settings):
    catalog = old_catalog(settings)
    schema = Schema(NestedField(1, "item_id", StringType()))
    catalog.create_table(("sidereal", "items"), schema=schema)
    with pytest.raises(OldHome, match=r"holds tables of an earlier version.*set SIDEREAL_HOME"):
        FeatureStore.open(settings, "shop")
    assert catalog.list_tables("sidereal") == [("sidereal", "items")]
    assert OldHome.exit_code == 2


def test_a_catalog_that_an_earlier_version_only_opened_may_be_used(settings):
    old_catalog(settings)
    assert FeatureStore.open(settings, "shop").tables() == []


def test_a_preset_may_be_called_like_the_old_namespace(settings):
    for _ in range(2):
        shelf = Shelf(settings)
        shelf.store = FeatureStore.open(settings, "sidereal", CONTRACTS)
        shelf.publish(DAY_1, "a")
    assert FeatureStore.open(settings, "shop").tables() == []


def test_records_that_no_preset_owns_are_refused_and_left_as_they_are(settings):
    path = write_step(settings.runs_path, DAY_1, "build_items", {"status": "done"})
    with pytest.raises(OldHome, match=r"records of 1 day\(s\), 1998-04-15 for example.*set SIDER"):
        FeatureStore.open(settings, "shop")
    assert path.is_file()
    shutil.rmtree(settings.runs_path)
    FeatureStore.open(settings, "shop")


def test_a_preset_may_be_called_like_a_day(settings):
    write_step(settings.runs_of("1998-04-15"), DAY_1, "build_items", {"status": "done"})
    store = FeatureStore.open(settings, "1998-04-15")
    assert store.snapshot_id("items") is None and read_steps(settings.runs_of("1998-04-15"), DAY_1)


@pytest.mark.parametrize("name", ["", "Shop", "my shop", "-shop", "a.b", "a/b", "é", "s" * 64])
def test_a_name_that_no_preset_can_have_opens_no_tables(settings, name):
    with pytest.raises(PresetError, match="can't name tables and folders, expected 1 to 63 lower"):
        FeatureStore.open(settings, name)
