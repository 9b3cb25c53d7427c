"""The catalogue's vectors, as the programs read them."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from feature_store.tables.item_embeddings import DIGEST_OF_ID
from training.programs.errors import ProgramError


@dataclass(frozen=True)
class ItemVectors:
    """One vector per item that has one.

    Args:
        encoder: name@revision; vectors of different encoders are never mixed.
        item_indices: ascending, int64, [N].
        embeddings_ND: float32, rows aligned with `item_indices`.
        has_content_N: bool; False where the encoder had nothing to read but the item's id. None:
            every item has content.
    """

    encoder: str
    item_indices: np.ndarray
    embeddings_ND: torch.Tensor
    has_content_N: np.ndarray | None = None

    @classmethod
    def from_arrow(
        cls, encoder: str, rows: pa.Table, *, column: str = "embedding"
    ) -> "ItemVectors":
        """The vectors of one encoder's rows of `item_embeddings`.

        Args:
            encoder: whose rows they are.
            rows: with `item_index` and the column; `content_digest`, if there, says which items
                have content.
            column: of the vectors.
        Raises:
            ProgramError: vectors of different lengths, or empty ones.
        """
        rows = rows.sort_by("item_index")
        indices = rows["item_index"].to_numpy().astype(np.int64)
        has_content_N = None
        if "content_digest" in rows.column_names:
            by_id = pc.starts_with(rows["content_digest"], DIGEST_OF_ID)
            has_content_N = ~by_id.to_numpy()
        return cls(encoder, indices, _matrix(rows, encoder, column), has_content_N)

    def with_content(self) -> "ItemVectors":
        """Those of items of which more than the id is known."""
        if self.has_content_N is None:
            return self
        kept = self.has_content_N
        embeddings_ND = self.embeddings_ND[torch.from_numpy(kept)]
        return ItemVectors(self.encoder, self.item_indices[kept], embeddings_ND)


def item_matrix(found: ItemVectors, num_items: int) -> np.ndarray:
    """A row per item, zeros where it has no vector, float32, [V, D].

    Args:
        found: vectors of some items.
        num_items: V; vectors of items beyond it are left out.
    """
    matrix_VD = np.zeros((num_items, found.embeddings_ND.shape[1]), dtype=np.float32)
    is_known_N = found.item_indices < num_items
    matrix_VD[found.item_indices[is_known_N]] = found.embeddings_ND.numpy()[is_known_N]
    return matrix_VD


def choose_encoder(encoders: list[str], wanted: str) -> str:
    """The encoder of whom vectors are read.

    Args:
        encoders: name@revision of each that has vectors.
        wanted: a name, or a name@revision; empty: the only one there is.
    Raises:
        ProgramError: none of them, or several, are what is wanted.
    """
    fitting = [name for name in encoders if not wanted or name.split("@")[0] == wanted]
    fitting = [wanted] if wanted in encoders else fitting
    if len(fitting) != 1:
        raise ProgramError(
            f"'item_embeddings' holds vectors of {', '.join(encoders)}, wanted is "
            f"{wanted or 'the only one'}; set tokenizer.encoder to one of them, or run "
            "embed_items with that encoder"
        )
    return fitting[0]


def _matrix(rows: pa.Table, encoder: str, column: str) -> torch.Tensor:
    lists = rows[column].combine_chunks()
    widths = np.unique(lists.value_lengths().to_numpy())
    if len(widths) != 1 or widths[0] == 0:
        lengths = ", ".join(map(str, widths))
        raise ProgramError(
            f"vectors of {encoder!r} have {lengths} numbers, expected one length; "
            "run embed_items again"
        )
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return torch.from_numpy(values.reshape(len(rows), int(widths[0])).copy())
