"""Both tasks from one reading of the history (M-FALCON: Zhai et al. 2024, arXiv:2402.17152).

The history is encoded once and its keys are kept. Retrieval compares what was said last with all
items. Ranking appends candidates in micro-batches, each of which sees the history and itself alone,
all at the place and the time of what comes next: equal to encoding history and candidate anew for
every candidate, at a token's cost each.

B contexts, L events, C candidates, W of them at a time, D width, V items, k places.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from training.data.contexts import PAD, Contexts, TopK
from training.models.nearest import ALL_AT_ONCE, ItemIndex
from training.models.ranking import rows_within
from training.models.unigrf.interleave import interleave_times

if TYPE_CHECKING:
    from training.models.unigrf.model import Unigrf

CHUNK_CELLS = 16_000_000
"""Scores of one layer alive at a time while answering."""
MICRO_BATCH = 64
"""Candidates of a row that are read at a time."""


@dataclass(frozen=True)
class Read:
    """Histories that were read once.

    Attributes:
        said_BD: the model's vector after the last feedback, or after the start.
        memory: the backbone's.
        lengths_B: tokens of each history.
        asked_at_B: when what comes next happens, seconds.
    """

    said_BD: Tensor
    memory: object
    lengths_B: Tensor
    asked_at_B: Tensor


def read(model: "Unigrf", contexts: Contexts) -> Read:
    """Encode histories."""
    device = model.items_VD.device

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    asked_at_B = tensor(contexts.asked_at_B)
    x_BTD = model.read(tensor(contexts.items_BL).long(), tensor(contexts.strengths_BL))
    # What follows the last event is the question: one time more than there are tokens.
    times_BL = torch.cat([tensor(contexts.times_BL), asked_at_B[:, None]], 1)
    times_BT = interleave_times(times_BL)[:, : x_BTD.shape[1] + 1]
    x_BTD, memory = model.backbone.remember(x_BTD, times_BT)
    lengths_B = 1 + 2 * tensor(contexts.lengths_B)
    said_BD = x_BTD[torch.arange(len(x_BTD), device=device), lengths_B - 1]
    return Read(said_BD, memory, lengths_B, asked_at_B)


@torch.inference_mode()
def recommend(model: "Unigrf", contexts: Contexts, k: int) -> TopK:
    """The k items with the largest logits after each context.

    Raises:
        ValueError: the model was trained for ranking alone.
    """
    _require(model.config.retrieves, "ranking", "recommend")
    model.eval()
    index = ItemIndex(model.item_vectors())
    parts = [TopK.empty(k)]
    for part in _chunks(model, contexts):
        query_BD = model.queries(read(model, part).said_BD)
        parts.append(index.nearest(query_BD, part, k))
    return TopK.concatenate(parts)


@torch.inference_mode()
def rank(model: "Unigrf", contexts: Contexts, items_BC: np.ndarray) -> np.ndarray:
    """Probability of positive feedback for each candidate, float32, [B, C].

    An item beyond the catalogue gets the share of positive feedback in training, a `PAD` gets NaN.

    Args:
        model: built to rank.
        contexts: the B histories.
        items_BC: candidates, item indices; as many for each, `PAD` for none.
    Raises:
        ValueError: the model was trained for retrieval alone, or rows are not as many as contexts.
    """
    _require(model.ranks, "retrieval", "rank")
    model.eval()
    parts = [np.empty((0, items_BC.shape[1]), dtype=np.float32)]
    for part, own_BC in _chunks_with(model, contexts, items_BC):
        parts.append(_ranked(model, read(model, part), own_BC))
    return np.concatenate(parts)


@torch.inference_mode()
def recommend_and_rank(
    model: "Unigrf", contexts: Contexts, k: int, items_BC: np.ndarray
) -> tuple[TopK, np.ndarray]:
    """What `recommend` and `rank` answer, with each history read once.

    Raises:
        ValueError: as theirs.
    """
    _require(model.config.retrieves, "ranking", "recommend")
    _require(model.ranks, "retrieval", "rank")
    model.eval()
    index = ItemIndex(model.item_vectors())
    lists = [TopK.empty(k)]
    said = [np.empty((0, items_BC.shape[1]), dtype=np.float32)]
    for part, own_BC in _chunks_with(model, contexts, items_BC):
        seen = read(model, part)
        lists.append(index.nearest(model.queries(seen.said_BD), part, k))
        said.append(_ranked(model, seen, own_BC))
    return TopK.concatenate(lists), np.concatenate(said)


@torch.inference_mode()
def recommend_ranked(model: "Unigrf", contexts: Contexts, k: int, num_candidates: int) -> TopK:
    """Of the most likely next items those most likely to be liked; scores are probabilities.

    Args:
        model: built for both tasks.
        contexts: the B histories, read once.
        k: places of a list.
        num_candidates: items that retrieval offers; as many as there are, and at least k.
    Raises:
        ValueError: the model was trained for one task alone.
    """
    _require(model.config.retrieves, "ranking", "recommend")
    _require(model.ranks, "retrieval", "rank")
    model.eval()
    index = ItemIndex(model.item_vectors())
    num_candidates = max(k, min(num_candidates, model.num_items))
    parts = [TopK.empty(k)]
    for part in _chunks(model, contexts, num_candidates=num_candidates):
        seen = read(model, part)
        offered = index.nearest(model.queries(seen.said_BD), part, num_candidates)
        liked_BC = _ranked(model, seen, offered.items_Bk)
        liked_BC = np.where(offered.items_Bk == PAD, -np.inf, liked_BC).astype(np.float32)
        # Equal probabilities keep the order of retrieval.
        order_Bk = np.argsort(-liked_BC, axis=1, kind="stable")[:, :k]
        parts.append(
            TopK(
                np.take_along_axis(offered.items_Bk, order_Bk, 1),
                np.take_along_axis(liked_BC, order_Bk, 1),
            )
        )
    return TopK.concatenate(parts)


def _ranked(model: "Unigrf", seen: Read, items_BC: np.ndarray) -> np.ndarray:
    """Probabilities for candidates of histories that were read."""
    if not items_BC.size:
        return np.empty(items_BC.shape, dtype=np.float32)
    device = model.items_VD.device
    candidate_BC = torch.from_numpy(items_BC).long().to(device)
    known_BC = (candidate_BC >= 0) & (candidate_BC < model.num_items)
    candidate_BC = candidate_BC.where(known_BC, 0)
    found = []
    for start in range(0, candidate_BC.shape[1], MICRO_BATCH):
        part_BW = candidate_BC[:, start : start + MICRO_BATCH]
        x_BW1D = model.next_item_tokens(part_BW, seen.lengths_B)
        said = model.backbone.extend(seen.memory, seen.lengths_B, x_BW1D, seen.asked_at_B)
        found.append(model.ranking_logits(said[:, :, 0]).sigmoid())
    liked_BC = torch.cat(found, 1).where(known_BC, model.base_rate)
    return np.where(items_BC == PAD, np.nan, liked_BC.float().cpu().numpy()).astype(np.float32)


def _require(can: bool, trained_for: str, asked: str) -> None:
    if not can:
        raise ValueError(f"this model was trained with tasks={trained_for}: it can't {asked}")


def _chunks_with(
    model: "Unigrf", contexts: Contexts, items_BC: np.ndarray
) -> Iterator[tuple[Contexts, np.ndarray]]:
    """Contexts in pieces, each with its candidates."""
    if len(items_BC) != len(contexts):
        raise ValueError(f"{len(items_BC)} rows of candidates for {len(contexts)} contexts")
    start = 0
    for part in _chunks(model, contexts, num_candidates=items_BC.shape[1]):
        yield part, items_BC[start : start + len(part)]
        start += len(part)


def _chunks(model: "Unigrf", contexts: Contexts, num_candidates: int = 0) -> list[Contexts]:
    """Contexts in pieces whose largest array is within bounds."""
    tokens = 2 * contexts.items_BL.shape[1] + 1
    micro = min(num_candidates, MICRO_BATCH)
    heads = model.config.num_heads
    scores = min(model.num_items, ALL_AT_ONCE)
    width = max(heads * tokens * tokens, heads * micro * (tokens + micro), scores)
    rows = rows_within(CHUNK_CELLS, width)
    return [contexts.rows(start, start + rows) for start in range(0, len(contexts), rows)]
