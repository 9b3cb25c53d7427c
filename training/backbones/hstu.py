"""HSTU: pointwise attention gated by its own input (Zhai et al. 2024, arXiv:2402.17152).

A layer, with X the input and LN a LayerNorm without weights:

    U, V, Q, K = SiLU(LN(X) W)                    in this order, H heads of E each
    A_ij = SiLU(Q_i·K_j + w_distance[i - j] + w_gap[g]) / n   for j <= i, else 0
    Y = X + dropout(U ⊙ LN(A V)) W_out

No softmax and no 1/√E: how often something stands in a history is not normalised away. n is the
longest row there can be, a constant, so that a row's length isn't either. g is on a log scale what
lies between position j and the moment at which something is asked after position i. Both tables
are of a layer and shared by its heads. There is no feed-forward block.

B rows, L positions, D width, H heads, E width of a head, G = H E gates, n = `max_positions`; R
queries of a block and C positions that they may see; of continuations: W per row, S positions each.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.backbones.interface import placed, reserved, selected

QUERIES = 128
"""Rows of attention made at once: of the later ones only what a block may see is computed."""
HIDDEN = -1e4
"""A score whose SiLU is exactly 0, and so is its gradient; in bfloat16, too."""
NUM_GAPS = 129
GAP_SCALE = 0.301
"""Of natural logarithms: a bucket spans a factor of 1.35, all of them more than any time."""


@dataclass(frozen=True)
class HstuConfig:
    """Shape of the backbone."""

    width: int = 64
    num_layers: int = 2
    num_heads: int = 2
    hidden_width: int = 0
    """Of all heads' queries, keys, values or gates together; 0: the width."""
    dropout: float = 0.2
    max_positions: int = 200
    """n: the longest row, padding included, and what scores are divided by."""

    def __post_init__(self) -> None:
        if self.inner_width % self.num_heads:
            raise ValueError(
                f"{self.num_heads} heads can't share a width of {self.inner_width}: choose"
                " num_heads or hidden_width so that one divides the other"
            )

    @property
    def inner_width(self) -> int:
        """H x E."""
        return self.hidden_width or self.width


@dataclass(frozen=True)
class Memory:
    """What is kept of rows.

    Attributes:
        keys_values: of every layer, each [B, H, L, E].
        times_BL: of every position, seconds; None without times.
    """

    keys_values: list[tuple[Tensor, Tensor]]
    times_BL: Tensor | None


@dataclass(frozen=True)
class Sight:
    """What some queries, the last R of C positions or those after them, see, and how far off.

    Attributes:
        distance_BRC: positions from key to query, n where a key is hidden, int64; B is 1 where all
            rows are alike.
        gap_BRC: `gap_buckets` between them; R is 1 where all queries are alike; None without times.
    """

    distance_BRC: Tensor
    gap_BRC: Tensor | None


def gap_buckets(seconds: Tensor) -> Tensor:
    """The bucket of a time span: floor(ln(max(|seconds|, 1)) / 0.301), at most 128, int32.

    Example:
        >>> gap_buckets(torch.tensor([0, 1, 2, 60, 86_400, 31_536_000])).tolist()
        [0, 0, 2, 13, 37, 57]
    """
    logarithm = seconds.abs().clamp_(min=1).float().log_()
    return logarithm.div_(GAP_SCALE).clamp_(max=NUM_GAPS - 1).int()


