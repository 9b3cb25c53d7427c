"""An item that the catalogue no longer lists: kept, recommended by nobody, back with its index."""

from datetime import timedelta

import pytest

from feature_store.store import FeatureStore
from pipelines.errors import DataRefused
from pipelines.runner import run_job
from tests.pipelines.raw_worlds import DAY, table_config, write_csv
from training.programs.day_inputs import DayTables

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]
BEFORE, AFTER, LAST = (DAY + timedelta(days=number) for number in (-1, 1, 2))
HEADER = ("id", "name", "about", "kind")


@pytest.fixture
def catalogue(spark, settings):
    """Delivers a day's catalogue (None: none) and runs build_items for the day."""
    config = table_config(catalogue="items/{day}.csv")

    def run(day, ids):
        if ids is not None:
            rows = [(item, f"Item {item}", f"about {item}", "book") for item in ids]
            write_csv(settings.data_path / "items" / f"{day}.csv", rows, header=HEADER)
        facts = run_job("build_items", preset_config=config, settings=settings, day=day)
        store = FeatureStore.open(settings, config.name)
        rows = sorted(store.read("items").to_pylist(), key=lambda row: row["item_index"])
        return facts, {row["item_id"]: row["last_listed_day"] for row in rows}, store

    return run


@pytest.mark.exhaustive
def test_a_withdrawn_item_is_kept_and_comes_back_with_its_index(catalogue, settings):
    write_csv(settings.data_path / "items" / f"{BEFORE}.csv", [("z", "Z", "", "")], header=HEADER)
    facts, listed, store = catalogue(DAY, ["a", "b", "", "a"])
    # The first run reads the older catalogue, too: its item is known, and withdrawn already.
    assert listed == {"a": None, "b": None, "z": BEFORE}
    assert facts["withdrawn_items"] == 1
    assert (facts["rows_without_id"], facts["without_id"]) == (1, ["Item"])
    assert (facts["rows_of_an_item_again"], facts["again"]) == (1, ["a"])
    assert DayTables(store, DAY).unlisted().tolist() == [2]

    facts, listed, store = catalogue(AFTER, ["a", "c"])
    assert listed == {"a": None, "b": DAY, "z": BEFORE, "c": None}
    assert facts["withdrawn_items"] == 2
    assert DayTables(store, AFTER).unlisted().tolist() == [1, 2]
    assert DayTables(store, AFTER).unlisted(asked_on=DAY).tolist() == [2]

    _, later, store = catalogue(LAST, None)
    assert later == listed, "without one of its own the day has the last catalogue"
    _, back, store = catalogue(LAST, ["a", "b", "c"])
    assert back == {"a": None, "b": None, "z": BEFORE, "c": None}
    assert DayTables(store, LAST).unlisted().tolist() == [2]
    _, again, _ = catalogue(DAY, ["b", "d"])
    assert again == back | {"d": DAY}, "an older catalogue adds what nobody has seen, no more"


def test_a_catalogue_that_lists_nothing_withdraws_nothing(catalogue):
    catalogue(DAY, ["a"])
    with pytest.raises(DataRefused, match=rf"{AFTER}.csv lists no item: 1 rows, 1 without an id"):
        catalogue(AFTER, [""])
