"""tiger: generative retrieval. The next item's semantic ID is written code by code.

After Rajput et al. 2023 (arXiv:2305.05065), whose histories are lines of codes. Here a history is
read with one position an event (`training.models.coded`), which is four times as short, and the
next item is said in two ways that are learnt together: its codes, by a light decoder, and itself,
by cosines over the catalogue:

    score(v) = log P(codes of v | history) + η log P(v | history)

B rows, L events, D width, V items, N targets.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from training.data.batches import Batch
from training.models.coded.answers import by_candidates
from training.models.coded.catalogue import CatalogueHead
from training.models.coded.decoder import CodeDecoder
from training.models.coded.exact import (
    LOOKED_AT,
    MOST_PREFIXES,
    Prefixes,
    best_of_all,
    most_prefixes,
    prefixes_of,
)
from training.models.coded.model import CodedModel
from training.models.coded.reader import Reader
from training.models.interface import Queries, TopK
from training.models.ranking import best_items, rows_within
from training.settings.families import TigerConfig
from training.settings.rankgr import RankgrConfig
from training.settings.spec import LISTS

CHUNK_CELLS = 16_000_000
"""Floats of the widest array alive at a time while answering."""


@dataclass(frozen=True)
class TigerState:
    """Histories that were read once.

    Attributes:
        queries: their questions, without the events whose items have no code.
        y_BD: what is expected next.
    """

    queries: Queries
    y_BD: Tensor


class Tiger(CodedModel):
    """A reader of events, and what says an item: its codes, or its vector."""

    family = "tiger"
    answers = LISTS
    positions_per_event = 1

    def __init__(
        self,
        config: TigerConfig | RankgrConfig,
        codes_VQ: Tensor,
        content_VE: Tensor,
        level_sizes: tuple[int, ...],
    ) -> None:
        super().__init__(config, codes_VQ, content_VE, level_sizes)
        self.reader = Reader(config)
        self.decoder = CodeDecoder(level_sizes, config.width) if config.learns != "items" else None
        self.head = None
        if config.learns != "codes":
            self.head = CatalogueHead(
                config.width, temperature=config.temperature, num_negatives=config.num_negatives
            )
        self._prefixes: tuple[Prefixes, ...] | None = None
        self._prefixes_on: torch.device | None = None

    @property
    def backbone(self) -> nn.Module:
        """What the loop may compile."""
        return self.reader.backbone

    def forward(self, batch: Batch) -> Tensor:
        """Loss of the batch's targets in nats, summed over codes, items and targets."""
        y_BLD = self.expected(batch)
        return self.next_item_loss(y_BLD[batch.is_target_BL], batch.items_BL[batch.is_target_BL])

    def expected(self, batch: Batch) -> Tensor:
        """What is expected at each position, from those before it, [B, L, D]."""
        y_BLD: Tensor = self.reader(
            self.items, batch.items_BL[:, :-1], batch.strengths_BL[:, :-1], batch.times_BL
        )
        return y_BLD

    def next_item_loss(self, y_ND: Tensor, target_N: Tensor) -> Tensor:
        """Nats, summed over codes, items and targets."""
        losses = []
        if self.decoder is not None:
            codes_NQ = self.items.codes(target_N)
            losses.append(-self.decoder.log_probs(y_ND, codes_NQ, self.items).sum())
        if self.head is not None:
            losses.append(self.head.loss(y_ND, self.items, target_N))
        return torch.stack(losses).sum()

    def rows_at_once(self, queries: Queries, k: int, num_candidates: int) -> int:
        """Rows whose widest array, of reading or of answering, fits into `CHUNK_CELLS`."""
        config, length = self.config, queries.items_BL.shape[1] + 1
        said = max(k, config.beam_width)
        if self._is_exact:
            said = max(k, LOOKED_AT, most_prefixes(self.prefixes))
        widest = said * max(2 * config.width, *self.level_sizes)
        return rows_within(
            CHUNK_CELLS, max(len(self.codes_VQ), config.num_heads * length**2, widest)
        )

    @torch.inference_mode()
    def read(self, queries: Queries) -> TigerState:
        """Run the histories once, as far as their items have codes."""
        queries, items_BL, strengths_BL, times_BT, length_B = self._events(queries)
        y_BD = self.reader.at(self.items, items_BL, strengths_BL, times_BT, length_B)
        return TigerState(queries, y_BD)

    def read_all(self, queries: Queries) -> tuple[Queries, Tensor, Tensor]:
        """Queries of events whose items have codes, what is expected after each, and the last.

        Returns:
            The queries; [B, L + 1, D], of no meaning beyond a row's end; positions, int64, [B].
        """
        queries, items_BL, strengths_BL, times_BT, length_B = self._events(queries)
        return queries, self.reader(self.items, items_BL, strengths_BL, times_BT), length_B

    def _events(self, queries: Queries) -> tuple[Queries, Tensor, Tensor, Tensor, Tensor]:
        """What the reader is given, items, feedback and times, and how many events rows have."""
        self.eval()
        device = self.codes_VQ.device
        queries = queries.of_known((self.codes_VQ[:, 0] >= 0).cpu().numpy())
        times_BT = np.concatenate([queries.times_BL, queries.asked_at_B[:, None]], 1)
        return (
            queries,
            torch.from_numpy(queries.items_BL).long().to(device),
            torch.from_numpy(queries.strengths_BL).to(device),
            torch.from_numpy(times_BT).to(device),
            torch.from_numpy(queries.lengths_B).to(device),
        )

    @torch.inference_mode()
    def select(self, state: TigerState, rows: np.ndarray) -> TigerState:
        """Some of the rows."""
        row_N = torch.from_numpy(np.arange(len(state.queries))[rows]).to(state.y_BD.device)
        return TigerState(state.queries.where(rows), state.y_BD[row_N])

    @torch.inference_mode()
    def recommend(self, state: TigerState, k: int) -> TopK:
        """The k best items by codes and cosines; without the latter an ID's items share a score."""
        queries, y_BD = state.queries, state.y_BD
        trie = self._listed.of(self.trie, queries.unlisted)
        if trie is None:
            return TopK.of_none(len(queries), k)
        by_item_BV = self._log_probs_of_items(y_BD) if self.config.answer != "codes" else None
        if self.decoder is None or self.config.answer == "items":
            assert by_item_BV is not None  # the config has one of the two
            return best_items(by_item_BV, queries, k)
        if self._is_exact:
            return best_of_all(
                self.decoder, self.items, self.prefixes, y_BD, by_item_BV, queries, k
            )
        return by_candidates(
            self.decoder,
            self.items,
            trie,
            y_BD,
            by_item_BV,
            queries,
            k,
            beam_width=self.config.beam_width,
        )

    @property
    def prefixes(self) -> tuple[Prefixes, ...]:
        """The prefixes of all semantic IDs, on the model's device."""
        if self._prefixes is None or self._prefixes_on != self.codes_VQ.device:
            self._prefixes, self._prefixes_on = prefixes_of(self.codes_VQ), self.codes_VQ.device
        return self._prefixes

    @property
    def _is_exact(self) -> bool:
        return most_prefixes(self.prefixes) <= MOST_PREFIXES

    def _log_probs_of_items(self, y_BD: Tensor) -> Tensor:
        """η log P(v | y), [B, V]; -inf for an item without codes."""
        assert self.head is not None  # who is asked by items has learnt them
        logits_BV = self.head.logits(y_BD, self.items)
        log_probs_BV = logits_BV.float().log_softmax(-1) * self.config.item_weight
        return log_probs_BV.masked_fill(self.codes_VQ[:, 0] < 0, -torch.inf)
