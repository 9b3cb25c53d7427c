"""How item_knn is fitted."""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import torch

from training.data.histories import Histories
from training.data.splits import NO_DATA, Data, Split
from training.data.vocabulary import Vocabulary
from training.fit.fitting import FitReport, Fitting
from training.models.item_knn.model import CHUNK_CELLS, ItemKnn
from training.models.popularity.model import popularity_scores
from training.models.ranking import rows_within
from training.settings.families import ItemKnnConfig

POPULARITY_WEIGHT = 1e-6
"""Far below any similarity: orders only what similarity leaves tied."""


def fit(
    split: Split,
    config: ItemKnnConfig,
    fitting: Fitting,
    vocabulary: Vocabulary,
    data: Data = NO_DATA,
) -> tuple[ItemKnn, FitReport]:
    """Count pairs, keep each item's nearest."""
    num_items = vocabulary.num_items
    popularity_V = popularity_scores(split, num_items, None)
    popularity_V *= POPULARITY_WEIGHT / max(1.0, popularity_V.max(initial=0))
    n = min(config.neighbours, num_items)
    neighbours_Vn = np.zeros((num_items, n), dtype=np.int32)
    similarities_Vn = np.zeros((num_items, n), dtype=np.float32)
    for start, similarities_CV in _similarities(split.train, num_items, config):
        best = torch.from_numpy(similarities_CV).topk(n, dim=1)
        stop = start + len(similarities_CV)
        neighbours_Vn[start:stop] = best.indices.numpy()
        similarities_Vn[start:stop] = best.values.numpy()
    model = ItemKnn(neighbours_Vn, similarities_Vn, popularity_V.astype(np.float32), config)
    pairs = int((similarities_Vn > 0).sum())
    return model, FitReport(facts={"config": asdict(config), "neighbour_pairs": pairs})


def _similarities(
    train: Histories, num_items: int, config: ItemKnnConfig
) -> Iterator[tuple[int, np.ndarray]]:
    """Similarities of runs of items to all items, float32 [C, V], with the run's first item.

    Each run's co-occurrences are counted by writing out (item, other item of the same user); runs
    are cut so that neither these pairs nor the dense block outgrow `CHUNK_CELLS`.
    """
    users, items = _distinct_items(train.last(config.max_user_items), num_items)
    per_user = np.bincount(users, minlength=train.num_users)
    user_starts = np.concatenate([[0], np.cumsum(per_user)])
    by_item = np.argsort(items, kind="stable")
    n_V = np.bincount(items, minlength=num_items)
    item_starts = np.concatenate([[0], np.cumsum(n_V)])
    pairs_before = np.concatenate([[0], np.cumsum(per_user[users[by_item]])])
    pairs_V = pairs_before[item_starts]
    scale_V = np.sqrt(n_V, dtype=np.float64)
    start = 0
    while start < num_items:
        fits = int(np.searchsorted(pairs_V, pairs_V[start] + CHUNK_CELLS, side="right")) - 1
        stop = max(start + 1, min(fits, start + rows_within(CHUNK_CELLS, num_items), num_items))
        events = by_item[item_starts[start] : item_starts[stop]]
        counts = per_user[users[events]]
        ends = np.cumsum(counts)
        others = np.arange(counts.sum()) + np.repeat(
            user_starts[users[events]] - (ends - counts), counts
        )
        cells = np.repeat(items[events] - start, counts).astype(np.int64) * num_items
        block = np.bincount(cells + items[others], minlength=(stop - start) * num_items)
        block_CV = block.reshape(stop - start, num_items).astype(np.float64)
        block_CV[np.arange(stop - start), np.arange(start, stop)] = 0
        block_CV /= scale_V[start:stop, None] * scale_V + max(config.shrinkage, 1e-12)
        yield start, block_CV.astype(np.float32)
        start = stop


def _distinct_items(histories: Histories, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """(user, item) pairs without repetition, by user then item."""
    pairs = np.unique(histories.users * num_items + histories.items)
    return pairs // num_items, pairs % num_items
