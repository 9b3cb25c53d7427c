"""A light decoder of codes: one perceptron for every level, behind a reader that did the work.

    a_q = U y + l_q + √D sum_{j<q} C_j[s^j]
    h_q = LN( a_q + W_2 SiLU(W_1 LN(a_q)) )
    P( s^q | s^<q, y ) = softmax( g_q C_q h_q )

y is what is expected next, C are the embeddings that histories are read with (tied heads), g_q a
scale per level that is learnt. No attention: a beam costs a few products and keeps nothing.

N positions, B rows, W beams, Q levels, K codes of a level, D width, V items, P prefixes, l codes so
far.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.decoding.beam import StepFunction
from training.models.coded.items import ItemVectors


class CodeDecoder(nn.Module):
    """From what is expected next to the codes of an item.

    Args:
        level_sizes: K of each level.
        width: D.
    """

    def __init__(self, level_sizes: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.level_sizes = level_sizes
        self.expected = nn.Linear(width, width)
        self.levels_QD = nn.Parameter(torch.zeros(len(level_sizes), width))
        self.hidden_in = nn.Linear(width, 2 * width)
        self.hidden_out = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
        self.scale_Q = nn.Parameter(torch.full((len(level_sizes),), width**0.5))

    def logits(self, y: Tensor, prefix: Tensor, items: ItemVectors) -> Tensor:
        """Logits of the next code, [..., K].

        Args:
            y: what is expected, [..., D].
            prefix: the codes before it, [..., l]; leading axes broadcast against those of `y`.
            items: whose code embeddings are read and compared with.
        """
        level, width = prefix.shape[-1], y.shape[-1]
        x = self.expected(y) + self.levels_QD[level]
        if level:
            x = x + items.code_vectors(prefix).sum(-2) * width**0.5
        hidden = F.silu(self.hidden_in(F.layer_norm(x, (width,))))
        x = self.norm(x + self.hidden_out(hidden))
        first = sum(self.level_sizes[:level])
        codes_KD = items.tokens.weight[first : first + self.level_sizes[level]]
        return (x * self.scale_Q[level]) @ codes_KD.T

    def log_probs(self, y_ND: Tensor, codes_NQ: Tensor, items: ItemVectors) -> Tensor:
        """Log-probability of each code given those before it, nats, float32, [N, Q]."""
        log_probs = [
            -F.cross_entropy(
                self.logits(y_ND, codes_NQ[:, :level], items).float(),
                codes_NQ[:, level],
                reduction="none",
            )
            for level in range(len(self.level_sizes))
        ]
        return torch.stack(log_probs, 1)

    def step(self, y_BD: Tensor, items: ItemVectors) -> StepFunction:
        """The step of a beam search for each row."""

        def step(prefix_BWl: Tensor, parent_BW: Tensor) -> Tensor:
            y_BWD = y_BD[:, None].expand(-1, prefix_BWl.shape[1], -1)
            return self.logits(y_BWD, prefix_BWl, items)

        return step
