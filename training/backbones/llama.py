"""A Llama-style causal Transformer: RMSNorm, rotary positions, SwiGLU (Touvron et al. 2023).

B rows, L positions, D width, H heads, E = D / H width of a head, F hidden width; of continuations:
W per row, S positions each.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.backbones.interface import placed, reserved, selected

Memory = list[tuple[Tensor, Tensor]]
"""Keys and values of every layer, each [B, H, L, E]."""


@dataclass(frozen=True)
class LlamaConfig:
    """Shape of the backbone."""

    width: int = 64
    num_layers: int = 2
    num_heads: int = 2
    hidden_width: int = 0
    """Of the SwiGLU; 0: 8/3 of the width, rounded up to a multiple of 8."""
    dropout: float = 0.1
    rope_base: float = 10_000.0

    def __post_init__(self) -> None:
        if self.width % (2 * self.num_heads):
            raise ValueError(
                f"width {self.width} is not a multiple of 2 * num_heads = {2 * self.num_heads}:"
                " rotary positions turn pairs of a head's dimensions"
            )


def turns(position: Tensor, width: int, base: float) -> Tensor:
    """By how much each pair of a head's dimensions is turned, as unit complex numbers.

    Pair e of a head of width E is turned by position / base^(2e/E) radians (Su et al. 2021).

    Args:
        position: places in the sequence, any shape.
        width: E, even.
        base: larger turns slower.
    Returns:
        The shape of `position` with a last axis of E/2, complex.
    """
    pair = torch.arange(width // 2, device=position.device)
    angle = position[..., None] * base ** (-2 * pair / width)
    return torch.polar(torch.ones_like(angle), angle)


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Queries or keys [..., E], turned; dimensions 2e and 2e + 1 are a pair.

    One complex product: on a CPU five times as fast as the four real ones it stands for.
    """
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turn).flatten(-2).type_as(x)


def attend(q_BHSE: Tensor, k_BHTE: Tensor, v_BHTE: Tensor, hidden_B1ST: Tensor) -> Tensor:
    """Softmax attention, [B, H, S, E]; what is not to be seen has -inf in `hidden_B1ST`, else 0.

    For one query per row two products: torch's fused attention, made for many, takes up to twice
    as long on a CPU.
    """
    if q_BHSE.shape[2] > 1:
        return F.scaled_dot_product_attention(q_BHSE, k_BHTE, v_BHTE, attn_mask=hidden_B1ST)
    scores_BH1T = (q_BHSE * q_BHSE.shape[-1] ** -0.5) @ k_BHTE.mT
    return (scores_BH1T + hidden_B1ST).softmax(-1) @ v_BHTE


