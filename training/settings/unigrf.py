"""What can be chosen about UniGRF: the shape, and all that the paper leaves open."""

from dataclasses import dataclass
from typing import Literal

from training.settings.bounds import (
    AboveZero,
    AtLeastOne,
    AtLeastZero,
    ShareBelowOne,
    Strength,
)
from training.settings.spec import LISTS, Question


@dataclass(frozen=True)
class UnigrfConfig:
    """Shape and losses of the model. Where the paper says nothing, a field says what was chosen."""

    backbone: Literal["hstu", "llama"] = "hstu"
    """A key of `training.backbones.BACKBONES`."""
    width: AtLeastOne = 64
    """Of every position's vector."""
    num_layers: AtLeastOne = 2
    """Blocks of the backbone."""
    num_heads: AtLeastOne = 2
    """Heads of each block; they share the width."""
    hidden_width: AtLeastZero = 0
    """Of the backbone's feed-forward, where it has one; 0: its own default."""
    dropout: ShareBelowOne = 0.2
    """Share of what each block adds that is dropped in training."""
    learned_positions: bool = True
    """Whether a vector for its place is added to every token, beside what the backbone does."""
    max_history: AtLeastOne = 50
    """Events of context; set by the loop's `max_history`."""
    positive_strength: Strength = 2
    """Feedback is positive (b = 1) from this strength on; set by `evaluation.positive_strength`."""
    feedback_input: Literal["binary", "strength"] = "binary"
    """What a feedback token says: b alone, as in the paper, or the ordinal strength."""
    tasks: Literal["both", "retrieval", "ranking"] = "both"
    """What is learnt; one alone is the single-task control."""
    retrieval_minimum_strength: Strength = -1
    """Weaker events are context, and their feedback is learnt, but they are no item to retrieve:
    where exposures are in the histories, what was shown is not what is wanted."""

    similarity: Literal["cosine", "inner"] = "cosine"
    """Of the next item's expected vector and an item's: normalised, as in Meta's HSTU runs, or the
    plain inner product that the paper names."""
    temperature: AboveZero = 0.05
    """Similarities are divided by it."""
    num_negatives: AtLeastZero = 128
    """Items drawn for each position; 0: the full softmax over the catalogue."""

    hard_negatives: AtLeastZero = 5
    """m: how many of the negatives are hard-to-detect disliked items; 0: none are looked for."""
    pool: AtLeastZero = 256
    """Items drawn for each position, of which the negatives are chosen."""
    scored_candidates: AtLeastOne = 16
    """Of them ranking scores the so many best by retrieval, each as the row's next item."""
    scored_positions: AtLeastOne = 4
    """Positions of each row and step where that is done."""
    favourite_share: ShareBelowOne = 0.1
    """Of a batch's scored items the so many that ranking likes best are potential favourites, and
    no negatives (alpha is a quantile of the scores); 0: there are none."""

    weighter: Literal["epoch", "off"] = "epoch"
    """Whether the ratio of the last two epochs' losses weighs the tasks."""
    weighter_temperature: AboveZero = 0.1
    """T: smaller makes the slower task weigh more."""
    ranking_scale: AboveZero = 1.0
    """lambda_b / lambda_a: how often a nat of ranking counts against one of retrieval while both
    tasks learn equally fast."""

    def __post_init__(self) -> None:
        problems = [problem for problem, is_there in self._problems().items() if is_there]
        if problems:
            raise ValueError("; ".join(problems))

    def _problems(self) -> dict[str, bool]:
        negatives, hard = self.num_negatives, self.hard_negatives
        looks = self.uses_enhancer
        return {
            f"temperature is {self.temperature}, expected above 0": self.temperature <= 0,
            f"weighter_temperature is {self.weighter_temperature}, expected above 0": (
                self.weighter_temperature <= 0
            ),
            f"num_negatives is {negatives}, expected 0 (full softmax) or more": negatives < 0,
            f"hard_negatives is {hard}, expected 0 to num_negatives = {negatives}": (
                looks and not 0 <= hard <= negatives
            ),
            f"pool is {self.pool}, expected num_negatives = {negatives} or more": (
                looks and self.pool < negatives
            ),
            f"scored_candidates is {self.scored_candidates}, expected hard_negatives = {hard} or"
            " more": looks and self.scored_candidates < hard,
        }

    @property
    def answers(self) -> frozenset[Question]:
        """What the model can be asked."""
        feedback: frozenset[Question] = frozenset({"feedback"})
        return (LISTS if self.retrieves else frozenset()) | (
            feedback if self.ranks else frozenset()
        )

    @property
    def retrieves(self) -> bool:
        """Whether the next item is learnt."""
        return self.tasks != "ranking"

    @property
    def ranks(self) -> bool:
        """Whether the feedback is learnt."""
        return self.tasks != "retrieval"

    @property
    def uses_enhancer(self) -> bool:
        """Whether the ranking head chooses among the negatives; it needs both, and a choice."""
        chooses = self.hard_negatives != 0 or self.favourite_share != 0
        return self.tasks == "both" and self.num_negatives > 0 and chooses

    @property
    def max_positions(self) -> int:
        """Tokens of the longest row: two for each event of a window, a start, and one to ask about.

        A window has an event more than its last target has context.
        """
        return 2 * (self.max_history + 1) + 1
