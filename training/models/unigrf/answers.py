"""Both tasks from one reading of the history (M-FALCON: Zhai et al. 2024, arXiv:2402.17152).

The history is encoded once and its keys are kept. Retrieval compares what was said last with all
items. Ranking appends candidates in micro-batches, each of which sees the history and itself alone,
all at the place and the time of what comes next: equal to encoding history and candidate anew for
every candidate, at a token's cost each.

B queries, L events, C candidates, W of them at a time, D width, V items, k places.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.backbones.interface import Memory
from training.data.queries import PAD, Queries, TopK
from training.models.nearest import ALL_AT_ONCE, ItemIndex
from training.models.ranking import rows_within
from training.models.unigrf.interface import Network
from training.models.unigrf.interleave import interleave_times

CHUNK_CELLS = 16_000_000
"""Scores of one layer alive at a time while answering."""
MICRO_BATCH = 64
"""Candidates of a row that are read at a time."""


@dataclass(frozen=True)
class UnigrfState:
    """Histories that were read once.

    Attributes:
        queries: their questions.
        output_BD: the model's vector after the last feedback, or after the start.
        memory: the backbone's.
        lengths_B: tokens of each history.
        asked_at_B: when what comes next happens, seconds.
    """

    queries: Queries
    output_BD: Tensor
    memory: Memory
    lengths_B: Tensor
    asked_at_B: Tensor


class KeptIndex:
    """The index of a model's items; made once for weights that stay as they are."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[int, int], ItemIndex] | None = None

    def of(self, model: Network) -> ItemIndex:
        """The items of the model as it is, to be searched.

        Loading weights is noticed by their version, moving them by their place. What a fused
        optimizer does changes neither: who trains calls `clear`.
        """
        weights = (model.items_VD._version, model.items_VD.data_ptr())
        kept = self._kept
        if kept is None or kept[0] != weights:
            kept = self._kept = (weights, ItemIndex(model.item_vectors()))
        return kept[1]

    def clear(self) -> None:
        """Forget the index."""
        self._kept = None


@torch.inference_mode()
def read(model: Network, queries: Queries) -> UnigrfState:
    """Encode histories."""
    model.eval()
    device = model.items_VD.device

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    asked_at_B = tensor(queries.asked_at_B)
    x_BTD = model.embed(tensor(queries.items_BL).long(), tensor(queries.strengths_BL))
    # What follows the last event is the question: one time more than there are tokens.
    times_BL = torch.cat([tensor(queries.times_BL), asked_at_B[:, None]], 1)
    times_BT = interleave_times(times_BL)[:, : x_BTD.shape[1] + 1]
    x_BTD, memory = model.backbone.remember(x_BTD, times_BT)
    lengths_B = 1 + 2 * tensor(queries.lengths_B)
    output_BD = x_BTD[torch.arange(len(x_BTD), device=device), lengths_B - 1]
    return UnigrfState(queries, output_BD, memory, lengths_B, asked_at_B)


@torch.inference_mode()
def select(model: Network, state: UnigrfState, rows: np.ndarray) -> UnigrfState:
    """Some of the rows."""
    row_N = torch.from_numpy(np.arange(len(state.queries))[rows]).to(state.output_BD.device)
    return UnigrfState(
        state.queries.where(rows),
        state.output_BD[row_N],
        model.backbone.select(state.memory, row_N),
        state.lengths_B[row_N],
        state.asked_at_B[row_N],
    )


@torch.inference_mode()
def recommend(model: Network, index: ItemIndex, state: UnigrfState, k: int) -> TopK:
    """The k items of an index with the largest logits after each context."""
    return index.nearest(model.queries(state.output_BD), state.queries, k)


@torch.inference_mode()
def rank(model: Network, state: UnigrfState, items_BC: np.ndarray) -> np.ndarray:
    """Probability of positive feedback for each candidate, float32, [B, C].

    An item beyond the catalogue gets the share of positive feedback in training, a `PAD` gets NaN.

    Args:
        model: built to rank.
        state: of the B histories; it is not used up.
        items_BC: candidates, item indices; as many for each, `PAD` for none.
    """
    if not items_BC.size:
        return np.empty(items_BC.shape, dtype=np.float32)
    device = model.items_VD.device
    candidate_BC = torch.from_numpy(items_BC).long().to(device)
    known_BC = (candidate_BC >= 0) & (candidate_BC < model.num_items)
    candidate_BC = candidate_BC.where(known_BC, 0)
    found = []
    for start in range(0, candidate_BC.shape[1], MICRO_BATCH):
        part_BW = candidate_BC[:, start : start + MICRO_BATCH]
        x_BW1D = model.next_item_tokens(part_BW, state.lengths_B)
        said = model.backbone.extend(state.memory, state.lengths_B, x_BW1D, state.asked_at_B)
        found.append(model.ranking_logits(said[:, :, 0]).sigmoid())
    liked_BC = torch.cat(found, 1).where(known_BC, model.base_rate)
    return np.where(items_BC == PAD, np.nan, liked_BC.float().cpu().numpy()).astype(np.float32)


def rows_at_once(model: Network, queries: Queries, num_candidates: int) -> int:
    """Queries whose largest array is within bounds."""
    tokens = 2 * queries.items_BL.shape[1] + 1
    micro = min(num_candidates, MICRO_BATCH)
    heads = model.config.num_heads
    scores = min(model.num_items, ALL_AT_ONCE)
    width = max(heads * tokens * tokens, heads * micro * (tokens + micro), scores)
    return rows_within(CHUNK_CELLS, width)
