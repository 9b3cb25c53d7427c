"""engagements → a vector per item, alike where the same users took to the items.

The truncated singular value decomposition of the user × item matrix that holds
`1 / √((n_u + 5)(m_i + 1))` where user u took to item i (n: items of the user, m: users of the
item), by block power iteration (Halko, Martinsson and Tropp 2011, §4.5): a pass over the events
multiplies the matrix's Gram matrix by a block of vectors. An item's vector is its row of `V Σ`, at
unit length. A pass is linear in events; nothing has the size of users × items.

Sums over users are of whole numbers (multiples of a quantum that leaves their total exact), so that
the order of users, blocks and partitions changes no bit of them.

Legend: U users, I items, K columns of the block of vectors.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from pipelines.transforms.engagements import matrices

WIDTH = 64
"""Numbers of a vector; zeros at the end where the events have fewer directions."""
_SPARE = 16
"""Columns beside those that are kept, which make these converge sooner."""
_PASSES = 8
_USER_DAMPING, _ITEM_DAMPING = 5.0, 1.0
_LEAST_SHARE = 1e-6
"""Of the largest singular value; what is below is rounding."""
_ITEMS_PER_RANGE = 2_048
Matrix = np.ndarray[Any, np.dtype[np.float64]]


def item_vectors(blocks: DataFrame, num_users_I: Matrix) -> Matrix:
    """Vectors of items.

    The same input gives the same bits, however it is partitioned.

    Args:
        blocks: of `engagements`, persisted; read `_PASSES` times.
        num_users_I: of each item, 0 where nobody took to it.
    Returns:
        float64, [I, 64], of unit length, zeros where nobody took to the item. The sign of a column
        is that of its largest number.
    """
    width = min(WIDTH + _SPARE, int((num_users_I > 0).sum()))
    if not width:
        return np.zeros((len(num_users_I), WIDTH))
    scale_I1 = np.where(num_users_I > 0, 1 / np.sqrt(num_users_I + _ITEM_DAMPING), 0.0)[:, None]
    quantum = _quantum(float(num_users_I.max()))
    block_IK = np.random.default_rng(0).standard_normal((len(num_users_I), width)) * (scale_I1 > 0)
    for _ in range(_PASSES):
        basis_IK, _ = np.linalg.qr(block_IK)
        block_IK = scale_I1 * _gram_times(blocks, scale_I1 * basis_IK, quantum)
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


def _quantum(most_users: float) -> float:
    """The smallest power of two whose multiples, summed over an item's users, stay exact.

    A user adds `√w (A x)` with w ≤ 1/6, and ‖A x‖ ≤ 1: in size, m users add at most √(m / 6).
    """
    return float(2.0 ** (np.ceil(np.log2(np.sqrt(most_users / (1 + _USER_DAMPING)) + 1)) - 51))


def _gram_times(blocks: DataFrame, factor_IK: Matrix, quantum: float) -> Matrix:
    """`Bᵀ diag(1 / (n + 5)) B · factor`, B the 0/1 matrix of who took to what, [I, K].

    Each partition multiplies its users' rows; partial products are added by ranges of items.
    """
    shared = blocks.sparkSession.sparkContext.broadcast(factor_IK)
    num_items, width = factor_IK.shape

    def multiplied(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        factor_IK = shared.value
        product_IK = np.zeros((num_items, width))
        for batch in batches:
            for items, taken in matrices(batch):
                weight_U = 1 / (np.diff(taken.indptr) + _USER_DAMPING) / quantum
                share_UK = np.rint(weight_U[:, None] * (taken @ factor_IK[items]))
                product_IK[items] += taken.T @ share_UK
        for start in range(0, num_items, _ITEMS_PER_RANGE):
            yield _partial(start, product_IK[start : start + _ITEMS_PER_RANGE])

    def added(parts: pa.Table) -> pa.Table:
        total = sum(np.frombuffer(each.as_buffer()) for each in parts["values"])
        return pa.Table.from_batches([_partial(parts["start"][0].as_py(), np.asarray(total))])

    partial = blocks.select("item_indices", "lengths", "places").mapInArrow(
        multiplied, _PARTIAL_DDL
    )
    ranges = partial.groupBy("start").applyInArrow(added, _PARTIAL_DDL).toArrow().sort_by("start")
    shared.destroy()
    product = np.concatenate([np.frombuffer(each.as_buffer()) for each in ranges["values"]])
    return product.reshape(num_items, width) * quantum


_PARTIAL = pa.schema({"start": pa.int32(), "values": pa.binary()})
_PARTIAL_DDL = "start int, values binary"


def _partial(start: int, values: Matrix) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [{"start": start, "values": values.tobytes()}], schema=_PARTIAL
    )
