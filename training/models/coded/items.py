"""One vector per item: what its codes and its content say, added up.

    e_v = sum_q C_q[s_v^q] + W x_v

C are the codes' embeddings, x_v what the tokenizer read of the item, scaled to a mean square of 1:
what is large turns W fast, and content is what is known before anything is learnt. i_v is the
item's own and begins at zero: an item that nobody has met is what its codes and its content say.
The same vectors are read in histories and compared with what a model expects (tied), so that an
item is learnt wherever it stands.

An answer needs all of them, and to make them is a product with the content of the whole catalogue:
while a model answers they are made once and kept, as long as its weights stay.

V items, Q levels, K codes of a level, D width, E width of x.
"""

from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STANDARD_DEVIATION = 0.02
"""Of first embeddings: small ones turn far in a step, which cosines need."""


class ItemVectors(nn.Module):
    """The vectors of a catalogue.

    Args:
        codes_VQ: semantic IDs, negative where an item has none.
        content_VE: what the tokenizer read of each item.
        level_sizes: K of each level.
        width: D.
    """

    codes_VQ: Tensor
    content_VE: Tensor
    first_token_Q: Tensor

    def __init__(
        self, codes_VQ: Tensor, content_VE: Tensor, level_sizes: tuple[int, ...], width: int
    ) -> None:
        super().__init__()
        # Copies: weights that are loaded later must not be written into the caller's arrays.
        self.register_buffer("codes_VQ", codes_VQ.clone())
        self.register_buffer("content_VE", _of_mean_square_one(content_VE))
        first_token_Q = torch.tensor([0, *level_sizes[:-1]]).cumsum(0)
        self.register_buffer("first_token_Q", first_token_Q, persistent=False)
        self.tokens = nn.Embedding(sum(level_sizes), width)
        self.content = nn.Linear(content_VE.shape[1], width, bias=False)
        self.own_VD = nn.Parameter(torch.zeros(len(codes_VQ), width))
        self._kept: tuple[Any, Tensor] | None = None
        nn.init.normal_(self.tokens.weight, std=STANDARD_DEVIATION)
        nn.init.normal_(self.content.weight, std=STANDARD_DEVIATION / content_VE.shape[1] ** 0.5)

    def forward(self) -> Tensor:
        """Every item's vector, [V, D]."""
        if not self._answers:
            return self._sum(self.codes_VQ, self.content_VE, self.own_VD)
        made_of = self._made_of()
        if self._kept is None or self._kept[0] != made_of:
            self._kept = made_of, self._sum(self.codes_VQ, self.content_VE, self.own_VD)
        return self._kept[1]

    def train(self, mode: bool = True) -> Self:
        """Training, or answering; what training does to the weights is not kept."""
        if mode:
            self._kept = None
        super().train(mode)
        return self

    def of(self, items: Tensor) -> Tensor:
        """The vectors of some items, of any shape, those of item 0 in the place of none; [..., D].

        Made for all items first where they are kept, or where that is less work than for each
        place.
        """
        items = items.clamp(min=0)
        if self._answers or len(self.codes_VQ) <= items.numel():
            return F.embedding(items, self())
        own = F.embedding(items, self.own_VD)
        return self._sum(self.codes_VQ[items], self.content_VE[items], own)

    def codes(self, items: Tensor) -> Tensor:
        """Codes of items, those of item 0 in the place of none, int64; the last axis is Q."""
        return self.codes_VQ[items.clamp(min=0)].long().clamp(min=0)

    def code_vectors(self, codes: Tensor) -> Tensor:
        """Embeddings of the first l levels' codes; the last two axes are l and D."""
        return self.tokens(codes + self.first_token_Q[: codes.shape[-1]])

    @property
    def _answers(self) -> bool:
        # Weights that were made in inference mode don't say when they change.
        is_told = not self.own_VD.is_inference()
        return is_told and not self.training and not torch.is_grad_enabled()

    def _made_of(self) -> tuple[Any, ...]:
        """Which tensors in which state, and whether products are rounded."""
        parts = (self.tokens.weight, self.content.weight, self.own_VD, *self.buffers())
        states = tuple((part.data_ptr(), part._version) for part in parts)
        return *states, torch.is_autocast_enabled(self.own_VD.device.type)

    def _sum(self, codes: Tensor, content: Tensor, own: Tensor) -> Tensor:
        return self.code_vectors(codes.long().clamp(min=0)).sum(-2) + self.content(content) + own


def _of_mean_square_one(content_VE: Tensor) -> Tensor:
    """Rows of length √E; a row of zeros, an item of which nothing is known, stays."""
    return F.normalize(content_VE.float(), dim=-1) * content_VE.shape[1] ** 0.5
