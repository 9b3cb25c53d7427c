"""The benchmark compares like with like: the same rows, or no figure."""

import json

import pyarrow.parquet as pq
import pytest

from benchmarks import preference_lists
from benchmarks.preference_lists import CONTENDERS, generate, generate_items, measure
from benchmarks.two_sizes import SMALLER
from pipelines.transforms import shown_slates


@pytest.mark.exhaustive
@pytest.mark.spark
def test_both_contenders_write_the_same_rows_and_are_timed(settings):
    found = measure(settings, quick=True)
    assert found["ours"] > 0 and set(found["peers"]) == {"duckdb"}
    assert found["ratio"] == found["ours"] / found["peers"]["duckdb"]
    assert found["growth"]["ours"] == found["ours"] / found["smaller"]["ours"] / SMALLER
    assert json.loads(json.dumps(found)) == found
    assert not (settings.home / "bench" / "preference_lists").exists()


def test_rows_that_differ_are_refused(tmp_path):
    generate(tmp_path, exposures=2_000)
    generate_items(tmp_path)
    preference_lists.duckdb(tmp_path)()
    rows = pq.read_table(tmp_path / "duckdb" / "part.parquet")
    tiers = rows["tiers"].to_pylist()
    assert {tier for row in tiers for tier in row} == {1, 2, 3, 4}
    assert max(row.count(tier) for row in tiers for tier in (1, 2, 3)) == 3
    for name in set(CONTENDERS) - {"duckdb"}:
        (tmp_path / name).mkdir()
        pq.write_table(rows.slice(1), tmp_path / name / "a.parquet")
    with pytest.raises(RuntimeError, match="the contenders' rows differ"):
        preference_lists.COMPARED.refuse_differences(tmp_path)


def test_both_draw_with_the_same_generator():
    assert preference_lists._PRIME == shown_slates.PRIME
    assert preference_lists._STEP == shown_slates.STEP
