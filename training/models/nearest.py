"""The items with the largest inner products, exactly, whatever the size of the catalogue.

Up to some number of items all scores are made at once. Beyond it they are made block by block, or
by FAISS's flat inner-product index where that is installed: all three give the same lists.

B queries, D width, V items, k places, W places looked at.
"""

import importlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.models.interface import PAD, Queries, TopK
from training.models.ranking import best_items

ALL_AT_ONCE = 100_000
"""Items up to which a row of scores over the whole catalogue is made."""
BLOCK = 65_536
"""Items of a block beyond that."""


class ItemIndex:
    """A catalogue to be searched many times.

    Args:
        items_VD: a vector per item.
    """

    def __init__(self, items_VD: Tensor) -> None:
        self._items_VD = items_VD.float()
        self._listed: tuple[np.ndarray, np.ndarray, ItemIndex] | None = None
        self._faiss: Any = None
        if len(items_VD) > ALL_AT_ONCE and (faiss := _faiss()) is not None:
            self._faiss = faiss.IndexFlatIP(items_VD.shape[1])
            self._faiss.add(np.ascontiguousarray(self._items_VD.cpu().numpy()))

    def nearest(self, query_BD: Tensor, queries: Queries, k: int) -> TopK:
        """The k items with the largest `query · item`, excluded and unlisted ones left out.

        Args:
            query_BD: a vector per context.
            queries: whose excluded and unlisted items are left out.
            k: places in a list; places beyond the items on offer hold `PAD`.
        """
        query_BD, num_items = query_BD.float(), len(self._items_VD)
        if num_items <= ALL_AT_ONCE:
            return best_items(query_BD @ self._items_VD.T, queries, k)
        most_excluded = int(np.diff(queries.excluded_offsets).max(initial=0))
        listed_N, index = self._without(queries.unlisted)
        scores_BW, place_BW = index.search(query_BD, min(len(listed_N), k + most_excluded))
        return _struck(scores_BW, listed_N[place_BW], queries, k, num_items)

    def search(self, query_BD: Tensor, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and items of the `width` best of each query, best first."""
        if self._faiss is None:
            return _by_blocks(query_BD, self._items_VD, width)
        query_rows = np.ascontiguousarray(query_BD.cpu().numpy())
        scores_BW, items_BW = self._faiss.search(query_rows, width)
        return scores_BW, items_BW

    def _without(self, unlisted: np.ndarray) -> "tuple[np.ndarray, ItemIndex]":
        """The listed items, and an index of them alone; the last one is kept."""
        if not len(unlisted):
            return np.arange(len(self._items_VD)), self
        if self._listed is None or not np.array_equal(self._listed[0], unlisted):
            listed_N = np.setdiff1d(np.arange(len(self._items_VD)), unlisted)
            index = ItemIndex(self._items_VD[torch.from_numpy(listed_N)])
            self._listed = (unlisted, listed_N, index)
        return self._listed[1:]


def _by_blocks(query_BD: Tensor, items_VD: Tensor, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and items of the `width` best, best first; a block's scores are alive at a time."""
    best = query_BD.new_empty((len(query_BD), 0))
    found = torch.empty((len(query_BD), 0), dtype=torch.int64, device=query_BD.device)
    for start in range(0, len(items_VD), BLOCK):
        scores_BC = query_BD @ items_VD[start : start + BLOCK].T
        block = scores_BC.topk(min(width, scores_BC.shape[1]), dim=1)
        both = torch.cat([best, block.values], 1)
        best, place = both.topk(min(width, both.shape[1]), dim=1)
        found = torch.cat([found, block.indices + start], 1).gather(1, place)
    return best.cpu().numpy(), found.cpu().numpy()


def _faiss() -> Any | None:
    """FAISS where it is installed; it is no requirement."""
    try:
        return importlib.import_module("faiss")
    except ImportError:
        return None


def _struck(
    scores_BW: np.ndarray, items_BW: np.ndarray, queries: Queries, k: int, num_items: int
) -> TopK:
    """The first k of each row that are not excluded."""
    num_rows = len(items_BW)
    cell_BW = np.arange(num_rows)[:, None] * num_items + items_BW
    offered_BW = ~np.isin(cell_BW, queries.excluded_rows * num_items + queries.excluded)
    place_BW = np.cumsum(offered_BW, axis=1) - 1
    row, column = np.nonzero(offered_BW & (place_BW < k))
    items_Bk = np.full((num_rows, k), PAD, dtype=np.int32)
    scores_Bk = np.full((num_rows, k), -np.inf, dtype=np.float32)
    items_Bk[row, place_BW[row, column]] = items_BW[row, column]
    scores_Bk[row, place_BW[row, column]] = scores_BW[row, column]
    return TopK(items_Bk, scores_Bk)
