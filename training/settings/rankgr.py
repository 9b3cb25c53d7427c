"""What can be chosen about `rankgr`."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from training.settings.bounds import AboveZero, AtLeastOne, NotNegative, ShareBelowOne
from training.settings.families import CodedConfig


@dataclass(frozen=True)
class RankgrConfig(CodedConfig):
    """Shape and losses of the model. The paper gives no equations: a field says what was chosen.

    `num_heads` are those of the attention of candidates, too.
    """

    learns: ClassVar[Literal["both"]] = "both"
    answer: ClassVar[Literal["both"]] = "both"

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
    refinement_share: ShareBelowOne = 0.0
    """Of each person's training events, the last: in the place of which the second phase learns, by
    itself, what the fitted first answers; 0: both learn together, from all events."""

    def __post_init__(self) -> None:
        if self.refinement_share and (self.refines_reader or not self.refinement_weight):
            raise ValueError(
                f"refinement_share is {self.refinement_share}, of a second phase that learns by"
                " itself: expected refines_reader: false, and a refinement_weight above 0"
            )
