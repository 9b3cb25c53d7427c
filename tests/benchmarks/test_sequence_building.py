"""The benchmark compares like with like: the same rows, or no figure."""

import json

import pyarrow.parquet as pq
import pytest

from benchmarks import sequence_building
from benchmarks.sequence_building import CONTENDERS, generate, measure


@pytest.mark.exhaustive
@pytest.mark.spark
def test_all_contenders_write_the_same_rows_and_are_timed(settings):
    found = measure(settings, quick=True)
    assert found["ours"] > 0 and set(found["peers"]) == {"duckdb", "polars"}
    assert found["ratio"] == found["ours"] / min(found["peers"].values())
    assert json.loads(json.dumps(found)) == found
    assert not (settings.home / "bench" / "sequence_building").exists()


def test_rows_that_differ_are_refused(tmp_path):
    generate(tmp_path, events=3_000, users=50, items=20)
    sequence_building.polars(tmp_path)()
    rows = pq.read_table(tmp_path / "polars" / "part.parquet")
    for name in set(CONTENDERS) - {"polars"}:
        (tmp_path / name).mkdir()
        pq.write_table(rows.slice(1) if name == "ours" else rows, tmp_path / name / "a.parquet")
    with pytest.raises(RuntimeError, match="the contenders' rows differ"):
        sequence_building._refuse_differences(tmp_path)
