import dataclasses
import datetime as dt
import threading
from contextlib import contextmanager

import pyarrow as pa
import pytest

from feature_store.commit import until_committed
from feature_store.errors import CommitConflict
from feature_store.iceberg.catalog import CommitLost, Warehouse
from feature_store.store import FeatureStore

DAY_1, DAY_2 = dt.date(1998, 4, 15), dt.date(1998, 4, 16)


class OvertakenWarehouse(Warehouse):
    """Lets something happen once, after a commit was prepared and before it is made."""

    meanwhile = None

    @contextmanager
    def transaction(self, table):
        with super().transaction(table) as transaction:
            yield transaction
            happening, self.meanwhile = self.meanwhile, None
            if happening:
                happening()


@pytest.fixture
def overtaken(shelf):
    """A second store on the same tables whose next commit can be overtaken."""
    other = type(shelf)(shelf.settings)
    other.warehouse = OvertakenWarehouse.open(shelf.settings, "shop")
    contracts = {name: shelf.store.contract(name) for name in ("clicks", "shops")}
    other.store = FeatureStore(other.warehouse, shelf.settings, contracts)
    return other


def test_a_commit_overtaken_in_another_partition_is_made_again_on_the_new_head(shelf, overtaken):
    shelf.publish(DAY_1, "old")
    overtaken.warehouse.meanwhile = lambda: shelf.publish(DAY_2, "b")
    published = overtaken.publish(DAY_1, "a")
    assert overtaken.warehouse.meanwhile is None
    assert shelf.users() == ["a", "b"]
    assert shelf.store.snapshot_id("clicks", DAY_1) == published.snapshot_id
    assert shelf.store.history("clicks")[0].rows == 2
    assert shelf.store.content_hash("clicks") == shelf.store.history("clicks")[0].content_hash


def test_a_commit_overtaken_in_its_own_partition_is_refused(shelf, overtaken):
    shelf.publish(DAY_1, "old")
    overtaken.warehouse.meanwhile = lambda: shelf.publish(DAY_1, "theirs")
    with pytest.raises(CommitConflict, match="another run changed 1998-04-15 since count_clicks"):
        overtaken.publish(DAY_1, "mine")
    assert shelf.users() == ["theirs"]


def test_a_commit_overtaken_by_the_same_rows_is_done_already(shelf, overtaken):
    overtaken.warehouse.meanwhile = lambda: shelf.publish(DAY_1, "a")
    assert not overtaken.publish(DAY_1, "a").changed
    assert len(shelf.store.history("clicks")) == 1


def test_a_partition_published_since_the_stage_was_made_is_a_conflict(shelf):
    shelf.publish(DAY_1, "old")
    stage = shelf.staged(DAY_1, "mine")
    theirs = shelf.publish(DAY_1, "theirs").snapshot_id
    with pytest.raises(CommitConflict, match=f"{theirs} now.*nothing was committed. Run count"):
        shelf.store.publish(stage)
    assert shelf.publish(DAY_1, "mine, having read theirs").changed


def test_a_first_publish_overtaken_by_another_first_publish_is_a_conflict(shelf):
    stage = shelf.staged(DAY_1, "mine")
    shelf.publish(DAY_1, "theirs")
    with pytest.raises(CommitConflict, match="snapshot None then"):
        shelf.store.publish(stage)


def test_an_unpartitioned_table_conflicts_as_a_whole(shelf):
    stage = shelf.store.stage("shops", day=DAY_1, job="list_shops")
    stage.write(pa.table({"shop_id": ["mine"], "tags": [["a"]]}))
    shelf.publish_shops("theirs")
    with pytest.raises(CommitConflict, match="another run changed the whole table since list_shop"):
        shelf.store.publish(stage)


def test_a_base_that_has_expired_is_a_conflict(shelf):
    stage = dataclasses.replace(shelf.staged(DAY_1, "a"), base=5)
    with pytest.raises(CommitConflict, match="snapshot 5 then, None now"):
        shelf.store.publish(stage)


def test_writers_of_different_days_at_the_same_time_all_get_through(shelf):
    days = [dt.date(1998, 5, number) for number in range(1, 7)]
    shelf.publish(DAY_1, "first")
    failures = []

    def write(day: dt.date) -> None:
        try:
            type(shelf)(shelf.settings).publish(day, f"user of {day}")
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=write, args=(day,)) for day in days]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert shelf.store.partitions("clicks") == [DAY_1, *days]
    assert len(shelf.store.history("clicks")) == 7
    assert shelf.store.row_count("clicks") == shelf.store.history("clicks")[0].rows == 7
    assert [shelf.store.snapshot_id("clicks", day) is not None for day in days] == [True] * 6


def test_stores_opened_on_a_new_catalog_at_the_same_time_share_it(shelf, tmp_path):
    settings = shelf.settings.model_copy(update={"home": tmp_path / "new"})
    shelves, threads = [], []
    for _ in range(4):
        threads.append(threading.Thread(target=lambda: shelves.append(type(shelf)(settings))))
        threads[-1].start()
    for thread in threads:
        thread.join()
    shelves[0].publish(DAY_1, "a")
    assert [each.users() for each in shelves] == [["a"]] * 4


def test_a_commit_that_is_always_overtaken_gives_up():
    attempts = []

    def attempt():
        attempts.append(1)
        raise CommitLost[0]("too late")

    with pytest.raises(CommitConflict, match=r"table 'clicks': other runs kept .* for 0\.1 s"):
        until_committed(attempt, table="clicks", patience_seconds=0.1)
    assert len(attempts) > 1
