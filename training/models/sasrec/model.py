"""sasrec: self-attention over a history, softmax over the whole catalogue.

After Kang and McAuley 2018 (arXiv:1808.09781), with what is known to make it strong: normalisation
before each block, and cross-entropy over all items instead of one sampled negative (Klenitskiy and
Vasilev 2023, arXiv:2309.07602).

Its blocks can be exchanged for another backbone: with `backbone: hstu`, `similarity: cosine`,
`loss: sampled` and `negatives: position` it is the next-item model of Zhai et al. 2024
(arXiv:2402.17152) as its authors' public code trains it (docs/mechanics.md, Full and sampled
softmax).

B rows, L events, D width, V items, H heads, N targets, R negatives.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.backbones import make_backbone
from training.data.batches import Batch
from training.losses.next_item import (
    chunked_softmax_loss,
    position_softmax_loss,
    sampled_softmax_loss,
)
from training.models.interface import Queries, TopK
from training.models.ranking import best_items, rows_within
from training.settings.families import SasrecConfig
from training.settings.spec import LISTS

CHUNK_CELLS = 4_000_000
"""Logits, inputs or scores of one layer alive at a time while answering."""


class Block(nn.Module):
    """Causal attention, then a point-wise feed-forward; each on the normalised input."""

    def __init__(self, config: SasrecConfig) -> None:
        super().__init__()
        width, self.num_heads = config.width, config.num_heads
        hidden_width = config.hidden_width or width
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.hidden_norm = nn.LayerNorm(width)
        self.hidden_in = nn.Linear(width, hidden_width)
        self.hidden_out = nn.Linear(hidden_width, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """One vector per position from it and those before it."""
        B, L, D = x_BLD.shape
        qkv = self.query_key_value(self.attention_norm(x_BLD))
        q, k, v = qkv.view(B, L, 3, self.num_heads, D // self.num_heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        attended_BLD = attended.transpose(1, 2).reshape(B, L, D)
        x_BLD = x_BLD + self.dropout(self.attention_out(attended_BLD))
        hidden = F.gelu(self.hidden_in(self.hidden_norm(x_BLD)))
        return x_BLD + self.dropout(self.hidden_out(hidden))


class Blocks(nn.Sequential):
    """SASRec's own backbone."""

    def forward(self, x_BLD: Tensor, times_BL: Tensor | None = None) -> Tensor:
        """One vector per position from it and those before it; times are ignored."""
        return super().forward(x_BLD)


@dataclass(frozen=True)
class SasrecState:
    """Histories that were read once.

    Attributes:
        queries: their questions.
        x_BD: what the model expects next.
    """

    queries: Queries
    x_BD: Tensor


