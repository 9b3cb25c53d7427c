"""How a history is read: one position an event, whatever the family.

    x_0 = start        x_t = √D (e_(item t) + feedback_t)

on HSTU (which is told when each event happened) or Llama. Position t knows the events before t + 1;
what it makes of them is what is expected next. A semantic ID of Q codes takes one position, so that
all layers of the backbone are for the sequence.

B rows, L events, D width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from training.backbones import make_backbone
from training.backbones.interface import Memory
from training.models.coded.items import STANDARD_DEVIATION, ItemVectors

STRENGTHS = 5
"""Feedback from -1 to 3."""


class Reader(nn.Module):
    """From events to what is expected after each of them.

    Args:
        config: of a family: `backbone`, `width`, `num_layers`, `num_heads`, `hidden_width`,
            `dropout` and `max_history`.
        num_layers: blocks of the backbone, where the family calls them otherwise.
        more_positions: that may follow a history.
    """

    def __init__(
        self, config: Any, *, num_layers: int | None = None, more_positions: int = 0
    ) -> None:
        super().__init__()
        width = config.width
        self.scale: float = width**0.5
        self.start_D = nn.Parameter(torch.randn(width) * STANDARD_DEVIATION)
        self.strengths = nn.Embedding(STRENGTHS, width)
        nn.init.normal_(self.strengths.weight, std=STANDARD_DEVIATION)
        self.dropout = nn.Dropout(config.dropout)
        self.backbone = make_backbone(
            config.backbone,
            width=width,
            num_layers=config.num_layers if num_layers is None else num_layers,
            num_heads=config.num_heads,
            dropout=config.dropout,
            max_positions=config.max_history + 1 + more_positions,
            hidden_width=config.hidden_width,
        )

    def forward(
        self, items: ItemVectors, items_BL: Tensor, strengths_BL: Tensor, times_BL: Tensor
    ) -> Tensor:
        """What is expected before the first event and after each, [B, L + 1, D].

        Args:
            items: the catalogue's vectors.
            items_BL: the events' items.
            strengths_BL: their feedback.
            times_BL: when they happened, with a column more for the question after the last.
        """
        x_BTD = self.embed(items, items_BL, strengths_BL)
        read_BTD: Tensor = self.backbone(x_BTD, started(times_BL))
        return read_BTD

    def at(
        self,
        items: ItemVectors,
        items_BL: Tensor,
        strengths_BL: Tensor,
        times_BL: Tensor,
        length_B: Tensor,
    ) -> Tensor:
        """What is expected after so many events of each row, int64, [B]; [B, D]."""
        x_BTD = self.embed(items, items_BL, strengths_BL)
        expected_BD: Tensor = self.backbone.at(x_BTD, length_B, started(times_BL))
        return expected_BD

    def remember(
        self, items: ItemVectors, items_BL: Tensor, strengths_BL: Tensor, times_BL: Tensor
    ) -> tuple[Tensor, Memory]:
        """The same, and the backbone's memory, which goes on from there."""
        x_BTD = self.embed(items, items_BL, strengths_BL)
        remembered: tuple[Tensor, Memory] = self.backbone.remember(x_BTD, started(times_BL))
        return remembered

    def embed(self, items: ItemVectors, items_BL: Tensor, strengths_BL: Tensor) -> Tensor:
        """What goes into the backbone, [B, 1 + L, D]."""
        x_BLD = self.events(items, items_BL, strengths_BL)
        start_B1D = self.start_D.expand(len(items_BL), 1, -1)
        return self.dropout(torch.cat([start_B1D, x_BLD], 1) * self.scale)

    def events(self, items: ItemVectors, items_BL: Tensor, strengths_BL: Tensor) -> Tensor:
        """What is read of each event, [B, L, D]."""
        x_BLD: Tensor = items.of(items_BL) + self.strengths(strengths_BL.long() + 1)
        return x_BLD


def started(times_BL: Tensor) -> Tensor:
    """Times with the start's before them: it is as old as the first event."""
    return torch.cat([times_BL[:, :1], times_BL], 1)
