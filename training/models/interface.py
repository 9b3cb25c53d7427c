"""What every recommender answers: contexts in, the best items of the whole catalogue out.

B contexts, L events of context, k places in a list, V items in the catalogue.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from training.configure import configure
from training.data.contexts import PAD, Contexts, TopK, contexts_of
from training.data.splits import Split
from training.data.vocabulary import Vocabulary
from training.fitting import FitReport, Fitting

__all__ = [
    "PAD",
    "Contexts",
    "Family",
    "Ranker",
    "Recommender",
    "TopK",
    "as_ranker",
    "contexts_of",
]


class Recommender(Protocol):
    """A fitted model of any family."""

    family: str

    def recommend(self, contexts: Contexts, k: int) -> TopK:
        """The k best items of the whole catalogue for each context, excluded ones left out.

        Deterministic, and the same for a context whatever else is in the batch. Memory is bounded
        by the model's own chunking, whatever B is.
        """
        ...


@runtime_checkable
class Ranker(Recommender, Protocol):
    """A recommender that can also say what will be thought of an item."""

    ranks: bool
    """Whether this one was fitted for it: a family may leave the choice to its config."""

    def rank(self, contexts: Contexts, items_BC: np.ndarray) -> np.ndarray:
        """Probability of positive feedback, were the candidate the next item, float32, [B, C].

        Candidates don't see each other: a probability is the same in any company.

        Args:
            contexts: the B histories.
            items_BC: item indices; `PAD`, whose probability is NaN, for none. An item beyond the
                catalogue gets the share of positive feedback in training.
        """
        ...

    def recommend_and_rank(
        self, contexts: Contexts, k: int, items_BC: np.ndarray
    ) -> tuple[TopK, np.ndarray]:
        """What `recommend` and `rank` answer, with each history read once."""
        ...

    def recommend_ranked(self, contexts: Contexts, k: int, num_candidates: int) -> TopK:
        """Of the `num_candidates` best items by `recommend`, the k best by `rank`.

        Scores are probabilities of positive feedback.
        """
        ...


def as_ranker(model: Recommender) -> Ranker | None:
    """The model where it can rank; None where it can't."""
    return model if isinstance(model, Ranker) and model.ranks else None


@dataclass(frozen=True)
class Family:
    """A kind of recommender: how it is configured, fitted, saved and loaded.

    Attributes:
        name: key in `MODELS`.
        config_class: frozen dataclass of the model's shape; every field has a default.
        fit: (split, config, fitting, vocabulary) → (model, report).
        save: (model, directory): safetensors and JSON, nothing pickled.
        load: (directory, device) → a model that answers as the saved one did.
        uses_semantic_ids: whether `fit` needs `vocabulary.codes_VQ`.
        uses_slates: whether `fit` needs `split.slates`.
        align: teaches a fitted model which of two slates is better, as `training.models.alignment`;
            None for a family that learns no preferences.
    """

    name: str
    config_class: type
    fit: Callable[[Split, Any, Fitting, Vocabulary], tuple[Recommender, FitReport]]
    save: Callable[[Any, Path], None]
    load: Callable[[Path, str], Recommender]
    uses_semantic_ids: bool = False
    uses_slates: bool = False
    align: Callable[..., tuple[Recommender, FitReport]] | None = None

    def configure(self, settings: Mapping[str, Any]) -> Any:
        """The family's config with some fields set.

        Raises:
            ValueError: a setting that the family does not have, or a choice that it does not offer.
        """
        return configure(self.config_class, self.name, settings)
