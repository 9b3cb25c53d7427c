"""The benchmark compares like with like: the same rows, or no figure."""

import json

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from benchmarks import impressions
from benchmarks.impressions import CONFIG, FIRST, LAST, generate, measure
from benchmarks.two_sizes import SMALLER
from feature_store.storage import Folder
from pipelines.transforms.impression_features import ATTRIBUTES, USER_CODE, USER_SINCE
from pipelines.transforms.impressions import Coding
from pipelines.transforms.listed_items import TableFiles


@pytest.mark.exhaustive
@pytest.mark.spark
def test_both_contenders_write_the_same_rows_and_are_timed(settings):
    found = measure(settings, quick=True)
    assert found["ours"] > 0 and set(found["peers"]) == {"duckdb"}
    assert found["ratio"] == found["ours"] / found["peers"]["duckdb"]
    assert found["growth"]["ours"] == found["ours"] / found["smaller"]["ours"] / SMALLER
    assert json.loads(json.dumps(found)) == found
    assert not (settings.home / "bench" / "impressions").exists()


@pytest.fixture
def written(tmp_path):
    """What DuckDB makes of histories."""
    generate(tmp_path, exposures=5_000)
    impressions.duckdb(tmp_path)()
    return tmp_path


def test_windows_of_sql_say_the_same_as_a_worker(written):
    places = {
        name: Folder(f"file://{written}/{name}", f"{written}/{name}", fs.LocalFileSystem())
        for name in ("items", "feature_vocabularies")
    }
    files = {
        name: TableFiles(place, (f"{place.uri}/00.parquet",)) for name, place in places.items()
    }
    coding = Coding(
        config=CONFIG,
        utc_offset_hours=0.0,
        days=(FIRST, LAST),
        vocabularies=files["feature_vocabularies"],
        items=files["items"],
    )
    ours = pa.Table.from_batches(list(coding.run(iter([_joined(written)]))))
    theirs = pq.read_table(written / "duckdb" / "part.parquet").cast(ours.schema)
    assert ours.num_rows >= 5_000
    assert ours.sort_by("impression_id").equals(theirs.sort_by("impression_id"))
    for name in ("user_codes", "item_codes", "context_codes"):
        for codes in zip(*ours[name].to_pylist(), strict=True):
            assert len(set(codes)) > 1


def _joined(folder):
    """Histories beside what features read of users, as Spark joins them."""
    rows = pq.read_table(folder / "user_sequences").combine_chunks()
    users = pq.read_table(folder / "users").combine_chunks()
    codes = pq.read_table(folder / "feature_vocabularies")
    codes = codes.filter(pc.equal(codes["field"], "user_id")).combine_chunks()
    of = pc.index_in(rows["user_id"].combine_chunks(), codes["value"].combine_chunks())
    cities = pc.map_lookup(users["attributes"].combine_chunks(), pa.scalar("city"), "first")
    columns = {name: rows[name].combine_chunks() for name in rows.column_names}
    return pa.record_batch(
        columns
        | {
            ATTRIBUTES: pa.StructArray.from_arrays([cities], ["city"]),
            USER_CODE: codes["code"].combine_chunks().take(of),
            USER_SINCE: codes["first_day"].combine_chunks().cast(pa.int32()).take(of),
        }
    )


def test_rows_that_differ_are_refused(written):
    rows = pq.read_table(written / "duckdb" / "part.parquet")
    (written / "ours").mkdir()
    pq.write_table(rows.slice(1), written / "ours" / "a.parquet")
    with pytest.raises(RuntimeError, match="the contenders' rows differ"):
        impressions.COMPARED.refuse_differences(written)
