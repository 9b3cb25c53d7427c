"""What families that say whole slates have in common: how they read, learn and answer.

A history is read as every family of semantic IDs reads it (`training.models.coded.reader`). A slate
is a row of items after it, each Q codes. The loss is that of all codes of all places in one pass,

    L_NTP = - sum_m sum_q log P( s_m^q | s_m^<q, s_<m, context )

H histories of L events, B rows of slates after them, W slates of a row, M places of a slate, Q
levels, K codes of a level, D width, V items, N targets, k places asked for.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.backbones.interface import Memory
from training.data.queries import PAD, Queries, TopK
from training.data.slate_batches import SlateBatch
from training.decoding.beam import StepFunction
from training.decoding.slate import NextItem
from training.decoding.trie import CodeTrie
from training.models.coded.items import STANDARD_DEVIATION
from training.models.coded.model import CodedModel
from training.models.coded.reader import Reader
from training.models.ranking import rows_within
from training.settings.spec import LISTS

CHUNK_CELLS = 4_000_000
"""Attention scores of one layer and head alive at a time while answering."""


@dataclass(frozen=True)
class Read:
    """Queries of slates that were read once; they may be continued as often as wanted.

    Attributes:
        memory: the backbone's.
        lengths_B: positions of each row: the start, and one for each event.
        asked_at_B: when the slate is asked for, seconds.
    """

    memory: Memory
    lengths_B: Tensor
    asked_at_B: Tensor


@dataclass(frozen=True)
class SlateState:
    """Queries that were read once, with their questions: what may not come."""

    queries: Queries
    read: Read


class SlateModel(CodedModel):
    """A reader, and the way from queries to slates.

    A family fills in `slate_log_probs`, how it learns, and `say`, how it answers.
    """

    family = ""
    answers = LISTS
    positions_per_event = 1

    def __init__(
        self, config: Any, codes_VQ: Tensor, content_VE: Tensor, level_sizes: tuple[int, ...]
    ) -> None:
        super().__init__(config, codes_VQ, content_VE, level_sizes)
        num_layers, more_positions = self.depth_and_room(config, len(level_sizes))
        self.reader = Reader(config, num_layers=num_layers, more_positions=more_positions)
        self.slate_D = nn.Parameter(torch.randn(config.width) * STANDARD_DEVIATION)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def depth_and_room(config: Any, num_levels: int) -> tuple[int, int]:
        """Blocks of the backbone, and the positions of the longest slate."""
        raise NotImplementedError

    @property
    def backbone(self) -> nn.Module:
        """It reads the history, and goes on into the slate."""
        return self.reader.backbone

    @property
    def num_levels(self) -> int:
        """Q, of what an item is said by."""
        return len(self.said_by[1])

    @property
    def num_terms(self) -> int:
        """Log-probabilities that the loss of an item is the sum of."""
        return self.num_levels

    @property
    def positions_per_item(self) -> int:
        """What an item of a slate costs, in events of context."""
        return self.num_levels + 1

    def code_vectors(self, codes: Tensor) -> Tensor:
        """Inputs for the first l levels' codes; the last two axes are l and D."""
        return self.items.code_vectors(codes) * self.reader.scale

    def item_vectors(self, items: Tensor) -> Tensor:
        """Inputs for items; the last axis is D."""
        return self.items.of(items) * self.reader.scale

    def slate_start(self, *shape: int) -> Tensor:
        """What a slate begins with, so many times, [*shape, D]."""
        return (self.slate_D * self.reader.scale).expand(*shape, -1)

    def remember(self, batch: SlateBatch) -> Read:
        """What the backbone makes of B queries; a history is read once for all slates after it."""
        rows_H = torch.arange(len(batch.items_HL), device=batch.items_HL.device)
        last_H1 = torch.searchsorted(batch.history_B, rows_H, right=True)[:, None]
        times_HT = torch.cat([batch.times_HL, batch.asked_at_B[last_H1 - 1]], 1)
        _, memory = self.reader.remember(self.items, batch.items_HL, batch.strengths_HL, times_HT)
        if not batch.is_alone:
            memory = self.backbone.select(memory, batch.history_B)
        return Read(memory, 1 + batch.lengths_B, batch.asked_at_B)

    def slate_log_probs(self, batch: SlateBatch, slate_BWM: Tensor) -> Tensor:
        """Log-probability of every code of W slates for each context, nats, [B, W, M, Q].

        Of all codes of the level, also those that lead to no item; 0 beside `PAD`. A context is
        read once for all its slates, which don't see each other.

        Args:
            batch: whose queries are read.
            slate_BWM: item indices, right-padded with `PAD`.
        """
        raise NotImplementedError

    def token_log_probs(self, batch: SlateBatch) -> Tensor:
        """`slate_log_probs` of the batch's own slates, [B, M, Q]."""
        return self.slate_log_probs(batch, batch.slate_BM[:, None])[:, 0]

    def opening(self, read: Read) -> StepFunction:
        """The step of `training.decoding.beam` for the first item of each row."""
        return self._listener(read, self.backbone.reserve(read.memory, 1))(None)

    def _listener(self, read: Read, memory: Memory) -> NextItem:
        """Gives the step for the next item when told what was chosen; None: nothing yet.

        Args:
            read: of `remember`.
            memory: that of `read` with room for what is to come; it is used up.
        """
        raise NotImplementedError

    def say(
        self,
        read: Read,
        k: int,
        seen_BE: Tensor,
        *,
        distinct: bool = True,
        trie: CodeTrie | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Slates of k items and each item's log-probability, as `training.decoding.slate`.

        Args:
            read: of `remember`; it is not used up.
            k: places.
            seen_BE: items that must not come, right-padded with `PAD`.
            distinct: whether no item comes twice.
            trie: the items that may come; None: all of the model's.
        """
        raise NotImplementedError

    def forward(self, batch: SlateBatch) -> Tensor:
        """Loss of the batch's slates in nats, summed over levels and items."""
        return -self.token_log_probs(batch).sum()

    def rows_at_once(self, queries: Queries, k: int, num_candidates: int) -> int:
        """Rows whose attention scores fit into `CHUNK_CELLS`.

        The widest step is that of the beams of all places, each over the row's keys.
        """
        beams = max(k, self.config.beam_width) * self.num_levels
        return rows_within(CHUNK_CELLS, beams * (queries.items_BL.shape[1] + 1 + beams))

    @torch.inference_mode()
    def read(self, queries: Queries) -> SlateState:
        """Run the queries once, as far as their items have codes."""
        self.eval()
        return SlateState(queries, self.remember(self.questions(queries)))

    @torch.inference_mode()
    def select(self, state: SlateState, rows: np.ndarray) -> SlateState:
        """Some of the rows."""
        read = state.read
        row_N = torch.from_numpy(np.arange(len(state.queries))[rows]).to(read.lengths_B.device)
        selected = Read(
            self.backbone.select(read.memory, row_N),
            read.lengths_B[row_N],
            read.asked_at_B[row_N],
        )
        return SlateState(state.queries.where(rows), selected)

    @torch.inference_mode()
    def recommend(self, state: SlateState, k: int) -> TopK:
        """A slate of k items in the order to be shown.

        Scores are log-probabilities of the slate up to each place: they never increase, and say
        how sure the model is of the slate so far, not how good an item is by itself.
        """
        queries, device = state.queries, self.codes_VQ.device
        trie = self._listed.of(self.trie, queries.unlisted)
        if trie is None:
            return TopK.of_none(len(queries), k)
        seen_BE = torch.from_numpy(queries.excluded_BE).to(device)
        items_Bk, scores_Bk = self.say(state.read, k, seen_BE, trie=trie)
        scores_Bk = scores_Bk.float().cumsum(1)
        return TopK(items_Bk.cpu().numpy().astype(np.int32), scores_Bk.cpu().numpy())

    def questions(self, queries: Queries) -> SlateBatch:
        """Queries as the model reads them, without the events whose items have no codes."""
        device = self.codes_VQ.device
        queries = queries.of_known((self.codes_VQ[:, 0] >= 0).cpu().numpy())
        return SlateBatch(
            torch.from_numpy(queries.items_BL).long(),
            torch.from_numpy(queries.strengths_BL),
            torch.from_numpy(queries.times_BL),
            torch.arange(len(queries)),
            torch.from_numpy(queries.lengths_B),
            torch.from_numpy(queries.asked_at_B),
            torch.full((len(queries), 0), PAD),
            0,
        ).to(device)
