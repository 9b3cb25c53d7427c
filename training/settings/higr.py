"""What can be chosen about HiGR: the shape, and what the paper leaves open."""

from dataclasses import dataclass
from typing import Literal

from training.settings.bounds import AtLeastOne, AtLeastZero, NotNegative, ShareBelowOne, Strength


@dataclass(frozen=True)
class HigrConfig:
    """Shape of the model; small for a CPU. The paper's planner has 14 layers."""

    backbone: Literal["llama", "hstu"] = "llama"
    """A key of `training.backbones.BACKBONES`: the planner's. A llama has room for slates of any
    length, an hstu for `longest_slate`."""
    width: AtLeastOne = 64
    """Of every position's vector."""
    planner_layers: AtLeastOne = 3
    """Heavy: once for each event of the context and each place of the slate."""
    num_heads: AtLeastOne = 2
    """Heads of each block; they share the width."""
    hidden_width: AtLeastZero = 0
    """Inside the blocks, as `make_backbone` says; 0: the backbones' own choice."""
    dropout: ShareBelowOne = 0.1
    """Share of what each block adds that is dropped in training."""
    max_history: AtLeastOne = 50
    """Events of context; set by the loop's `max_history`."""
    longest_slate: AtLeastOne = 64
    """hstu: places of a slate that it has room for."""

    learns: Literal["both", "codes", "items"] = "both"
    """To say an item's codes, the item by its vector, or both with one planner."""
    item_weight: NotNegative = 1.0
    """both: of the item's log-probability, by which the best of a beam is chosen; that of its codes
    counts once."""
    num_negatives: AtLeastZero = 0
    """Items drawn for a step, which the right one is compared with; 0: the whole catalogue."""
    planner_feedback: Literal["item", "latent"] = "item"
    """What the planner is told of the place before: the item that was chosen, or what it said there
    itself. `latent` decodes the items of all places in one batch."""

    order: Literal["engaged", "exposed"] = "engaged"
    """Slates are learnt by feedback strength and dwell, as the paper aligns them, or as shown."""
    minimum_strength: Strength = 1
    """Weaker items of a slate are not learnt."""
    beam_width: AtLeastOne = 32
    """Semantic IDs kept per step, inside an item; the best item is one of them."""
    normalisation: Literal["legal", "all"] = "legal"
    """Whether a beam's probabilities are of the codes that exist below it, or of all."""

    def __post_init__(self) -> None:
        counts = {
            "planner_layers": self.planner_layers,
            "longest_slate": self.longest_slate,
            "beam_width": self.beam_width,
        }
        problems = [f"{name} is {value}" for name, value in counts.items() if value < 1]
        if problems:
            raise ValueError("; ".join(problems) + ", expected at least 1")
