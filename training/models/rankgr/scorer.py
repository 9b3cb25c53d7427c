"""The second phase: each candidate looks at the history by itself.

    q_c = LN( W_e e_c )              e_c: the candidate's codes, content and own vector, added up
    a_c = softmax( (W_q q_c) (W_k x)^T / sqrt(d) ) (W_v x)
    score(c) = w log pi(c) + MLP( q_c ; a_c ; q_c * a_c ; q_c * y )

x_t are, for each position of the history, what the reader expects after it and the event itself, y
is the last of what is expected, w is learnt. The perceptron begins at zero: the order is at first
that of the first phase. Candidates don't see each other.

B histories, T positions, C candidates, D width, A heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FIRST_TRUST = 0.2
"""w at first: log-probabilities of codes and of an item, weighed, are some nats apart."""


class RefinedScorer(nn.Module):
    """From a history and candidates to scores.

    Args:
        width: D.
        num_heads: A, which share the width.
        dropout: of what the perceptron reads.
    """

    def __init__(self, width: int, num_heads: int, *, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.candidate = nn.Linear(width, width)
        self.queries = nn.Linear(width, width, bias=False)
        self.keys_values = nn.Linear(2 * width, 2 * width, bias=False)
        self.hidden = nn.Linear(4 * width, width)
        self.out = nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.trust = nn.Parameter(torch.tensor(FIRST_TRUST))
        self.dropout = nn.Dropout(dropout)

    def remember(self, expected_BTD: Tensor, events_BTD: Tensor) -> Tensor:
        """Keys and values of a history, made once for all candidates, [B, 2, A, T, D / A].

        Args:
            expected_BTD: what the reader expects after each event, and before the first.
            events_BTD: the vectors of the events, zeros for the start.
        """
        B, T, D = expected_BTD.shape
        x = torch.cat([_normed(expected_BTD), _normed(events_BTD)], -1)
        both = self.keys_values(x).view(B, T, 2, self.num_heads, D // self.num_heads)
        return both.permute(0, 2, 3, 1, 4)

    def forward(
        self,
        memory: Tensor,
        is_read_BT: Tensor,
        y_BD: Tensor,
        vectors_BCD: Tensor,
        log_probs_BC: Tensor,
    ) -> Tensor:
        """Scores, [B, C].

        Args:
            memory: of `remember`.
            is_read_BT: which positions a context has; its first is always there.
            y_BD: what is expected after the last of them.
            vectors_BCD: the candidates' vectors.
            log_probs_BC: what the first phase says of them; nothing is learnt through it.
        """
        B, C, D = vectors_BCD.shape
        q_BCD = _normed(self.candidate(vectors_BCD * D**0.5))
        keys, values = memory.unbind(1)
        queries = self.queries(q_BCD).view(B, C, self.num_heads, D // self.num_heads)
        a = F.scaled_dot_product_attention(
            queries.transpose(1, 2), keys, values, attn_mask=is_read_BT[:, None, None]
        )
        a_BCD = a.transpose(1, 2).reshape(B, C, D)
        x = torch.cat([q_BCD, a_BCD, q_BCD * a_BCD, q_BCD * _normed(y_BD)[:, None]], -1)
        refined_BC = self.out(F.silu(self.hidden(self.dropout(x)))).squeeze(-1)
        score_BC: Tensor = log_probs_BC.detach() * self.trust + refined_BC
        return score_BC


def _normed(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])
