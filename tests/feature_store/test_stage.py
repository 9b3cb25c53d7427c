import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import feature_store.stage as stage_module
from feature_store.errors import ContractViolation
from feature_store.stage import batches

DAY_1, DAY_2 = dt.date(1998, 4, 15), dt.date(1998, 4, 16)


def put(stage, name: str, rows: pa.Table) -> None:
    path = Path(stage.directory) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path)


def test_a_stage_is_not_there_until_something_is_written(shelf):
    stage = shelf.store.stage("clicks", day=DAY_1, job="count_clicks")
    assert not Path(stage.directory).exists()
    assert stage.files() == []
    assert stage.table == "clicks"


def test_write_makes_one_sorted_file_per_partition(shelf):
    stage = shelf.store.stage("clicks", day=DAY_2, job="count_clicks")
    rows = pa.concat_tables([shelf.clicks(DAY_2, "b", "a"), shelf.clicks(DAY_1, "d", "c")])
    stage.write(rows)
    tables = [pq.read_table(file).select(["day", "user_id"]).to_pylist() for file in stage.files()]
    assert tables == [
        [{"day": DAY_1, "user_id": "c"}, {"day": DAY_1, "user_id": "d"}],
        [{"day": DAY_2, "user_id": "a"}, {"day": DAY_2, "user_id": "b"}],
    ]


def test_batches_are_written_as_they_come(shelf, monkeypatch):
    monkeypatch.setattr(stage_module, "FILE_BYTES", 1)
    stage = shelf.store.stage("clicks", day=DAY_1, job="count_clicks")
    batches = [shelf.clicks(DAY_1, name).to_batches()[0] for name in ("a", "b", "c")]
    stage.write(iter(batches[:2]))
    stage.write(batches[2])
    assert [Path(file).name for file in stage.files()] == [
        "part-00000.parquet",
        "part-00001.parquet",
        "part-00002.parquet",
    ]
    shelf.store.publish(stage)
    assert shelf.users() == ["a", "b", "c"]


def test_batches_short_of_a_file_are_written_together(shelf):
    stage = shelf.store.stage("clicks", day=DAY_1, job="count_clicks")
    stage.write(shelf.clicks(DAY_1, name).to_batches()[0] for name in ("b", "a"))
    [file] = stage.files()
    assert pq.read_table(file)["user_id"].to_pylist() == ["a", "b"]


def test_side_files_of_a_writer_do_not_count(shelf):
    stage = shelf.staged(DAY_1, "a")
    for name in ("_SUCCESS", "_temporary/part.parquet", ".part.parquet.crc", ".hidden.parquet"):
        put(stage, name, shelf.clicks(DAY_1, "z"))
    shelf.store.publish(stage)
    assert shelf.users() == ["a"]


def test_every_problem_of_every_file_is_told_at_once(shelf):
    stage = shelf.store.stage("clicks", day=DAY_1, job="count_clicks")
    good = shelf.clicks(DAY_1, "a", "b")
    put(stage, "a.parquet", good.rename_columns(["day", "user", "place", "note"]))
    put(stage, "b.parquet", good.set_column(1, "user_id", pa.array(["a", None])))
    put(stage, "c.parquet", pa.concat_tables([good, shelf.clicks(DAY_2, "c")]))
    put(stage, "sub/d.parquet", good.set_column(1, "user_id", pa.array([None, None], pa.string())))
    (Path(stage.directory) / "e.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(ContractViolation, match=r"nothing was committed") as refusal:
        shelf.store.publish(stage)
    told = [problem.split(" (Parquet")[0] for problem in refusal.value.problems]
    assert told[:-2] == [
        "a.parquet: column 'user' is not in the contract",
        "a.parquet: column 'user_id' is missing, expected string",
        "b.parquet: column 'user_id' holds 1 nulls, expected none",
        "c.parquet: holds 2 values of partition column 'day', expected one per file",
    ]
    assert told[-2].startswith("e.parquet: not a readable Parquet file")
    assert told[-1] == "sub/d.parquet: column 'user_id' holds 2 nulls, expected none"
    assert not shelf.store.exists("clicks")


def test_what_many_files_share_is_said_once(shelf):
    stage = shelf.store.stage("clicks", day=DAY_1, job="count_clicks")
    for name in "abc":
        put(stage, f"{name}.parquet", shelf.clicks(DAY_1, "a").drop_columns(["place"]))
    with pytest.raises(ContractViolation, match=r"a\.parquet and 2 more files: column 'place' is"):
        shelf.store.publish(stage)


def test_rows_of_a_partition_that_is_not_to_be_replaced_are_refused(shelf):
    stage = shelf.staged(DAY_2, "a")
    expected = "holds rows of day 1998-04-16, which is not among the partitions to replace"
    with pytest.raises(ContractViolation, match=expected):
        shelf.store.publish(stage, replace=[DAY_1])


def test_a_discarded_stage_leaves_nothing(shelf):
    stage = shelf.staged(DAY_1, "a")
    shelf.store.discard(stage)
    assert not Path(stage.directory).exists()
    shelf.store.discard(stage)


def test_wide_rows_are_read_in_small_batches(tmp_path):
    offsets = pa.array(range(0, 6_000_001, 20_000), pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array(np.arange(6_000_000)))
    pq.write_table(pa.table({"x": lists}), tmp_path / "wide.parquet", use_dictionary=False)
    with pq.ParquetFile(tmp_path / "wide.parquet") as file:
        rows = [batch.num_rows for batch in batches(file, ["x"])]
    assert sum(rows) == 300
    assert max(rows) == 256, "32 MiB hold fewer rows, but a batch is worth its overhead"
    pq.write_table(pa.table({"x": range(100_000)}), tmp_path / "narrow.parquet")
    with pq.ParquetFile(tmp_path / "narrow.parquet") as file:
        assert max(batch.num_rows for batch in batches(file, ["x"])) == 65_536
