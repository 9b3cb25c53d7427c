import dataclasses
import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store.arrow import arrow_schema
from feature_store.content_hash import digest
from feature_store.contract import Column
from feature_store.errors import ContractViolation, SnapshotNotFound, TableNotFound
from feature_store.iceberg.catalog import Warehouse
from feature_store.store import FeatureStore

DAY_1, DAY_2, DAY_3 = (dt.date(1998, 4, day) for day in (15, 16, 17))


def with_columns(contract, *columns: Column, **changes):
    return dataclasses.replace(contract, columns=columns or contract.columns, **changes)


def reopened(shelf, contract) -> FeatureStore:
    return FeatureStore.open(shelf.settings, "shop", {contract.name: contract})


def test_what_is_published_can_be_read(shelf):
    published = shelf.publish(DAY_1, "a", "b", inputs={"shops": 7}, properties={"who": "me"})
    assert (published.rows, published.changed, published.partitions) == (2, True, [DAY_1])
    assert shelf.store.read("clicks").equals(
        shelf.clicks(DAY_1, "a", "b").cast(shelf.store.read("clicks").schema)
    )
    [info] = shelf.store.history("clicks")
    assert info.snapshot_id == published.snapshot_id == shelf.store.snapshot_id("clicks")
    assert (info.day, info.job, info.code_revision) == (DAY_1, "count_clicks", "abc123")
    assert (info.rows, info.inputs, info.tags) == (2, {"shops": 7}, ("1998-04-15",))
    assert info.content_hash == shelf.store.content_hash("clicks") == published.content_hash
    assert info.properties["who"] == "me"
    assert info.is_current and info.is_ancestor and info.parent_id is None


def test_a_tables_folder_opens_its_files(shelf):
    with pytest.raises(TableNotFound, match="nothing was published"):
        shelf.store.folder("clicks")
    shelf.publish(DAY_1, "a", "b")
    folder = shelf.store.folder("clicks")
    [file] = shelf.store.files("clicks")
    with folder.filesystem.open_input_file(folder.path_of(file)) as opened:
        assert pq.read_table(opened).num_rows == 2


def test_one_publish_is_one_snapshot_whether_it_adds_or_replaces(shelf):
    shelf.publish(DAY_1, "a")
    shelf.publish(DAY_1, "b")
    shelf.publish(DAY_2, "c")
    shelf.publish_shops("x")
    shelf.publish_shops("y", "z")
    assert len(shelf.store.history("clicks")) == 3
    assert len(shelf.store.history("shops")) == 2
    assert shelf.users() == ["b", "c"]
    assert shelf.store.read("shops")["shop_id"].to_pylist() == ["y", "z"]


def test_a_publish_replaces_only_its_partitions(shelf):
    shelf.publish(DAY_1, "a")
    shelf.publish(DAY_2, "b")
    shelf.publish(DAY_1, "c", "d")
    assert shelf.users(partition=DAY_1) == ["c", "d"]
    assert shelf.users(partition=DAY_2) == ["b"]
    assert shelf.store.partitions("clicks") == [DAY_1, DAY_2]
    assert shelf.store.row_count("clicks") == 3
    assert shelf.store.row_count("clicks", partition=DAY_1) == 2


def test_one_publish_may_carry_many_partitions(shelf):
    stage = shelf.store.stage("clicks", day=DAY_2, job="count_clicks")
    stage.write(pa.concat_tables([shelf.clicks(DAY_2, "b"), shelf.clicks(DAY_1, "a")]))
    assert shelf.store.publish(stage).partitions == [DAY_1, DAY_2]
    assert len(shelf.store.files("clicks")) == 2
    assert len(shelf.store.files("clicks", partitions=[DAY_2])) == 1
    assert shelf.store.files("clicks", partitions=[DAY_3]) == []


def test_a_named_partition_without_files_becomes_empty(shelf):
    shelf.publish(DAY_1, "a")
    shelf.publish(DAY_2, "b")
    empty = shelf.store.stage("clicks", day=DAY_1, job="count_clicks")
    assert shelf.store.publish(empty, replace=[DAY_1]).changed
    assert shelf.store.partitions("clicks") == [DAY_2]


def test_an_empty_first_publish_leaves_an_empty_table_with_its_day(shelf):
    stage = shelf.store.stage("clicks", day=DAY_1, job="count_clicks")
    stage.write(shelf.clicks(DAY_1))
    published = shelf.store.publish(stage, replace=[DAY_1])
    assert (published.changed, published.rows) == (True, 0)
    assert shelf.store.read("clicks", DAY_1).num_rows == 0
    assert shelf.store.files("clicks", DAY_1) == []


