"""What can be chosen about HiGR: the shape, and what the paper leaves open."""

from dataclasses import dataclass
from typing import Literal

from training.settings.bounds import AtLeastOne, AtLeastZero, ShareBelowOne, Strength


@dataclass(frozen=True)
class HigrConfig:
    """Shape of the model; small for a CPU. The paper's planner has 14 layers, its generator 2."""

    backbone: Literal["llama", "hstu"] = "llama"
    """A key of `training.backbones.BACKBONES`: the planner's. A llama has room for slates of any
    length, an hstu for `longest_slate`. Generators are llamas."""
    width: AtLeastOne = 64
    """Of every position's vector."""
    planner_layers: AtLeastOne = 3
    """Heavy: once for each event of the context and each place of the slate."""
    generator_layers: AtLeastOne = 1
    """Light: once for each code and beam."""
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

    context_in_generator: bool = True
    """Whether the generator is told the context's vector beside the planner's: with few slates to
    learn from, the planner alone is slow to let the context through."""
    generators: Literal["shared", "separate"] = "shared"
    """One generator for all places, or one for each of the first `num_generators`, the last of them
    for all later places, too."""
    num_generators: AtLeastOne = 10
    """separate: how many."""
    planner_feedback: Literal["item", "latent"] = "item"
    """What the planner is told of the place before: the item that was chosen, or what it said there
    itself. `latent` decodes the items of all places in one batch."""

    order: Literal["engaged", "exposed"] = "engaged"
    """Slates are learnt by feedback strength and dwell, as the paper aligns them, or as shown."""
    minimum_strength: Strength = 1
    """Weaker items of a slate are not learnt."""
    beam_width: AtLeastOne = 8
    """Semantic IDs kept per step, inside an item."""
    normalisation: Literal["legal", "all"] = "legal"
    """Whether a beam's probabilities are of the codes that exist below it, or of all."""

    def __post_init__(self) -> None:
        counts = {
            "planner_layers": self.planner_layers,
            "generator_layers": self.generator_layers,
            "num_generators": self.num_generators,
            "longest_slate": self.longest_slate,
            "beam_width": self.beam_width,
        }
        problems = [f"{name} is {value}" for name, value in counts.items() if value < 1]
        if problems:
            raise ValueError("; ".join(problems) + ", expected at least 1")
