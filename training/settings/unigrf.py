"""What can be chosen about UniGRF: the shape, and all that the paper leaves open."""

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
    head_width: AtLeastZero = 0
    """Hidden units of the ranking head; 0: the model's width."""

    hard_negatives: AtLeastZero = 5
    """m: how many of the negatives are hard-to-detect disliked items; 0: none are looked for."""
    mining: Literal["in_step", "carried"] = "in_step"
    """Hard negatives are found among `pool` items drawn in the same step, or among an epoch's
    negatives and used in the next one."""
    pool: AtLeastZero = 256
    """in_step: items drawn for each position, of which the negatives are chosen."""
    relative_score: Literal["ratio", "difference", "amplified"] = "ratio"
    """Of retrieval score r and ranking score p: r / p, r - p, or r exp(r - p)."""
    retrieval_score: Literal["standardised", "tempered", "plain"] = "standardised"
    """r is the sigmoid of the similarity less its mean over the drawn, in standard deviations; of
    the similarity over the temperature; or of the similarity."""
    scorer: Literal["item", "contextual"] = "item"
    """Whose ranking score: the head on the item's own vector, as the paper writes it, which knows
    no user; or the model's, with the candidate as the row's next item."""
    scored_candidates: AtLeastOne = 16
    """contextual: the so many best by retrieval are scored."""
    contextual_positions: AtLeastOne = 4
    """contextual: positions of each row and step where candidates are scored."""
    favourites: Literal["off", "removed", "positive"] = "removed"
    """Drawn items above the threshold are no negatives; `positive`: nor is that all, each is a
    right item, too."""
    favourite_threshold: Share = 0.9
    """alpha: ranking score from which a drawn item is a potential favourite."""
    favourite_weight: NotNegative = 1.0
    """positive: weight of the mean loss of a position's favourites."""

    weighter: Literal["epoch", "ema", "off"] = "epoch"
    """Which losses' ratio weighs the tasks: of the last two epochs, of a short and a long running
    mean over steps, or none."""
    weighter_temperature: AboveZero = 0.1
    """T: smaller makes the slower task weigh more."""
    retrieval_scale: NotNegative = 2.0
    """lambda_a; with both scales 2 a weighter begins with the sum of the losses. 0: as 2."""
    ranking_scale: NotNegative = 2.0
    """lambda_b; 0: such that both weighted losses are equal in the first step, some ten times as
    much: ranking then learns its training data by heart before retrieval has learnt anything."""
    ema_steps: AtLeastOne = 100
    """ema: steps of the short running mean; the long one has five times as many."""

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
                looks and self.mining == "in_step" and self.pool < negatives
            ),
            f"scored_candidates is {self.scored_candidates}, expected hard_negatives = {hard} or"
            " more": looks and self.scorer == "contextual" and self.scored_candidates < hard,
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
        chooses = self.hard_negatives != 0 or self.favourites != "off"
        return self.tasks == "both" and self.num_negatives > 0 and chooses

    @property
    def max_positions(self) -> int:
        """Tokens of the longest row: two for each event of a window, a start, and one to ask about.

        A window has an event more than its last target has context.
        """
        return 2 * (self.max_history + 1) + 1
