"""What every model is: it reads histories once, and answers from what it has read.

B queries, L events of context, C candidates, k places in a list, V items in the catalogue.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from training.data.queries import PAD, Queries, TopK, queries_of
from training.data.splits import NO_DATA, Data, Split
from training.data.vocabulary import Vocabulary
from training.fit.fitting import FitReport, Fitting
from training.settings.configure import configure
from training.settings.spec import FamilySpec, Question

__all__ = [
    "PAD",
    "Family",
    "Model",
    "Queries",
    "Ranks",
    "Recommends",
    "State",
    "TopK",
    "queries_of",
]

State = Any
"""What a model keeps of queries that it has read; its own business. Answering doesn't use it up,
so that it can be asked again."""


class Model(Protocol):
    """A fitted model of any family; `training.inference` asks it.

    It has the methods of what it `answers`: `Recommends`, `Ranks` or both.
    """

    family: str
    config: Any

    @property
    def answers(self) -> frozenset[Question]:
        """What this one can be asked: a family may leave it to its config."""
        ...

    def rows_at_once(self, queries: Queries, k: int, num_candidates: int) -> int:
        """How many of the queries fit into memory at a time, read and answered; at least 1.

        Args:
            queries: the questions, as wide as the widest.
            k: places of the lists that will be asked for; 0: none.
            num_candidates: candidates of each that will be ranked; 0: none.
        """
        ...

    def read(self, queries: Queries) -> State:
        """The histories, read once. A history is read the same whatever else is in the batch."""
        ...

    def select(self, state: State, rows: np.ndarray) -> State:
        """Some rows, at least one (bool or numbers, in the given order), as if read alone."""
        ...


class Recommends(Model, Protocol):
    """A model that answers `lists` and `slates`."""

    def recommend(self, state: State, k: int) -> TopK:
        """The k best items of the whole catalogue for each context, excluded ones left out.

        Deterministic.
        """
        ...


class Ranks(Model, Protocol):
    """A model that answers `feedback`."""

    def rank(self, state: State, items_BC: np.ndarray) -> np.ndarray:
        """Probability of positive feedback, were the candidate the next item, float32, [B, C].

        Candidates don't see each other: a probability is the same in any company.

        Args:
            state: of the B histories.
            items_BC: item indices; `PAD`, whose probability is NaN, for none. An item beyond the
                catalogue gets the share of positive feedback in training.
        """
        ...


class Fit(Protocol):
    """How a family's models come about."""

    def __call__(
        self,
        split: Split,
        config: Any,
        fitting: Fitting,
        vocabulary: Vocabulary,
        data: Data = NO_DATA,
        /,
    ) -> tuple[Any, FitReport]:
        """Fit a model.

        Args:
            split: histories that train, targets that stop the training.
            config: of the family's class.
            fitting: how.
            vocabulary: the catalogue; with codes for a family that reads `semantic_ids`.
            data: what else the family `reads`, by the table's name.
        Returns:
            The model, a `training.models.weights.Kept`, and what the fit did.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Family(FamilySpec):
    """A kind of model: what a preset knows of it, and how it is fitted and kept.

    Attributes:
        model_class: a `training.models.weights.Kept`.
        fit: makes one.
    """

    model_class: type[Any]
    fit: Fit

    @classmethod
    def of(cls, spec: FamilySpec, model_class: type[Any], fit: Fit) -> "Family":
        """The family that presets know by a spec."""
        return cls(**vars(spec), model_class=model_class, fit=fit)

    def configure(self, settings: Mapping[str, Any]) -> Any:
        """The family's config with some fields set.

        Raises:
            ValueError: a setting that the family does not have, or a choice that it does not offer.
        """
        return configure(self.config_class, self.name, settings)
