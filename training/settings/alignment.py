"""What can be chosen about the alignment with preferences."""

from dataclasses import dataclass
from typing import Literal

from training.settings.bounds import AboveZero, AtLeastOne, NotNegative, Share


@dataclass(frozen=True)
class AlignmentConfig:
    """How preferences are learnt, and what may not be lost over it."""

    method: Literal["orpo", "dpo", "simpo"] = "orpo"
    """The preference term: a key of `training.losses.preference`."""
    preference_weight: NotNegative = 0.1
    """alpha, of the preference term; the paper's is not known, ORPO's own is 0.1."""
    dpo_beta: AboveZero = 0.1
    """dpo: how far from the pretrained model it may go."""
    simpo_beta: AboveZero = 2.0
    """simpo: scale of the difference."""
    simpo_margin: NotNegative = 0.5
    """simpo: by how much the chosen must lead."""

    watched_slates: AtLeastOne = 500
    """Validation slates, and pairs of them, that are watched; evenly spread."""
    max_chosen_fall: float = 0.5
    """Nats per token by which chosen slates may become less likely."""
    max_perplexity_ratio: AboveZero = 1.5
    """Perplexity per token over that before."""
    max_invalid_rise: float = 0.2
    """Of the share of semantic IDs that no item has, where beams are free."""
    max_similarity_rise: float = 0.1
    """Of the mean cosine within said slates."""
    min_coverage_ratio: Share = 0.5
    """Share of the catalogue that is said, over that before."""
    max_repeats_rise: float = 0.2
    """Of the share of places that repeat an item, where that is allowed."""

    def __post_init__(self) -> None:
        if self.preference_weight < 0:
            raise ValueError(f"preference_weight is {self.preference_weight}, expected 0 or above")
