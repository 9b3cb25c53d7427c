"""Items that people took to together, as a tokenizer learns from them."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from training.programs.item_vectors import ItemVectors


@dataclass(frozen=True)
class ItemPairs:
    """A day's pairs of items of which both have a vector.

    Args:
        rows_P2: (anchor, positive) as rows of the vectors, int64, [P,2].
        without_vector: pairs that were left out, because an item has no vector.
    """

    rows_P2: torch.Tensor
    without_vector: int

    @classmethod
    def from_arrow(cls, rows: pa.Table, vectors: ItemVectors) -> "ItemPairs":
        """The pairs of `item_cooccurrence`, by item and other item.

        Args:
            rows: with `item_index` and `other_index`.
            vectors: whose rows the pairs become.
        """
        rows = rows.sort_by([("item_index", "ascending"), ("other_index", "ascending")])
        items_P2 = np.stack([rows[name].to_numpy() for name in ("item_index", "other_index")], 1)
        has_vector_P = np.isin(items_P2, vectors.item_indices).all(axis=1)
        pairs_P2 = np.searchsorted(vectors.item_indices, items_P2[has_vector_P]).astype(np.int64)
        return cls(torch.from_numpy(pairs_P2), int((~has_vector_P).sum()))
