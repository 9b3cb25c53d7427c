"""What a model may recommend: the item numbers, and their semantic IDs where it needs them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Vocabulary:
    """The catalogue as training sees it.

    Attributes:
        num_items: V; item indices are 0 to V - 1, dense and append-only.
        codes_VQ: semantic IDs under one generation, int32, -1 in every level of an item without
            one; None for families that use none.
        generation: name of the tokenizer generation, "" without codes.
        vectors_VD: what the generation's tokenizer read of every item, float32, zeros for an item
            without codes or without anything to read; None where none is kept. An item's vector
            stays within a generation, as its codes do.
    """

    num_items: int
    codes_VQ: np.ndarray | None = None
    generation: str = ""
    vectors_VD: np.ndarray | None = None

    @classmethod
    def with_semantic_ids(cls, num_items: int, rows: pa.Table) -> "Vocabulary":
        """A vocabulary with the codes of one generation of the table `semantic_ids`.

        Args:
            num_items: V.
            rows: the columns generation, item_index and codes; codes all of one length. And
                `vector`, where vectors are wanted.
        Raises:
            ValueError: no rows, several generations, an item outside the catalogue, or codes of
                differing lengths.
        """
        generations = rows.column("generation").unique().to_pylist()
        if len(generations) != 1:
            raise ValueError(f"semantic IDs must be of one generation, found {generations}")
        indices = rows.column("item_index").to_numpy()
        if indices.min() < 0 or indices.max() >= num_items:
            raise ValueError(
                f"semantic IDs name item_index {indices.min()} to {indices.max()}, the catalogue"
                f" has 0 to {num_items - 1}; read both tables as of the same day"
            )
        lists = rows.column("codes").combine_chunks()
        lengths = np.unique(lists.value_lengths().to_numpy())
        if len(lengths) != 1:
            raise ValueError(f"semantic IDs must have one length, found {lengths.tolist()}")
        codes_VQ = np.full((num_items, int(lengths[0])), -1, dtype=np.int32)
        codes_VQ[indices] = lists.flatten().to_numpy().reshape(len(indices), -1)
        return cls(num_items, codes_VQ, generations[0], _vectors(num_items, indices, rows))

    @cached_property
    def level_sizes(self) -> tuple[int, ...]:
        """Codes per level, K_1 to K_Q: one more than the largest in use."""
        return tuple(int(largest) + 1 for largest in self.require_codes().max(axis=0))

    def require_codes(self) -> np.ndarray:
        """The codes of every item, int32, -1 where there are none, shape [V, Q].

        Raises:
            ValueError: the vocabulary is one without semantic IDs.
        """
        if self.codes_VQ is None:
            raise ValueError("this vocabulary has no semantic IDs; build_semantic_ids makes them")
        return self.codes_VQ

    def require_vectors(self) -> np.ndarray:
        """What the tokenizer read of every item, float32, [V, D].

        Raises:
            ValueError: the generation's vectors were not kept.
        """
        if self.vectors_VD is None:
            raise ValueError(
                f"generation {self.generation!r} keeps no vectors of its items; run "
                "train_tokenizer and build_semantic_ids for the day: they make one that does"
            )
        return self.vectors_VD


def _vectors(num_items: int, indices: np.ndarray, rows: pa.Table) -> np.ndarray | None:
    """A row per item; None where rows, or some of them, have no vector."""
    if "vector" not in rows.column_names or rows["vector"].null_count:
        return None
    values = rows["vector"].combine_chunks().flatten().to_numpy()
    vectors_ND = values.astype(np.float32, copy=False).reshape(len(indices), -1)
    vectors_VD = np.zeros((num_items, vectors_ND.shape[1]), dtype=np.float32)
    vectors_VD[indices] = vectors_ND
    return vectors_VD
