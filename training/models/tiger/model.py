"""tiger: generative retrieval. The next item's semantic ID is written code by code.

After Rajput et al. 2023 (arXiv:2305.05065), decoder-only, on a backbone of choice: a history is one
line of tokens, Q per item, each level with its own vocabulary,

    BOS  s_1^1 … s_1^Q  s_2^1 … s_2^Q  …            position t predicts token t + 1

so one causal pass trains every level of every item of the history. Serving runs the history once
and then Q light steps of a beam search that writes only IDs that exist.

B rows, L events, Q levels, K codes of a level, D width, V items, W beams, N targets.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.backbones import make_backbone
from training.backbones.interface import Memory
from training.data.batches import Batch
from training.decoding.beam import beam_search, top_items
from training.models.coded import CodedModel
from training.models.interface import Queries, TopK
from training.models.ranking import rows_within
from training.settings.families import TigerConfig
from training.settings.spec import LISTS

CHUNK_CELLS = 16_000_000
"""Attention scores of one layer and head alive at a time while answering."""


@dataclass(frozen=True)
class TigerState:
    """Histories that were read once.

    Attributes:
        queries: their questions, without the events whose items have no code.
        last_BD: the vector after the last code.
        memory: the backbone's.
        lengths_B: tokens of each row.
        asked_at_B: when what comes next happens, seconds.
    """

    queries: Queries
    last_BD: Tensor
    memory: Memory
    lengths_B: Tensor
    asked_at_B: Tensor


class Tiger(CodedModel):
    """A causal model over semantic-ID tokens, with a vocabulary and a head per level."""

    family = "tiger"
    answers = LISTS

    def __init__(self, config: TigerConfig, codes_VQ: Tensor, level_sizes: tuple[int, ...]) -> None:
        super().__init__(config, codes_VQ, level_sizes)
        self.positions_per_event = len(level_sizes)
        self.tokens = nn.Embedding(sum(level_sizes), config.width)
        self.start_D = nn.Parameter(torch.randn(config.width) * 0.02)
        self.dropout = nn.Dropout(config.dropout)
        self.backbone = make_backbone(
            config.backbone,
            width=config.width,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            dropout=config.dropout,
            max_positions=(config.max_history + 1) * len(level_sizes),
            hidden_width=config.hidden_width,
        )
        self.heads = nn.ModuleList(nn.Linear(config.width, K, bias=False) for K in level_sizes)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def embed(self, items_BL: Tensor) -> Tensor:
        """Input vectors of histories: the start vector, then Q per item. [B, 1 + L Q, D]."""
        codes_BLQ = self.codes_VQ[items_BL.clamp(min=0)].long().clamp(min=0)
        x_BTD = self.tokens((codes_BLQ + self.first_token_Q).flatten(1))
        start_B1D = self.start_D.expand(len(items_BL), 1, -1)
        return self.dropout(torch.cat([start_B1D, x_BTD], 1))

    def token_times(self, times_BL: Tensor) -> Tensor:
        """When each input vector happened: the first with the first event. [B, 1 + L Q]."""
        each_BT = times_BL.repeat_interleave(len(self.level_sizes), 1)
        return torch.cat([times_BL[:, :1], each_BT], 1)

    def forward(self, batch: Batch) -> Tensor:
        """Loss of the batch's targets in nats, summed over levels and targets."""
        times_BT = self.token_times(batch.times_BL)
        x_BTD = self.backbone(self.embed(batch.items_BL)[:, :-1], times_BT)
        x_NQD = x_BTD.unflatten(1, (-1, len(self.heads)))[batch.is_target_BL]
        code_NQ = self.codes_VQ[batch.items_BL[batch.is_target_BL]].long()
        losses = [
            F.cross_entropy(head(x_NQD[:, level]).float(), code_NQ[:, level], reduction="sum")
            for level, head in enumerate(self.heads)
        ]
        return torch.stack(losses).sum()

    def rows_at_once(self, queries: Queries, k: int, num_candidates: int) -> int:
        """Rows whose beams' attention scores fit into `CHUNK_CELLS`."""
        levels = len(self.level_sizes)
        beams = max(k, self.config.beam_width) * levels
        keys = queries.items_BL.shape[1] * levels + 1 + beams
        return rows_within(CHUNK_CELLS, beams * keys)

    @torch.inference_mode()
    def read(self, queries: Queries) -> TigerState:
        """Run the histories once, as far as their items have codes."""
        self.eval()
        device = self.codes_VQ.device
        queries = queries.of_known((self.codes_VQ[:, 0] >= 0).cpu().numpy())
        items_BL = torch.from_numpy(queries.items_BL).long().to(device)
        asked_B = torch.from_numpy(queries.asked_at_B).to(device)
        times_BL = torch.cat([torch.from_numpy(queries.times_BL).to(device), asked_B[:, None]], 1)
        lengths_B = 1 + len(self.level_sizes) * torch.from_numpy(queries.lengths_B).to(device)
        x_BTD = self.embed(items_BL)
        times_BT = self.token_times(times_BL)[:, : x_BTD.shape[1] + 1]
        x_BTD, memory = self.backbone.remember(x_BTD, times_BT)
        last_BD = x_BTD[torch.arange(len(x_BTD), device=device), lengths_B - 1]
        return TigerState(queries, last_BD, memory, lengths_B, asked_B)

    @torch.inference_mode()
    def select(self, state: TigerState, rows: np.ndarray) -> TigerState:
        """Some of the rows."""
        row_N = torch.from_numpy(np.arange(len(state.queries))[rows]).to(state.last_BD.device)
        return TigerState(
            state.queries.where(rows),
            state.last_BD[row_N],
            self.backbone.select(state.memory, row_N),
            state.lengths_B[row_N],
            state.asked_at_B[row_N],
        )

    @torch.inference_mode()
    def recommend(self, state: TigerState, k: int) -> TopK:
        """Items of the k or more best semantic IDs that exist; an ID's items share its score."""
        queries = state.queries
        trie = self._listed.of(self.trie, queries.unlisted)
        if trie is None:
            return TopK.of_none(len(queries), k)

        def step(prefix_BWl: Tensor, parent_BW: Tensor) -> Tensor:
            level = prefix_BWl.shape[-1]
            if level == 0:
                return self.heads[0](state.last_BD)[:, None]
            x_BWlD = self.tokens(prefix_BWl + self.first_token_Q[:level])
            x_BWlD = self.backbone.extend(state.memory, state.lengths_B, x_BWlD, state.asked_at_B)
            return self.heads[level](x_BWlD[:, :, -1])

        seen_BE = torch.from_numpy(queries.excluded_BE).to(state.last_BD.device)
        beams = beam_search(
            step,
            trie,
            num_rows=len(queries),
            beam_width=max(k, self.config.beam_width),
            seen_BE=seen_BE,
            normalisation=self.config.normalisation,
        )
        items_Bk, scores_Bk = top_items(beams, trie, k, seen_BE=seen_BE)
        return TopK(items_Bk.cpu().numpy().astype(np.int32), scores_Bk.float().cpu().numpy())
