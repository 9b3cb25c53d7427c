"""The catalogue's vectors, as the tokenizer's programs read them."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from feature_store.steps import run_first
from training.programs.day_inputs import Inputs, version_of_day
from training.programs.interface import ProgramError, Task


@dataclass(frozen=True)
class ItemVectors:
    """One vector per item that has one.

    Args:
        encoder: name@revision; vectors of different encoders are never mixed.
        item_indices: ascending, int64, [N].
        embeddings_ND: float32, rows aligned with `item_indices`.
    """

    encoder: str
    item_indices: np.ndarray
    embeddings_ND: torch.Tensor


def read_item_vectors(task: Task, inputs: Inputs, *, encoder: str = "") -> ItemVectors:
    """The vectors of the day; notes what was read in `inputs`.

    Args:
        task: store and day.
        inputs: gets the entry `item_embeddings`.
        encoder: whose vectors; empty: the preset's `tokenizer.encoder`, or the only one there is.
    Raises:
        ProgramError: there are none, none of that encoder, several encoders and no choice, or
            vectors of different lengths.
    """
    name, store = "item_embeddings", task.store
    at = version_of_day(store, name, task.day)
    wanted = encoder or task.config.tokenizer.encoder
    found = _choose([str(value) for value in store.partitions(name, at=at)], wanted, task)
    inputs[name] = {
        "snapshot_id": store.snapshot_id(name, at=at),
        "content_hash": store.content_hash(name, at=at, partition=found),
    }
    rows = store.read(name, at=at, partition=found, columns=["item_index", "embedding"])
    rows = rows.sort_by("item_index")
    return ItemVectors(found, rows["item_index"].to_numpy().astype(np.int64), _matrix(rows, found))


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


def _choose(encoders: list[str], wanted: str, task: Task) -> str:
    if not encoders:
        raise ProgramError(
            f"'item_embeddings' has no rows for {task.day}; {run_first('item_embeddings')}"
        )
    fitting = [name for name in encoders if not wanted or name.split("@")[0] == wanted]
    fitting = [wanted] if wanted in encoders else fitting
    if len(fitting) != 1:
        raise ProgramError(
            f"'item_embeddings' holds vectors of {', '.join(encoders)}, wanted is "
            f"{wanted or 'the only one'}; set tokenizer.encoder to one of them, or run "
            "embed_items with that encoder"
        )
    return fitting[0]


def _matrix(rows: pa.Table, encoder: str) -> torch.Tensor:
    lists = rows["embedding"].combine_chunks()
    widths = np.unique(lists.value_lengths().to_numpy())
    if len(widths) != 1 or widths[0] == 0:
        lengths = ", ".join(map(str, widths))
        raise ProgramError(
            f"vectors of {encoder!r} have {lengths} numbers, expected one length; "
            "run embed_items again"
        )
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return torch.from_numpy(values.reshape(len(rows), int(widths[0])).copy())