class Layer(nn.Module):
    """One block: gates, values, queries and keys; attention; what the gates let through."""

    def __init__(self, config: HstuConfig) -> None:
        super().__init__()
        self.config = config
        self.gate_value_query_key = nn.Linear(config.width, 4 * config.inner_width, bias=False)
        self.out = nn.Linear(config.inner_width, config.width)
        self.distance_N = nn.Parameter(torch.randn(config.max_positions) * 0.02)
        self.gap_G = nn.Parameter(torch.randn(NUM_GAPS) * 0.02)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.normal_(self.gate_value_query_key.weight, std=0.02)
        nn.init.xavier_uniform_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def heads(self, x_BLD: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gates, [B, L, G]; queries, keys, and values that are divided by n, each [B, H, L, E]."""
        x_BLD = F.layer_norm(x_BLD, x_BLD.shape[-1:], eps=1e-6)
        gate_BLG, *others = F.silu(self.gate_value_query_key(x_BLD)).chunk(4, -1)
        v, q, k = (self._by_head(x) for x in others)
        return gate_BLG, q, k, v / self.config.max_positions

    def at(self, x_BLD: Tensor, place_B: Tensor, sight: Sight) -> Tensor:
        """What the block makes of one position of each row, [B, 1, D]."""
        row_B = torch.arange(len(place_B), device=place_B.device)
        normed_BLD = F.layer_norm(x_BLD, x_BLD.shape[-1:], eps=1e-6)
        gate, value, query, key = self.gate_value_query_key.weight.chunk(4)
        of_all = F.silu(F.linear(normed_BLD, torch.cat([value, key])))
        of_one = F.silu(F.linear(normed_BLD[row_B, place_B, None], torch.cat([gate, query])))
        v, k = (self._by_head(x) for x in of_all.chunk(2, -1))
        gate_B1G, query_B1G = of_one.chunk(2, -1)
        scores_BH1L = self._by_head(query_B1G) @ k.mT
        weights = _weights(scores_BH1L, self.bias(sight)[:, None])
        attended_BH1E = weights @ (v / self.config.max_positions)
        return self.mix(x_BLD[row_B, place_B, None], gate_B1G, attended_BH1E)

    def bias(self, sight: Sight) -> Tensor:
        """What distance and time add to scores; `HIDDEN` where a query may not look. [B, R, C]."""
        by_distance = torch.cat([self.distance_N, self.distance_N.new_full((1,), HIDDEN)])
        bias_BRC = _looked_up(by_distance, sight.distance_BRC)
        if sight.gap_BRC is not None:
            bias_BRC = bias_BRC + _looked_up(self.gap_G, sight.gap_BRC)
        return bias_BRC

    def _by_head(self, x_BLG: Tensor) -> Tensor:
        return x_BLG.unflatten(-1, (self.config.num_heads, -1)).transpose(1, 2)

    def mix(self, x_BLD: Tensor, gate_BLG: Tensor, attended_BHLE: Tensor) -> Tensor:
        """Add what attention found, as far as the gates let it through."""
        attended_BLG = attended_BHLE.transpose(1, 2).flatten(2)
        attended_BLG = F.layer_norm(attended_BLG, attended_BLG.shape[-1:], eps=1e-6)
        return x_BLD + self.out(self.dropout(gate_BLG * attended_BLG))


class Hstu(nn.Module):
    """A stack of layers, scaled to a mean square of 1; see `training.backbones.interface.Backbone`.

    The last scaling has no weights: who takes cosines of the vectors doesn't notice it.
    """

    def __init__(self, config: HstuConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))

    def forward(self, x_BLD: Tensor, times_BL: Tensor | None = None) -> Tensor:
        """One vector per position from it and those before it."""
        return self.remember(x_BLD, times_BL)[0]

    def remember(self, x_BLD: Tensor, times_BL: Tensor | None = None) -> tuple[Tensor, Memory]:
        """The vectors, and the keys and values of every layer.

        Raises:
            ValueError: rows are longer than `max_positions`.
        """
        L = x_BLD.shape[1]
        x_BLD, keys_values = self._run(self.layers, x_BLD, times_BL)
        known_BL = None if times_BL is None else times_BL[:, :L]
        return self._scaled(x_BLD), Memory(keys_values, known_BL)

    def at(self, x_BLD: Tensor, place_B: Tensor, times_BL: Tensor | None = None) -> Tensor:
        """The vector of one position of each row: the last layer asks about no other.

        Raises:
            ValueError: rows are longer than `max_positions`.
        """
        x_BLD, _ = self._run(self.layers[:-1], x_BLD, times_BL)
        sight = self._sight_at(place_B, x_BLD.shape[1], times_BL)
        return self._scaled(self.layers[-1].at(x_BLD, place_B, sight))[:, 0]

    def extend(
        self, memory: Memory, lengths_B: Tensor, x_BWSD: Tensor, time_B: Tensor | None = None
    ) -> Tensor:
        """W continuations per row, whose positions happen, and are asked about, at `time_B`.

        Raises:
            ValueError: a continuation goes past `max_positions`, or times were given to `remember`
                and not here, or here and not there.
        """
        return self._continue(memory, lengths_B, x_BWSD, time_B)[0]

    def append(
        self,
        memory: Memory,
        lengths_B: Tensor,
        x_BSD: Tensor,
        time_B: Tensor | None = None,
        *,
        in_place: bool = False,
    ) -> tuple[Tensor, Memory]:
        """S more positions of each row, and the memory of the longer rows.

        Raises:
            ValueError: as `extend`.
        """
        x_B1SD, more = self._continue(memory, lengths_B, x_BSD[:, None], time_B, in_place=in_place)

        place_BS = lengths_B[:, None] + torch.arange(x_BSD.shape[1], device=x_BSD.device)

        def longer(past: Tensor, new: Tensor) -> Tensor:
            return placed(past, new, place_BS, in_place=in_place)

        keys_values = [
            (longer(past_k, k), longer(past_v, v))
            for (past_k, past_v), (k, v) in zip(memory.keys_values, more, strict=True)
        ]
        times_BL = memory.times_BL
        if times_BL is not None and time_B is not None:  # both or neither: see `_continue`
            new_BS = time_B[:, None].expand(-1, x_BSD.shape[1])
            times_BL = longer(times_BL[:, None, :, None], new_BS[:, None, :, None])[:, 0, :, 0]
        return x_B1SD[:, 0], Memory(keys_values, times_BL)

    def reserve(self, memory: Memory, positions: int) -> Memory:
        """A copy of a memory with room for so many more positions of each row."""
        keys_values = [
            (reserved(k, positions), reserved(v, positions)) for k, v in memory.keys_values
        ]
        times_BL = memory.times_BL
        return Memory(keys_values, None if times_BL is None else F.pad(times_BL, (0, positions)))

    def select(self, memory: Memory, rows: Tensor) -> Memory:
        """A copy of some rows of a memory, in the given order; a row may come several times."""
        keys_values = [(selected(k, rows), selected(v, rows)) for k, v in memory.keys_values]
        return Memory(keys_values, None if memory.times_BL is None else memory.times_BL[rows])

    def _run(
        self, layers: Iterable[Layer], x_BLD: Tensor, times_BL: Tensor | None
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """What layers make of all positions, and their keys and values."""
        L = x_BLD.shape[1]
        self._require_room(L)
        # Written so that a compiled graph depends on how many blocks there are, not on L.
        ends = [QUERIES * number for number in range(1, -(-L // QUERIES))] + [L]
        sights = [
            self._sight(start, stop, times_BL, x_BLD.device)
            for start, stop in zip([0, *ends], ends, strict=False)
        ]
        keys_values = []
        for layer in layers:
            gate_BLG, q, k, v = layer.heads(x_BLD)
            attended = []
            for sight in sights:
                R, C = sight.distance_BRC.shape[1:]
                scores_BHRC = q[:, :, C - R : C] @ k[:, :, :C].mT
                attended.append(_weights(scores_BHRC, layer.bias(sight)[:, None]) @ v[:, :, :C])
            x_BLD = layer.mix(x_BLD, gate_BLG, torch.cat(attended, 2))
            keys_values.append((k, v))
        return x_BLD, keys_values

    def _continue(
        self,
        memory: Memory,
        lengths_B: Tensor,
        x_BWSD: Tensor,
        time_B: Tensor | None,
        *,
        in_place: bool = False,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Vectors of continuations, and their own keys and values; `in_place` if they have room."""
        if (memory.times_BL is None) != (time_B is None):
            raise ValueError(
                "rows and their continuations have times or neither has; found"
                f" {'none' if memory.times_BL is None else 'times'} in memory and"
                f" {'none' if time_B is None else 'times'} for extend"
            )
        B, W, S, D = x_BWSD.shape
        self._require_room(memory.keys_values[0][0].shape[2], 0 if in_place else S)
        past = self._sight_of_past(memory, lengths_B, S, time_B)
        at_once = None if time_B is None else torch.zeros_like(time_B[:1, None]).expand(1, S)
        own = self._sight(0, S, at_once, x_BWSD.device)
        x_BTD, keys_values = x_BWSD.reshape(B, W * S, D), []
        for layer, (past_k, past_v) in zip(self.layers, memory.keys_values, strict=True):
            gate_BTG, q, k, v = layer.heads(x_BTD)
            keys_values.append((k, v))
            scores = (q @ past_k.mT).unflatten(2, (W, S))
            weights = _weights(scores, layer.bias(past)[:, None, None])
            attended = weights.flatten(2, 3) @ past_v
            q, k, v = (part.unflatten(2, (W, S)) for part in (q, k, v))
            attended = attended + (_weights(q @ k.mT, layer.bias(own)) @ v).flatten(2, 3)
            x_BTD = layer.mix(x_BTD, gate_BTG, attended)
        return self._scaled(x_BTD).view(B, W, S, D), keys_values

    def _sight(self, start: int, stop: int, times_BL: Tensor | None, device: torch.device) -> Sight:
        """What positions `start` to `stop` see of themselves and of all before them."""
        query, key = torch.arange(start, stop, device=device), torch.arange(stop, device=device)
        distance_RC = query[:, None] - key
        distance_RC = distance_RC.masked_fill_(distance_RC < 0, self.config.max_positions)
        if times_BL is None:
            return Sight(distance_RC[None], None)
        # Asked when the next one happens; after the last position, if nobody says when, at once.
        after = (query + 1).clamp_(max=times_BL.shape[1] - 1)
        gap_BRC = gap_buckets(times_BL[:, after, None] - times_BL[:, None, :stop])
        return Sight(distance_RC[None], gap_BRC)

    def _sight_at(self, place_B: Tensor, L: int, times_BL: Tensor | None) -> Sight:
        """What one position of each row sees of itself and of all before it."""
        distance_B1L = (place_B[:, None] - torch.arange(L, device=place_B.device))[:, None]
        distance_B1L = distance_B1L.masked_fill_(distance_B1L < 0, self.config.max_positions)
        if times_BL is None:
            return Sight(distance_B1L, None)
        after_B1 = (place_B[:, None] + 1).clamp_(max=times_BL.shape[1] - 1)
        gap_B1L = gap_buckets(times_BL.gather(1, after_B1) - times_BL[:, :L])[:, None]
        return Sight(distance_B1L, gap_B1L)

    def _sight_of_past(
        self, memory: Memory, lengths_B: Tensor, S: int, time_B: Tensor | None
    ) -> Sight:
        """What S positions after each row see of the row."""
        key = torch.arange(memory.keys_values[0][0].shape[2], device=lengths_B.device)
        query_BS = lengths_B[:, None] + torch.arange(S, device=lengths_B.device)
        distance_BSL = query_BS[:, :, None] - key
        hidden_B1L = key >= lengths_B[:, None, None]
        distance_BSL = distance_BSL.masked_fill_(hidden_B1L, self.config.max_positions)
        gap_B1L = (
            None
            if time_B is None or memory.times_BL is None
            else gap_buckets(time_B[:, None, None] - memory.times_BL[:, None])
        )
        return Sight(distance_BSL, gap_B1L)

    def _require_room(self, length: int, more: int = 0) -> None:
        longest = self.config.max_positions
        if length + more > longest:
            raise ValueError(
                f"{length + more} positions, and this backbone has a place for {longest};"
                " make it with a larger max_positions, or give it shorter histories"
            )

    def _scaled(self, x_BLD: Tensor) -> Tensor:
        return F.rms_norm(x_BLD, x_BLD.shape[-1:], eps=1e-6)


def _weights(scores: Tensor, bias: Tensor) -> Tensor:
    """What values are multiplied by; `scores` is used up."""
    return F.silu(scores.add_(bias))


def _looked_up(table: Tensor, index: Tensor) -> Tensor:
    """table[index]; on a CPU twice to five times as fast, backwards too."""
    return table.index_select(0, index.flatten()).view(index.shape)
