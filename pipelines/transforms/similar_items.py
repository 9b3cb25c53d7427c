"""item_embeddings → the items most similar to some of them, in bounded memory.

Only the items asked for are looked up, never all against all. A task holds the vectors of its
anchors and their best items so far, and goes once through the catalogue's files, a block of items
against a block of anchors at a time: memory doesn't grow with the catalogue.

Cosines are taken in double precision and compared to six decimals, so that it makes no difference
how the work was cut; ties go to the lower item_index.

Tensors: A anchors, N items of a block, D width of the embeddings, C similar items that are kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from pipelines.transforms.listed_items import ITEMS_AT_ONCE, TableFiles, columns_of, since

ANCHORS_PER_TASK = 16_384
ANCHORS_AT_ONCE = 512
_DECIMALS = 10**6
_INDEX_BITS = 32
_NOTHING = np.iinfo(np.int64).max
"""Key of what is no candidate: behind every other."""

Doubles = np.ndarray[Any, np.dtype[np.float64]]
Longs = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, kw_only=True)
class SimilarItems:
    """A search for similar items.

    Args:
        embeddings: of one encoder.
        items: the catalogue.
        count: similar items wanted per anchor.
        minimum_similarity: the cosine must be above this.
    """

    embeddings: TableFiles
    items: TableFiles
    count: int
    minimum_similarity: float

    def find(self, anchors: DataFrame, *, most_anchors: int) -> DataFrame:
        """The items most similar to each anchor, as they were known on a day.

        An item counts on a day if the catalogue had it by then; those that were in its first
        delivery count on every day, since nobody knows since when they had been there.

        Args:
            anchors: distinct rows of `anchor` (an item_index) and `day`.
            most_anchors: how many rows there can be; decides the number of tasks.
        Returns:
            anchor, day, similar: up to `count` item indices, most similar first, without the
            anchor. Anchors without an embedding have no row.
        """
        tasks = 1 + most_anchors // ANCHORS_PER_TASK
        return anchors.repartition(tasks, "anchor").mapInArrow(
            self._run, "anchor int, day date, similar array<int>"
        )

    def _run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        asked = [batch for batch in batches if batch.num_rows]
        if not asked:
            return
        table = pa.Table.from_batches(asked)
        anchors_A = table["anchor"].to_numpy().astype(np.int64)
        days_A = table["day"].cast(pa.int32()).to_numpy().astype(np.int64)
        rows, best_AC = self.search(anchors_A, days_A)
        lengths_A = (best_AC != _NOTHING).sum(axis=1)
        found = (best_AC[best_AC != _NOTHING] & ((1 << _INDEX_BITS) - 1)).astype(np.int32)
        offsets = np.concatenate([[0], np.cumsum(lengths_A)]).astype(np.int32)
        yield pa.record_batch(
            {
                "anchor": pa.array(anchors_A[rows], pa.int32()),
                "day": pa.array(days_A[rows].astype(np.int32), pa.int32()).cast(pa.date32()),
                "similar": pa.ListArray.from_arrays(pa.array(offsets), pa.array(found)),
            }
        )

    def search(self, anchors_A: Longs, days_A: Longs) -> tuple[Longs, Longs]:
        """Rows of the anchors that have an embedding, and the sorted keys of their best items.

        A key is `(1 - cosine) · 10^6` in the upper bits and the item_index in the lower 32: the
        order of keys is the order of the result.
        """
        known_since = self._known_since()
        rows, vectors_AD = self._vectors(anchors_A)
        best_AC = np.full((len(rows), self.count), _NOTHING)
        for items_N, vectors_ND in self._blocks():
            since_N = known_since[items_N]
            for start in range(0, len(rows), ANCHORS_AT_ONCE):
                part = slice(start, start + ANCHORS_AT_ONCE)
                keys_AN = self._keys(vectors_AD[part] @ vectors_ND.T, items_N)
                of_part = rows[part]
                keys_AN[items_N[None, :] == anchors_A[of_part, None]] = _NOTHING
                keys_AN[since_N[None, :] > days_A[of_part, None]] = _NOTHING
                best_AC[part] = _smallest(np.hstack([best_AC[part], keys_AN]), self.count)
        return rows, np.sort(best_AC, axis=1)

    def _keys(self, cosines_AN: Doubles, items_N: Longs) -> Longs:
        rounded_AN = np.rint(cosines_AN * _DECIMALS)
        keys_AN: Longs = (_DECIMALS - rounded_AN).astype(np.int64) << _INDEX_BITS | items_N
        keys_AN[rounded_AN <= round(self.minimum_similarity * _DECIMALS)] = _NOTHING
        return keys_AN

    def _vectors(self, anchors_A: Longs) -> tuple[Longs, Doubles]:
        """Rows of the anchors that have an embedding, ascending, and their unit vectors."""
        rows, vectors = [np.zeros(0, np.int64)], []
        order = np.argsort(anchors_A, kind="stable")
        for items_N, vectors_ND in self._blocks():
            by_item = np.argsort(items_N)
            place = np.searchsorted(items_N, anchors_A[order], sorter=by_item)
            place = by_item[np.minimum(place, len(items_N) - 1)]
            there = items_N[place] == anchors_A[order]
            rows.append(order[there])
            vectors.append(vectors_ND[place[there]])
        if not vectors:
            return rows[0], np.zeros((0, 0))
        found = np.concatenate(rows)
        ascending = np.argsort(found)
        return found[ascending], np.concatenate(vectors)[ascending]

    def _blocks(self) -> Iterator[tuple[Longs, Doubles]]:
        for batch in self.embeddings.batches(["item_index", "embedding"], ITEMS_AT_ONCE):
            if batch.num_rows:
                flat = batch["embedding"].flatten().to_numpy(zero_copy_only=False)
                vectors_ND = flat.reshape(batch.num_rows, -1).astype(np.float64)
                norms_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
                # A vector without a direction is similar to nothing.
                vectors_ND /= np.where(norms_N1 > 0, norms_N1, 1)
                yield batch["item_index"].to_numpy().astype(np.int64), vectors_ND

    def _known_since(self) -> Longs:
        """The day since which each item counts, by item_index; the first ones since ever."""
        items_N, days_N = columns_of(self.items, "item_index", "first_day")
        known_since = np.zeros(items_N.max() + 1, np.int64)
        known_since[items_N] = since(days_N)
        return known_since


def _smallest(keys_AN: Longs, count: int) -> Longs:
    """The `count` smallest keys of each row, in no order; keys are distinct but for `_NOTHING`."""
    return np.partition(keys_AN, count - 1, axis=1)[:, :count]