class Sasrec(nn.Module):
    """Position t of a row is predicted from a start vector and the items before t."""

    family = "sasrec"
    answers = LISTS
    positions_per_event = 1

    def __init__(self, config: SasrecConfig, num_items: int) -> None:
        super().__init__()
        self.config, self.num_items = config, num_items
        width, is_own = config.width, config.backbone == "attention"
        # Small vectors that grow on their way in turn further per step: what cosines need.
        self.input_scale: float = 1.0 if is_own else width**0.5
        item_std: float = width**-0.5 if is_own else 0.02
        self.items_VD = nn.Parameter(torch.randn(num_items, width) * item_std)
        self.start_D = nn.Parameter(torch.zeros(width))
        if config.backbone == "llama":  # which turns by position
            self.places_LD = None
        else:
            places_LD = torch.randn(config.max_history + 1, width)
            self.places_LD = nn.Parameter(places_LD * (0.02 if is_own else width**-0.5))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = _backbone(config)
        self.norm = nn.LayerNorm(width) if is_own else nn.Identity()

    @property
    def sizes(self) -> dict[str, Any]:
        """V."""
        return {"num_items": self.num_items}

    @classmethod
    def from_weights(
        cls, config: SasrecConfig, sizes: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> "Sasrec":
        """The model that had these tensors."""
        model = cls(config, **sizes)
        model.load_state_dict(tensors)
        return model

    @property
    def backbone(self) -> nn.Module:
        """What the loop may compile."""
        return self.blocks

    def encode(self, items_BL: Tensor, times_BL: Tensor | None = None) -> Tensor:
        """After each event, and before the first: what the model expects next, [B, L + 1, D].

        Args:
            items_BL: the events' items.
            times_BL: when they happened, with a column more for the question after the last.
        """
        start_B1D = self.start_D.expand(len(items_BL), 1, -1)
        items_BLD = F.embedding(items_BL.clamp(min=0), self.items_VD) * self.input_scale
        x_BLD = torch.cat([start_B1D, items_BLD], 1)
        if self.places_LD is not None:
            x_BLD = x_BLD + self.places_LD[: x_BLD.shape[1]]
        if times_BL is not None:  # the start is as old as the first event
            times_BL = torch.cat([times_BL[:, :1], times_BL], 1)
        return self.norm(self.blocks(self.dropout(x_BLD), times_BL))

    def forward(self, batch: Batch) -> Tensor:
        """Loss of the batch's targets in nats, summed."""
        x_BLD = self.encode(batch.items_BL[:, :-1], batch.times_BL)
        x_ND, items_VD = self.compared(x_BLD[batch.is_target_BL])
        target_N = batch.items_BL[batch.is_target_BL]
        if self.config.loss == "full":
            return chunked_softmax_loss(x_ND, items_VD, target_N)
        drawn = (self.config.num_negatives,)
        if self.config.negatives == "batch":
            negative_R = torch.randint(self.num_items, drawn, device=x_ND.device)
            return sampled_softmax_loss(x_ND, items_VD, target_N, negative_R).sum()
        negative_NR = torch.randint(self.num_items, target_N.shape + drawn, device=x_ND.device)
        return position_softmax_loss(x_ND, items_VD, target_N, negative_NR)

    def compared(self, x_ND: Tensor) -> tuple[Tensor, Tensor]:
        """What the model says and all items, as vectors whose inner products are logits."""
        if self.config.similarity == "inner":
            return x_ND, self.items_VD
        x_ND = F.normalize(x_ND, dim=-1, eps=1e-6) / self.config.temperature
        return x_ND, F.normalize(self.items_VD, dim=-1, eps=1e-6)

    def rows_at_once(self, queries: Queries, k: int, num_candidates: int) -> int:
        """Rows whose widest array fits into `CHUNK_CELLS`."""
        config, length = self.config, queries.items_BL.shape[1]
        scores = config.num_heads * length**2 if config.backbone == "hstu" else 0
        return rows_within(CHUNK_CELLS, max(self.num_items, length * config.width, scores))

    @torch.inference_mode()
    def read(self, queries: Queries) -> SasrecState:
        """What is expected after each context."""
        self.eval()
        device = self.items_VD.device
        items_BL = torch.from_numpy(queries.items_BL).long().to(device)
        times_BL = np.concatenate([queries.times_BL, queries.asked_at_B[:, None]], 1)
        last_B = torch.from_numpy(queries.lengths_B).to(device)
        x_BLD = self.encode(items_BL, torch.from_numpy(times_BL).to(device))
        return SasrecState(queries, x_BLD[torch.arange(len(last_B), device=device), last_B])

    def select(self, state: SasrecState, rows: np.ndarray) -> SasrecState:
        """Some of the rows."""
        return SasrecState(state.queries.where(rows), state.x_BD[rows])

    @torch.inference_mode()
    def recommend(self, state: SasrecState, k: int) -> TopK:
        """The k items with the largest logits after each context."""
        x_BD, items_VD = self.compared(state.x_BD)
        return best_items(x_BD @ items_VD.T, state.queries, k)


def _backbone(config: SasrecConfig) -> nn.Module:
    if config.backbone == "attention":
        return Blocks(*(Block(config) for _ in range(config.num_layers)))
    return make_backbone(
        config.backbone,
        width=config.width,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        dropout=config.dropout,
        max_positions=config.max_history + 1,
        hidden_width=config.hidden_width,
    )
