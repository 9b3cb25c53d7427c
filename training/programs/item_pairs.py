"""Items that people took to together, as the tokenizer's programs read them."""

import numpy as np
import torch

from training.programs.day_inputs import Inputs
from training.programs.interface import Facts, Task
from training.programs.item_vectors import ItemVectors

TABLE = "item_cooccurrence"


def read_item_pairs(
    task: Task, inputs: Inputs, vectors: ItemVectors
) -> tuple[torch.Tensor | None, Facts]:
    """The day's pairs as rows of the vectors; notes what was read in `inputs`.

    Args:
        task: store and day.
        inputs: gets the entry `item_cooccurrence` where the day has pairs.
        vectors: a pair of which an item has none is left out, and counted.
    Returns:
        Rows (anchor, positive), int64, [P,2], None where the day has no pairs; and what to tell:
        `pairs`, `pairs_without_vector`, and a `note` where there are none.
    """
    store, day = task.store, task.day
    if not store.row_count(TABLE, partition=day):
        note = f"{TABLE!r} has no rows for {day}: positives are neighbours by embedding alone"
        return None, {"pairs": 0, "pairs_without_vector": 0, "note": note}
    inputs[TABLE] = {
        "snapshot_id": store.snapshot_id(TABLE),
        "content_hash": store.content_hash(TABLE, partition=day),
    }
    rows = store.read(TABLE, partition=day, columns=["item_index", "other_index"])
    rows = rows.sort_by([("item_index", "ascending"), ("other_index", "ascending")])
    items_P2 = np.stack([rows[name].to_numpy() for name in ("item_index", "other_index")], axis=1)
    has_vector_P = np.isin(items_P2, vectors.item_indices).all(axis=1)
    pairs_P2 = np.searchsorted(vectors.item_indices, items_P2[has_vector_P]).astype(np.int64)
    lost = int((~has_vector_P).sum())
    return torch.from_numpy(pairs_P2), {"pairs": len(pairs_P2), "pairs_without_vector": lost}
