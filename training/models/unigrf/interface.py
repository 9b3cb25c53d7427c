"""What the enhancer and the answering ask of unigrf's network, which is built on both.

B rows, L events, T tokens, C candidates, D width, V items.
"""

from typing import Any, Protocol

from torch import Tensor, nn

from training.settings.unigrf import UnigrfConfig


class Network(Protocol):
    """Embeddings, backbone and the two ways to read it."""

    config: UnigrfConfig
    num_items: int
    items_VD: nn.Parameter
    backbone: Any
    base_rate: Tensor
    """Share of positive feedback in training."""

    def eval(self) -> Any:
        """Without dropout from now on."""
        ...

    def embed(self, items_BL: Tensor, strengths_BL: Tensor) -> Tensor:
        """Input vectors of histories, [B, 2 L + 1, D]."""
        ...

    def next_item_tokens(self, items_BC: Tensor, lengths_B: Tensor) -> Tensor:
        """Input vectors of candidates that follow `lengths_B` tokens of each row, [B, C, 1, D]."""
        ...

    def queries(self, x_ND: Tensor) -> Tensor:
        """Vectors whose inner products with `item_vectors` are the logits of the next item."""
        ...

    def item_vectors(self) -> Tensor:
        """A vector per item, [V, D]."""
        ...

    def ranking_logits(self, x: Tensor) -> Tensor:
        """Log-odds of positive feedback from read-out vectors; the last axis is gone."""
        ...