def test_the_same_rows_again_make_no_commit(shelf):
    first = shelf.publish(DAY_1, "a", "b")
    stage = shelf.store.stage("clicks", day=DAY_1, job="count_clicks")
    rows = shelf.clicks(DAY_1, "a", "b")
    stage.write(rows.slice(1, 1))
    stage.write(rows.slice(0, 1))
    again = shelf.store.publish(stage)
    assert again == dataclasses.replace(first, changed=False)
    assert len(shelf.store.history("clicks")) == 1
    assert not Path(stage.directory).exists()


def test_a_day_that_brings_nothing_new_is_found_all_the_same(shelf):
    first = shelf.publish_shops("x", day=DAY_1)
    second = shelf.publish_shops("x", day=DAY_2)
    assert (second.changed, second.snapshot_id) == (False, first.snapshot_id)
    assert shelf.store.snapshot_id("shops", DAY_2) == first.snapshot_id
    assert shelf.store.history("shops")[0].tags == ("1998-04-15", "1998-04-16")


def test_readers_of_a_day_see_what_its_last_run_left(shelf):
    shelf.publish(DAY_1, "a")
    shelf.publish(DAY_2, "b")
    assert shelf.users(DAY_1) == ["a"]
    assert shelf.users(DAY_2) == ["a", "b"]
    shelf.publish(DAY_1, "c")
    assert shelf.users(DAY_1) == ["c", "b"]
    assert shelf.users(DAY_2) == ["a", "b"]


def test_any_snapshot_can_be_read_by_its_id(shelf):
    ids = [shelf.publish(DAY_1, name).snapshot_id for name in "abc"]
    assert [shelf.users(snapshot_id) for snapshot_id in ids] == [["a"], ["b"], ["c"]]
    hashes = {shelf.store.content_hash("clicks", snapshot_id) for snapshot_id in ids}
    assert len(hashes) == 3


def test_columns_can_be_chosen_and_streamed(shelf):
    shelf.publish(DAY_1, "a", "b")
    reader = shelf.store.scan("clicks", columns=["place", "user_id"])
    assert reader.schema.names == ["place", "user_id"]
    assert reader.read_all().to_pylist() == [
        {"place": 0, "user_id": "a"},
        {"place": 1, "user_id": "b"},
    ]
    with pytest.raises(KeyError, match="table 'clicks' has no column 'nope'"):
        shelf.store.read("clicks", columns=["nope"])


def test_hash_of_a_partition_is_that_of_its_rows_whatever_stands_beside_it(shelf):
    published = shelf.publish(DAY_1, "a")
    shelf.publish(DAY_2, "b")
    assert shelf.store.content_hash("clicks", partition=DAY_1) == published.content_hash
    assert shelf.store.content_hash("clicks", partition=DAY_3) == "0" * 32
    assert shelf.store.content_hash("clicks") != published.content_hash


def test_hashes_are_read_from_the_files_where_no_digests_were_left(shelf):
    stage = shelf.staged(DAY_1, "a", "b")
    published = shelf.store.publish(stage)
    (Path(stage.directory) / "_digests.json").unlink()
    other = FeatureStore.open(shelf.settings, "shop", {"clicks": stage.contract})
    assert other.content_hash("clicks", partition=DAY_1) == published.content_hash


def test_rows_that_another_iceberg_writer_appended_count_like_ours(shelf):
    shelf.publish(DAY_1, "a")
    rows = shelf.clicks(DAY_2, "b", "c")
    table = Warehouse.open(shelf.settings, "shop").load("clicks")
    table.append(rows.cast(arrow_schema(shelf.store.contract("clicks"))))
    assert shelf.users() == ["a", "b", "c"]
    [theirs, _] = shelf.store.history("clicks")
    assert (theirs.rows, theirs.day, theirs.job) == (3, None, "")
    everything = shelf.store.read("clicks").to_batches()
    assert shelf.store.content_hash("clicks") == str(digest(everything))
    assert not shelf.publish(DAY_2, "b", "c").changed
    shelf.publish(DAY_1, "d")
    assert shelf.store.history("clicks")[0].rows == 3
    assert shelf.store.content_hash("clicks") == str(
        digest(shelf.store.read("clicks").to_batches())
    )


def test_a_table_that_was_never_published_is_empty_to_ask_and_an_error_to_read(shelf):
    store = shelf.store
    store.stage("clicks", day=DAY_1, job="count_clicks")
    assert not store.exists("clicks")
    assert store.snapshot_id("clicks") is None
    assert store.content_hash("clicks") is None
    assert (store.files("clicks"), store.partitions("clicks")) == ([], [])
    assert store.row_count("shops") == 0
    with pytest.raises(
        TableNotFound, match=r"to it yet; run the step that writes it.* wrong one: /"
    ):
        store.read("clicks")


