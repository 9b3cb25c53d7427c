"""user_sequences → a vector per item, alike where the same users took to the items.

The truncated singular value decomposition of the user × item matrix that holds
`1 / √((n_u + 5)(m_i + 1))` where user u took to item i (n: items of the user, m: users of the
item), by block power iteration (Halko, Martinsson and Tropp 2011, §4.5): a pass over the events
multiplies the matrix's Gram matrix by a block of vectors. An item's vector is its row of `V Σ`, at
unit length. A pass is linear in events; nothing has the size of users × items.

Legend: U users, I items, K columns of the block.
"""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.transforms.training_span import TrainingSpan

WIDTH = 64
"""Numbers of a vector; zeros at the end where the events have fewer directions."""
_SPARE = 16
"""Columns beside those that are kept, which make these converge sooner."""
_PASSES = 8
_USER_DAMPING, _ITEM_DAMPING = 5.0, 1.0
_LEAST_SHARE = 1e-6
"""Of the largest singular value; what is below is rounding."""
_ITEMS_PER_BLOCK = 2_048
Matrix = np.ndarray[Any, np.dtype[np.float64]]


def engagements(sequences: DataFrame, span: TrainingSpan) -> DataFrame:
    """What each user took to within the span: every event but a mere exposure.

    Args:
        sequences: the day's rows of `user_sequences`.
        span: up to where.
    Returns:
        `items`, oldest first, and the `times` of their events; no row for a user without any.
    """
    zipped = F.arrays_zip("item_indices", "strengths", "event_times")
    within = F.slice(zipped, F.lit(1), span.num_events())
    took = F.filter(within, lambda event: event["strengths"] != 0)
    return (
        sequences.select(took.alias("events"))
        .where(F.size("events") > 0)
        .select(
            F.col("events.item_indices").alias("items"), F.col("events.event_times").alias("times")
        )
    )


def sources(engagements: DataFrame) -> DataFrame:
    """Of each item how many users took to it, and when one last did.

    Args:
        engagements: of `engagements`.
    Returns:
        item_index, num_users, newest_event_time.
    """
    users = (
        engagements.select(F.explode(F.array_distinct("items")).alias("item_index"))
        .groupBy("item_index")
        .agg(F.count(F.lit(1)).alias("num_users"))
    )
    newest = (
        engagements.select(F.inline(F.arrays_zip("items", "times")))
        .groupBy(F.col("items").alias("item_index"))
        .agg(F.max("times").alias("newest_event_time"))
    )
    return users.join(newest, "item_index")


def matrix_rows(engagements: DataFrame) -> DataFrame:
    """Each user's items, every one once: rows of the 0/1 matrix, to be read again and again.

    Args:
        engagements: of `engagements`.
    Returns:
        `items`, ascending, in as many partitions as can be worked on at a time.
    """
    rows = engagements.select(F.array_sort(F.array_distinct("items")).alias("items"))
    return rows.coalesce(engagements.sparkSession.sparkContext.defaultParallelism)


def item_vectors(rows: DataFrame, num_users_I: Matrix) -> Matrix:
    """Vectors of items.

    The same input in the same partitions gives the same bits; in others, the same up to rounding.

    Args:
        rows: of `matrix_rows`, persisted; read `_PASSES` times.
        num_users_I: of each item, 0 where nobody took to it.
    Returns:
        float64, [I, 64], of unit length, zeros where nobody took to the item. The sign of a column
        is that of its largest number.
    """
    width = min(WIDTH + _SPARE, int((num_users_I > 0).sum()))
    if not width:
        return np.zeros((len(num_users_I), WIDTH))
    scale_I1 = np.where(num_users_I > 0, 1 / np.sqrt(num_users_I + _ITEM_DAMPING), 0.0)[:, None]
    block_IK = np.random.default_rng(0).standard_normal((len(num_users_I), width)) * (scale_I1 > 0)
    for _ in range(_PASSES):
        basis_IK, _ = np.linalg.qr(block_IK)
        block_IK = scale_I1 * _gram_times(rows, scale_I1 * basis_IK)
    # basisᵀ Gram basis; its eigenvectors turn the basis into singular vectors.
    values_K, turn_KK = np.linalg.eigh(basis_IK.T @ block_IK)
    kept = [k for k in range(width - 1, -1, -1) if values_K[k] > _LEAST_SHARE**2 * values_K[-1]]
    kept = kept[:WIDTH]
    vectors = np.zeros((len(num_users_I), WIDTH))
    vectors[:, : len(kept)] = basis_IK @ turn_KK[:, kept] * np.sqrt(values_K[kept])
    vectors *= np.where(_extremes(vectors) < 0, -1.0, 1.0)
    length_I1 = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length_I1 > 0, length_I1, 1.0))


def _extremes(vectors: Matrix) -> Matrix:
    """The number of largest size in each column."""
    return np.asarray(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])


def _gram_times(rows: DataFrame, factor_IK: Matrix) -> Matrix:
    """`Bᵀ diag(1 / (n + 5)) B · factor`, B the 0/1 matrix of who took to what, [I, K].

    Each partition multiplies its users' rows; partial products are added by blocks of items, in the
    order of the partitions.
    """
    spark = rows.sparkSession
    shared = spark.sparkContext.broadcast(factor_IK)
    num_items, width = factor_IK.shape

    def multiplied(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        factor = shared.value
        product = np.zeros((num_items, width))
        for batch in batches:
            taken = _sparse(batch, num_items)
            weight = 1 / (np.diff(taken.indptr) + _USER_DAMPING)
            product += taken.T @ (weight[:, None] * (taken @ factor))
        part = TaskContext.get().partitionId()
        for start in range(0, num_items, _ITEMS_PER_BLOCK):
            values = product[start : start + _ITEMS_PER_BLOCK].tobytes()
            yield pa.RecordBatch.from_pylist(
                [{"start": start, "part": part, "values": values}], schema=_PARTIAL
            )

    def added(parts: pa.Table) -> pa.Table:
        ordered = parts.sort_by("part")
        products = (np.frombuffer(each.as_buffer()) for each in ordered["values"])
        total = functools.reduce(np.add, products).tobytes()
        return pa.table(
            {
                "start": ordered["start"][:1],
                "part": ordered["part"][:1],
                "values": [total],
            },
            schema=_PARTIAL,
        )

    partial = rows.mapInArrow(multiplied, _PARTIAL_DDL)
    blocks = partial.groupBy("start").applyInArrow(added, _PARTIAL_DDL).toArrow().sort_by("start")
    shared.destroy()
    return np.concatenate(
        [np.frombuffer(each.as_buffer()).reshape(-1, width) for each in blocks["values"]]
    )


_PARTIAL = pa.schema({"start": pa.int32(), "part": pa.int32(), "values": pa.binary()})
_PARTIAL_DDL = "start int, part int, values binary"


def _sparse(batch: pa.RecordBatch, num_items: int) -> Any:
    """Rows of `matrix_rows` as a sparse matrix."""
    from scipy.sparse import csr_array

    lists = batch["items"]
    offsets, items = lists.offsets.to_numpy(), lists.values.to_numpy()
    first, last = int(offsets[0]), int(offsets[-1])
    ones = np.ones(last - first)
    return csr_array((ones, items[first:last], offsets - first), shape=(len(lists), num_items))
