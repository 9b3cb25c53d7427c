"""What can be chosen about the smaller families; `higr` and `unigrf` have files of their own."""

from dataclasses import dataclass
from typing import Literal

from training.settings.bounds import (
    AboveZero,
    AtLeastOne,
    AtLeastZero,
    NotNegative,
    Share,
    ShareBelowOne,
    Strength,
)


@dataclass(frozen=True)
class CodedConfig:
    """What families share that say the next item by its codes and by itself."""

    backbone: Literal["llama", "hstu"] = "hstu"
    """A key of `training.backbones.BACKBONES`."""
    width: AtLeastOne = 64
    """Of every position's vector."""
    num_layers: AtLeastOne = 2
    """Blocks of the backbone."""
    num_heads: AtLeastOne = 2
    """Heads of each block; they share the width."""
    hidden_width: AtLeastZero = 0
    """Inside the backbone's blocks, as `make_backbone` says; 0: the backbone's own choice."""
    dropout: ShareBelowOne = 0.2
    """Share of what each block adds that is dropped in training."""
    max_history: AtLeastOne = 50
    """Events of context; set by the loop's `max_history`."""
    item_weight: NotNegative = 4.0
    """Of the item's log-probability, where that of its codes counts once."""
    temperature: AboveZero = 0.05
    """Of cosines."""
    num_negatives: AtLeastZero = 0
    """Items drawn for a step, which the right one is compared with; 0: the whole catalogue."""
    beam_width: AtLeastOne = 50
    """Semantic IDs kept per step, and items by their vectors beside them; never fewer than the
    items asked for. A catalogue whose IDs have few prefixes has no need of a beam."""


@dataclass(frozen=True)
class TigerConfig(CodedConfig):
    """Shape of the model."""

    learns: Literal["both", "codes", "items"] = "both"
    """To say an item's codes, the item by its vector, or both with one reader."""
    answer: Literal["both", "codes", "items"] = "both"
    """By which of them a list is ordered; it must have been learnt."""

    def __post_init__(self) -> None:
        if self.learns not in ("both", self.answer):
            raise ValueError(
                f"answer is {self.answer!r}, and learns is {self.learns!r}: expected the same, or"
                " learns: both"
            )


@dataclass(frozen=True)
class SasrecConfig:
    """Shape of the model."""

    backbone: Literal["attention", "llama", "hstu"] = "attention"
    """attention: SASRec's own blocks; else a key of `training.backbones.BACKBONES`."""
    width: AtLeastOne = 64
    """Of every position's vector."""
    num_layers: AtLeastOne = 2
    """Blocks of the backbone."""
    num_heads: AtLeastOne = 2
    """Heads of each block; they share the width."""
    hidden_width: AtLeastZero = 0
    """Of attention's feed-forward, 0: the width; else as `make_backbone` says."""
    dropout: ShareBelowOne = 0.2
    """Share of what each block adds that is dropped in training."""
    max_history: AtLeastOne = 50
    """Events of context; set by the loop's `max_history`."""
    similarity: Literal["inner", "cosine"] = "inner"
    """What an item's logit is: an inner product, or a cosine over the temperature."""
    temperature: AboveZero = 0.05
    """Of cosines."""
    loss: Literal["full", "sampled"] = "full"
    """Softmax over the whole catalogue, or over drawn items."""
    num_negatives: AtLeastZero = 512
    """Items drawn for the sampled loss, uniformly."""
    negatives: Literal["batch", "position"] = "batch"
    """Whether they are drawn once for a batch or for each position anew."""


@dataclass(frozen=True)
class FlatSlateConfig:
    """Shape of the model; fields that HiGR has, too, mean what they mean there."""

    backbone: Literal["llama", "hstu"] = "llama"
    """A key of `training.backbones.BACKBONES`."""
    width: AtLeastOne = 64
    """Of every position's vector."""
    num_layers: AtLeastOne = 3
    """As many as HiGR's planner has."""
    num_heads: AtLeastOne = 2
    """Heads of each block; they share the width."""
    hidden_width: AtLeastZero = 0
    """Inside the blocks; 0: the backbone's own choice."""
    dropout: ShareBelowOne = 0.1
    """Share of what each block adds that is dropped in training."""
    max_history: AtLeastOne = 50
    """Events of context; set by the loop's `max_history`."""
    longest_slate: AtLeastOne = 64
    """Places of a slate that it has room for."""
    order: Literal["engaged", "exposed"] = "engaged"
    """Slates are learnt by feedback strength and dwell, or as shown."""
    minimum_strength: Strength = 1
    """Weaker items of a slate are not learnt."""
    beam_width: AtLeastOne = 8
    """Semantic IDs kept per step, inside an item."""
    normalisation: Literal["legal", "all"] = "legal"
    """Whether a beam's probabilities are of the codes that exist below it, or of all."""


@dataclass(frozen=True)
class ItemKnnConfig:
    """Shape of the neighbourhood."""

    neighbours: AtLeastOne = 200
    """Nearest items kept per item."""
    shrinkage: NotNegative = 10.0
    """Takes weight from pairs that few people met."""
    recency_decay: Share = 0.97
    """Weight of an event against the one after it; 1 makes the history a set."""
    max_user_items: AtLeastOne = 500
    """Most recent items counted per user: pairs grow with the square of them."""


@dataclass(frozen=True)
class RatesConfig:
    """Shape of the shares of positive feedback."""

    prior_events: AboveZero = 10.0
    """Events at the share of all that stand before those of an item, and of a person."""


@dataclass(frozen=True)
class PopularityConfig:
    """Shape of the popularity list."""

    half_life_days: AboveZero | None = None
    """Age at which an event counts half; None: all events count alike."""