def test_a_table_without_contract_is_refused_with_those_there_are(shelf):
    with pytest.raises(TableNotFound, match="no table 'click' is defined; tables are clicks, shop"):
        shelf.store.stage("click", day=DAY_1, job="count_clicks")


def test_an_unknown_version_is_refused(shelf):
    shelf.publish(DAY_1, "a")
    with pytest.raises(SnapshotNotFound, match="no snapshot 5; it may have expired"):
        shelf.store.read("clicks", 5)
    with pytest.raises(SnapshotNotFound, match="no snapshot for day 1998-04-17; it has 1 days"):
        shelf.store.read("clicks", DAY_3)
    assert shelf.store.snapshot_id("clicks", DAY_3) is None


def test_an_unpartitioned_table_has_no_partitions_to_replace(shelf):
    expected = r"'shops' has no partitions, but datetime.date\(1998, 4, 15\) was asked for"
    with pytest.raises(ValueError, match=expected):
        shelf.publish_shops("x", replace=[DAY_1])
    shelf.publish_shops("x")
    with pytest.raises(ValueError, match="'shops' has no partitions"):
        shelf.store.read("shops", partition=DAY_1)


@pytest.mark.parametrize("wrong", ["1998-04-15", dt.datetime(1998, 4, 15), 10331])
def test_a_partition_of_the_wrong_type_is_refused_not_empty(shelf, wrong):
    shelf.publish(DAY_1, "a")
    expected = "'clicks' is partitioned by day of type date, but .* was asked for; give date"
    for ask in (
        lambda: shelf.users(partition=wrong),
        lambda: shelf.store.row_count("clicks", partition=wrong),
        lambda: shelf.store.content_hash("clicks", partition=wrong),
        lambda: shelf.store.files("clicks", partitions=[wrong]),
        lambda: shelf.publish(DAY_1, "a", replace=[wrong]),
    ):
        with pytest.raises(ValueError, match=expected):
            ask()


def test_a_new_nullable_column_is_null_in_older_rows(shelf):
    old = shelf.publish(DAY_1, "a")
    contract = shelf.store.contract("clicks")
    wider = with_columns(
        contract,
        *contract.columns,
        Column(name="codes", type="list<int>", nullable=True, meaning="new"),
    )
    store = reopened(shelf, wider)
    assert store.read("clicks")["codes"].to_pylist() == [None]
    assert store.read("clicks", columns=["codes"]).to_pydict() == {"codes": [None]}
    stage = store.stage("clicks", day=DAY_2, job="count_clicks")
    rows = shelf.clicks(DAY_2, "b")
    stage.write(rows.append_column("codes", pa.array([[1, 2]], pa.list_(pa.int32()))))
    store.publish(stage)
    assert store.read("clicks")["codes"].to_pylist() == [None, [1, 2]]
    assert store.read("clicks", old.snapshot_id)["user_id"].to_pylist() == ["a"]


def test_columns_may_widen_become_nullable_and_go(shelf):
    shelf.publish(DAY_1, "a")
    day, user, place, _ = shelf.store.contract("clicks").columns
    store = reopened(
        shelf,
        with_columns(
            shelf.store.contract("clicks"),
            day,
            dataclasses.replace(user, nullable=True),
            dataclasses.replace(place, type="long"),
        ),
    )
    stage = store.stage("clicks", day=DAY_2, job="count_clicks")
    stage.write(pa.table({"day": [DAY_2], "user_id": pa.array([None], "str"), "place": [2**40]}))
    store.publish(stage)
    assert store.read("clicks", columns=["user_id", "place"]).to_pylist() == [
        {"user_id": "a", "place": 0},
        {"user_id": None, "place": 2**40},
    ]


def test_a_contract_that_published_rows_cannot_follow_is_refused(shelf):
    shelf.publish(DAY_1, "a")
    day, user, place, note = shelf.store.contract("clicks").columns
    contract = with_columns(
        shelf.store.contract("clicks"),
        day,
        dataclasses.replace(user, type="list<string>"),
        dataclasses.replace(place, type="float"),
        note,
        Column(name="shop", type="string", meaning="new and never null"),
        partition="place",
        order=(),
    )
    store = reopened(shelf, contract)
    stage = store.stage("clicks", day=DAY_1, job="count_clicks")
    stage.write(
        pa.table({"day": [DAY_1], "user_id": [["b"]], "place": [0.5], "note": ["n"], "shop": ["x"]})
    )
    with pytest.raises(ContractViolation) as refusal:
        store.publish(stage)
    assert [problem.partition(";")[0] for problem in refusal.value.problems] == [
        "the table is partitioned by ['day'], the contract by ['place']",
        "column 'user_id' was published as string, the contract says list<string>",
        "column 'place' was published as int, the contract says float",
        "new column 'shop' may not be null, but published rows lack it",
    ]
    assert shelf.users() == ["a"]
