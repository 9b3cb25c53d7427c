"""What can be chosen about `rankgr`."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from training.settings.bounds import (
    AboveZero,
    AtLeastOne,
    AtLeastZero,
    NotNegative,
    ShareBelowOne,
)


@dataclass(frozen=True)
class RankgrConfig:
    """Shape and losses of the model. The paper gives no equations: a field says what was chosen.

    Fields that tiger has, too, mean what they mean there.
    """

    learns: ClassVar[Literal["both"]] = "both"
    answer: ClassVar[Literal["both"]] = "both"

    backbone: Literal["llama", "hstu"] = "hstu"
    """A key of `training.backbones.BACKBONES`."""
    width: AtLeastOne = 64
    """Of every position's vector."""
    num_layers: AtLeastOne = 2
    """Blocks of the backbone."""
    num_heads: AtLeastOne = 2
    """Heads of each block, and of the attention of candidates; they share the width."""
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
    """Semantic IDs kept per step, where a catalogue's IDs have too many prefixes for all."""

    contexts_per_step: AtLeastOne = 32
    """Of a step's targets, those whose lists are compared, too, drawn anew each time."""
    preference_weight: NotNegative = 0.03
    """alpha: of the listwise preference loss, where a target's next-item loss counts once; 0: the
    first phase learns what comes next alone."""
    preference_scale: AboveZero = 1.0
    """beta: of rewards, which are log-probabilities of codes against the reference's."""
    reference: Literal["none", "average", "start"] = "none"
    """What rewards are measured against: nothing, a moving average of the weights, or those that
    the fit began with: of a day before, or, without one, untrained."""
    each_prefix: bool = False
    """Whether items are compared by each prefix of their codes, as a beam prunes them, and not by
    whole semantic IDs alone."""

    candidates: AtLeastOne = 50
    """lambda: the first phase's best, which the second puts into order, in training and in
    answers; an answer of more places looks at as many."""
    refinement_weight: NotNegative = 1.0
    """gamma: of the second phase's loss; 0: there is none."""
    refines_reader: bool = True
    """Whether the second phase's gradients reach the reader and the items, or its own weights
    alone."""