class Layer(nn.Module):
    """Attention, then SwiGLU; each on the normalised input and added to it."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.hidden_width or -(-config.width // 3) * 8
        self.config = config
        self.attention_norm = nn.RMSNorm(width, eps=1e-6)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.hidden_norm = nn.RMSNorm(width, eps=1e-6)
        self.gate_and_value = nn.Linear(width, 2 * hidden, bias=False)
        self.hidden_out = nn.Linear(hidden, width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def heads(self, x_BLD: Tensor, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Turned queries and keys, and values, each [B, H, L, E]."""
        B, L, D = x_BLD.shape
        H = self.config.num_heads
        qkv = self.query_key_value(self.attention_norm(x_BLD)).view(B, L, 3, H, D // H)
        q_BHLE, k_BHLE = rotate(qkv[:, :, :2], turn[..., None, None, :]).permute(2, 0, 3, 1, 4)
        return q_BHLE, k_BHLE, qkv[:, :, 2].transpose(1, 2)

    def mix(self, x_BLD: Tensor, attended_BHLE: Tensor) -> Tensor:
        """Add what attention found, then what SwiGLU makes of it."""
        attended_BLD = attended_BHLE.transpose(1, 2).reshape(x_BLD.shape)
        x_BLD = x_BLD + self.dropout(self.attention_out(attended_BLD))
        gate, value = self.gate_and_value(self.hidden_norm(x_BLD)).chunk(2, -1)
        return x_BLD + self.dropout(self.hidden_out(F.silu(gate) * value))


class Llama(nn.Module):
    """A stack of layers and a last RMSNorm; see `training.backbones.interface.Backbone`."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm = nn.RMSNorm(config.width, eps=1e-6)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # Outputs of a deep residual stack add up: GPT-2 scales them by 1/sqrt(2 layers).
                residual = (2 * config.num_layers) ** -0.5 if "out" in name else 1.0
                nn.init.normal_(parameter, std=0.02 * residual)

    def turn(self, position: Tensor) -> Tensor:
        """What `rotate` needs at these positions."""
        return turns(position, self.config.width // self.config.num_heads, self.config.rope_base)

    def forward(self, x_BLD: Tensor, times_BL: Tensor | None = None) -> Tensor:
        """One vector per position from it and those before it; times are ignored."""
        return self.remember(x_BLD)[0]

    def at(self, x_BLD: Tensor, place_B: Tensor, times_BL: Tensor | None = None) -> Tensor:
        """The vector of one position of each row."""
        return self(x_BLD, times_BL)[torch.arange(len(place_B), device=place_B.device), place_B]

    def remember(self, x_BLD: Tensor, times_BL: Tensor | None = None) -> tuple[Tensor, Memory]:
        """The vectors, and the keys and values of every layer."""
        turn = self.turn(torch.arange(x_BLD.shape[1], device=x_BLD.device))
        memory = []
        for layer in self.layers:
            q_BHLE, k_BHLE, v_BHLE = layer.heads(x_BLD, turn)
            attended = F.scaled_dot_product_attention(q_BHLE, k_BHLE, v_BHLE, is_causal=True)
            x_BLD = layer.mix(x_BLD, attended)
            memory.append((k_BHLE, v_BHLE))
        return self.norm(x_BLD), memory

    def extend(
        self, memory: Memory, lengths_B: Tensor, x_BWSD: Tensor, time_B: Tensor | None = None
    ) -> Tensor:
        """W continuations per row; all W x S queries of a row read its one set of keys."""
        B, W, S, D = x_BWSD.shape
        device = x_BWSD.device
        position_BS = lengths_B[:, None] + torch.arange(S, device=device)
        turn = self.turn(position_BS.repeat(1, W))
        L = memory[0][0].shape[2]
        history_BTL = (torch.arange(L, device=device) < lengths_B[:, None])[:, None].expand(
            -1, W * S, -1
        )
        own = torch.ones(S, S, dtype=torch.bool, device=device).tril()
        own_TT = torch.block_diag(*[own] * W)
        visible = torch.cat([history_BTL, own_TT.expand(B, -1, -1)], -1)[:, None]
        x_BTD = x_BWSD.reshape(B, W * S, D)
        for layer, (past_k, past_v) in zip(self.layers, memory, strict=True):
            q, k, v = layer.heads(x_BTD, turn)
            attended = F.scaled_dot_product_attention(
                q, torch.cat([past_k, k], 2), torch.cat([past_v, v], 2), attn_mask=visible
            )
            x_BTD = layer.mix(x_BTD, attended)
        return self.norm(x_BTD).view(B, W, S, D)

    def append(
        self,
        memory: Memory,
        lengths_B: Tensor,
        x_BSD: Tensor,
        time_B: Tensor | None = None,
        *,
        in_place: bool = False,
    ) -> tuple[Tensor, Memory]:
        """S more positions of each row, and the memory of the longer rows."""
        S = x_BSD.shape[1]
        position_BS = lengths_B[:, None] + torch.arange(S, device=x_BSD.device)
        turn = self.turn(position_BS)
        T = memory[0][0].shape[2] + (0 if in_place else S)
        is_later_BST = torch.arange(T, device=x_BSD.device) > position_BS[:, :, None]
        hidden_B1ST = torch.zeros(is_later_BST.shape, dtype=x_BSD.dtype, device=x_BSD.device)
        hidden_B1ST = hidden_B1ST.masked_fill_(is_later_BST, float("-inf"))[:, None]
        longer = []
        for layer, (past_k, past_v) in zip(self.layers, memory, strict=True):
            q, k, v = layer.heads(x_BSD, turn)
            k, v = (
                placed(past, new, position_BS, in_place=in_place)
                for past, new in ((past_k, k), (past_v, v))
            )
            attended = attend(q, k, v, hidden_B1ST)
            x_BSD = layer.mix(x_BSD, attended)
            longer.append((k, v))
        return self.norm(x_BSD), longer

    def reserve(self, memory: Memory, positions: int) -> Memory:
        """A copy of a memory with room for so many more positions of each row."""
        return [(reserved(k, positions), reserved(v, positions)) for k, v in memory]

    def select(self, memory: Memory, rows: Tensor) -> Memory:
        """A copy of some rows of a memory, in the given order; a row may come several times."""
        return [(selected(k, rows), selected(v, rows)) for k, v in memory]
