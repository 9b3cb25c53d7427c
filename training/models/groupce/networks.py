r"""What becomes of a user and an item: two towers that meet in a main network.

    e_u = f_U( fields of the user )        e_i = f_I( fields of the item and of the moment )
    s   = g( e_u, e_i )

`dcn_v2` (Wang et al. 2021, arXiv:2008.13535): x_{l+1} = x_0 ∘ (W x_l + b) + x_l, and a perceptron.
`deepfm` (Guo et al. 2017, arXiv:1703.04247): sum over pairs of fields of <v_a, v_b>, a linear term
and a perceptron. `din` (Zhou et al. 2018, arXiv:1706.06978): a perceptron, and with the item what
the user's history says of it: sum_l w(h_l, v) h_l, the weights not normalised.

Users and items are separate up to g, because groups are made of e_u.

B rows, L events of a history, F fields, E width of a field's vector, W width of both towers.
"""

from typing import Any

import torch
from torch import Tensor, nn

from training.models.groupce.fields import FieldTable
from training.settings.groupce import GroupceConfig


class Network(nn.Module):
    """Towers and main network of one kind.

    Args:
        config: the shape.
        table: vectors of the fields.
        num_logits: 1, or 2 where there is one for either label; the last is of "positive".
    """

    reads_history = False

    def __init__(self, config: GroupceConfig, table: FieldTable, num_logits: int) -> None:
        super().__init__()
        self.config, self.table, self.num_logits = config, table, num_logits
        self.user_width = table.width_of("user")
        self.item_width = table.width_of("item", "context")
        self.user_tower = _tower(config, self.user_width)
        self.item_tower = _tower(config, self.item_width)

    @property
    def width(self) -> int:
        """W: what the main network reads."""
        return self.user_width + self.item_width

    def user(self, user_BF: Tensor) -> Tensor:
        """e_u of users' codes, [B, user_width]."""
        return self.user_tower(self.table(user_BF, "user"))

    def item(self, item_BF: Tensor, context_BF: Tensor, history_BLF: Tensor | None) -> Tensor:
        """e_i of items' and moments' codes; the last axis is `item_width`.

        Args:
            item_BF: codes of the items.
            context_BF: codes of the moments.
            history_BLF: codes of the items of the users' events, -1 where there is none; read by
                `din` alone.
        """
        fields_BW = [self.table(item_BF, "item"), self.table(context_BF, "context")]
        return self.item_tower(torch.cat(fields_BW, -1))

    def forward(self, user_BD: Tensor, item_BD: Tensor) -> Tensor:
        """g: log-odds of a positive, [B, num_logits]."""
        raise NotImplementedError


class DcnV2(Network):
    """Explicit crosses of all fields beside a perceptron."""

    def __init__(self, config: GroupceConfig, table: FieldTable, num_logits: int) -> None:
        super().__init__(config, table, num_logits)
        self.crosses = nn.ModuleList(
            nn.Linear(self.width, self.width) for _ in range(config.cross_layers)
        )
        self.perceptron, width = _perceptron(config, self.width)
        self.head = nn.Linear(self.width + width, num_logits)

    def forward(self, user_BD: Tensor, item_BD: Tensor) -> Tensor:
        """Log-odds, [B, num_logits]."""
        first_BW = torch.cat([user_BD, item_BD], -1)
        crossed_BW = first_BW
        for cross in self.crosses:
            crossed_BW = torch.addcmul(crossed_BW, first_BW, cross(crossed_BW))
        return self.head(torch.cat([crossed_BW, self.perceptron(first_BW)], -1))


class DeepFm(Network):
    """Products of all pairs of fields, a linear term and a perceptron."""

    def __init__(self, config: GroupceConfig, table: FieldTable, num_logits: int) -> None:
        super().__init__(config, table, num_logits)
        self.linear = nn.Linear(self.width, num_logits)
        self.perceptron, width = _perceptron(config, self.width)
        self.head = nn.Linear(width, num_logits, bias=False)

    def forward(self, user_BD: Tensor, item_BD: Tensor) -> Tensor:
        """Log-odds, [B, num_logits]; products are of "positive" alone."""
        first_BW = torch.cat([user_BD, item_BD], -1)
        fields_BFE = first_BW.unflatten(-1, (-1, self.config.field_width))
        pairs_BE = fields_BFE.sum(-2).square() - fields_BFE.square().sum(-2)
        logits_B = self.linear(first_BW) + self.head(self.perceptron(first_BW))
        products_B1 = pairs_BE.sum(-1, keepdim=True) / 2
        return logits_B + nn.functional.pad(products_B1, (self.num_logits - 1, 0))


class Din(Network):
    """A perceptron that is told what the history says of the item."""

    reads_history = True

    def __init__(self, config: GroupceConfig, table: FieldTable, num_logits: int) -> None:
        super().__init__(config, table, num_logits)
        width, hidden = table.width_of("item"), config.hidden_width
        # W [h; v; h - v; h v] of the paper, its columns put together.
        self.of_event = nn.Linear(width, hidden, bias=False)
        self.of_item = nn.Linear(width, hidden)
        self.of_both = nn.Linear(width, hidden, bias=False)
        self.weight = nn.Linear(hidden, 1)
        self.item_width += width
        self.perceptron, width = _perceptron(config, self.width)
        self.head = nn.Linear(width, num_logits)

    def item(self, item_BF: Tensor, context_BF: Tensor, history_BLF: Tensor | None) -> Tensor:
        """e_i, with the user's interest in it."""
        assert history_BLF is not None, "din reads the history"
        without_BD = super().item(item_BF, context_BF, None)
        interest_BD = self._interest(self.table(item_BF, "item"), history_BLF)
        return torch.cat([without_BD, interest_BD], -1)

    def _interest(self, item_BD: Tensor, history_BLF: Tensor) -> Tensor:
        is_there_BL = history_BLF[..., 0] >= 0
        event_BLD = self.table(history_BLF.clamp(min=0), "item")
        hidden_BLH = self.of_event(event_BLD) + self.of_both(event_BLD * item_BD.unsqueeze(-2))
        hidden_BLH = hidden_BLH + self.of_item(item_BD).unsqueeze(-2)
        weight_BL = self.weight(nn.functional.gelu(hidden_BLH)).squeeze(-1) * is_there_BL
        return (weight_BL.unsqueeze(-2) @ event_BLD).squeeze(-2)

    def forward(self, user_BD: Tensor, item_BD: Tensor) -> Tensor:
        """Log-odds, [B, num_logits]."""
        return self.head(self.perceptron(torch.cat([user_BD, item_BD], -1)))


NETWORKS: dict[str, type[Network]] = {"dcn_v2": DcnV2, "deepfm": DeepFm, "din": Din}


class _Residual(nn.Module):
    """`x + V gelu(U x + a) + b`."""

    def __init__(self, width: int, hidden_width: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, hidden_width), nn.Linear(hidden_width, width)

    def forward(self, x_BW: Tensor) -> Tensor:
        return x_BW + self.outer(nn.functional.gelu(self.inner(x_BW)))


def _tower(config: GroupceConfig, width: int) -> nn.Module:
    layers = (_Residual(width, config.hidden_width) for _ in range(config.tower_layers))
    return nn.Sequential(*layers)


def _perceptron(config: GroupceConfig, width: int) -> tuple[nn.Module, int]:
    """Hidden layers, and the width of the last one's values."""
    layers: list[Any] = []
    for _ in range(config.hidden_layers):
        layers += [nn.Linear(width, config.hidden_width), nn.ReLU(), nn.Dropout(config.dropout)]
        width = config.hidden_width
    return nn.Sequential(*layers), width
