"""The search for similar items against a slow reference, and what it leaves out."""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from feature_store.storage import Folder
from pipelines.transforms import similar_items
from pipelines.transforms.listed_items import TableFiles
from pipelines.transforms.similar_items import SimilarItems

FIRST, LATER = date(2024, 5, 1), date(2024, 5, 5)


@pytest.fixture
def search(tmp_path):
    """A search over vectors by item_index, in files of some rows each."""

    def search(vectors, *, count, first_days=None, minimum=0.0, rows_per_file=4, shuffle=None):
        there = [n for n, vector in enumerate(vectors) if vector is not None]
        order = np.random.default_rng(shuffle).permutation(there) if shuffle is not None else there
        embeddings = pa.table(
            {
                "item_index": pa.array(order, pa.int32()),
                "embedding": pa.array([vectors[n] for n in order], pa.list_(pa.float32())),
            }
        )
        items = pa.table(
            {
                "item_index": pa.array(range(len(vectors)), pa.int32()),
                "first_day": pa.array(first_days or [FIRST] * len(vectors), pa.date32()),
            }
        )
        return SimilarItems(
            embeddings=files(tmp_path / f"embeddings-{shuffle}", embeddings, rows_per_file),
            items=files(tmp_path / "items", items, rows_per_file),
            count=count,
            minimum_similarity=minimum,
        )

    return search


def files(folder, table, rows):
    folder.mkdir(exist_ok=True)
    uris = []
    for start in range(0, table.num_rows, rows):
        uris.append(f"file://{folder}/{start:04d}.parquet")
        pq.write_table(table.slice(start, rows), folder / f"{start:04d}.parquet")
    return TableFiles(Folder(f"file://{folder}", str(folder), fs.LocalFileSystem()), tuple(uris))


def found(search, *anchors, day=LATER):
    """anchor → similar, through the Arrow batches that Spark would give and take."""
    batch = pa.record_batch(
        {
            "anchor": pa.array(anchors, pa.int32()),
            "day": pa.array([day] * len(anchors), pa.date32()),
        }
    )
    out = list(search._run(iter([batch])))
    return {row["anchor"]: row["similar"] for part in out for row in part.to_pylist()}


def slow(vectors, anchor, count):
    """By sorting all cosines, to six decimals; ties by index."""
    unit = np.array(vectors, dtype=np.float32).astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = np.round(unit @ unit[anchor], 6)
    best = sorted((-cosine, n) for n, cosine in enumerate(cosines) if n != anchor and cosine > 0)
    return [n for _, n in best[:count]]


@pytest.mark.parametrize("block", [3, 7, 8192])
def test_it_finds_what_a_sort_of_all_cosines_finds_however_the_work_is_cut(
    search, monkeypatch, block
):
    monkeypatch.setattr(similar_items, "ITEMS_AT_ONCE", block)
    monkeypatch.setattr(similar_items, "ANCHORS_AT_ONCE", block)
    # Few distinct values: many ties.
    vectors = np.random.default_rng(1).integers(-1, 2, (60, 4)).astype(float)
    vectors[:, 0] += 0.5
    anchors = [0, 5, 17, 59, 3]
    looked_up = search(list(vectors), count=9, shuffle=block)
    assert found(looked_up, *anchors) == {n: slow(vectors, n, 9) for n in anchors}


def test_an_anchor_without_an_embedding_has_no_row(search):
    looked_up = search([[1, 0], None, [1, 0.1], [0, 1]], count=5)
    assert found(looked_up, 1, 0) == {0: [2]}
    assert found(looked_up, 1) == {}


def test_no_anchor_asks_for_nothing(search):
    assert list(search([[1, 0], [0, 1]], count=1)._run(iter([]))) == []


def test_an_item_that_is_not_similar_enough_does_not_count(search):
    vectors = [[1, 0], [1, 0.1], [1, 1], [-1, 0]]
    assert found(search(vectors, count=5), 0) == {0: [1, 2]}
    assert found(search(vectors, count=5, minimum=0.9), 0) == {0: [1]}
    assert found(search(vectors, count=5, minimum=0.999), 0) == {0: []}


def test_a_vector_without_direction_is_similar_to_nothing(search):
    assert found(search([[1, 0], [0, 0], [1, 0]], count=5), 0, 1) == {0: [2], 1: []}


def test_an_item_counts_from_the_day_on_that_the_catalogue_had_it(search):
    looked_up = search([[1, 0]] * 3, count=5, first_days=[FIRST, LATER, FIRST])
    assert found(looked_up, 0, day=date(2024, 5, 4)) == {0: [2]}
    assert found(looked_up, 0, day=LATER) == {0: [1, 2]}
    # Nobody knows since when the first delivery's items were there.
    assert found(looked_up, 0, day=date(2020, 1, 1)) == {0: [2]}


def test_a_catalogue_of_three_items_gives_two(search):
    assert found(search([[1, 0], [1, 1], [1, 2]], count=18), 0, 2) == {0: [1, 2], 2: [1, 0]}
