"""Every causal sequence model that a family can be built on; a preset's `backbone` names one."""

from collections.abc import Callable
from typing import Any

from torch import nn

from training.backbones.hstu import Hstu, HstuConfig
from training.backbones.llama import Llama, LlamaConfig


def _llama(*, max_positions: int, **shape: Any) -> Llama:
    return Llama(LlamaConfig(**shape))


def _hstu(**shape: Any) -> Hstu:
    return Hstu(HstuConfig(**shape))


BACKBONES: dict[str, Callable[..., nn.Module]] = {"llama": _llama, "hstu": _hstu}
"""Name → what makes it; each is a `training.backbones.interface.Backbone`."""


def make_backbone(
    name: str,
    *,
    width: int,
    num_layers: int,
    num_heads: int,
    dropout: float,
    max_positions: int,
    hidden_width: int = 0,
) -> nn.Module:
    """A backbone with its first weights.

    Args:
        name: a key of `BACKBONES`.
        width: D, of what goes in and comes out.
        num_layers: blocks.
        num_heads: heads of each block.
        dropout: share of what each block adds that is dropped in training.
        max_positions: longest row, continuations included; rotary positions have no such limit.
        hidden_width: inside a block: of llama's feed-forward, of hstu's heads together; 0: the
            backbone's own choice.
    Raises:
        ValueError: there is no such backbone, or heads can't share the width.
    """
    if name not in BACKBONES:
        raise ValueError(f"no backbone {name!r}; there are {sorted(BACKBONES)}")
    return BACKBONES[name](
        width=width,
        num_layers=num_layers,
        num_heads=num_heads,
        dropout=dropout,
        max_positions=max_positions,
        hidden_width=hidden_width,
    )
