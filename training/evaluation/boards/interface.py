"""A board: one kind of question, asked of every model that can answer it, about the same targets.

T targets, V items, D width, Q levels, B queries, C candidates, k places.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
import pyarrow as pa

from training.data.histories import Histories
from training.data.queries import Queries, TopK
from training.data.questions import Questions
from training.data.slates import Slates
from training.data.splits import Targets
from training.evaluation.record import CalibrationBin
from training.evaluation.samples import Sample
from training.settings.spec import Question


@dataclass(frozen=True)
class HeldOut:
    """A day's held-out data, from which every board takes its questions.

    Attributes:
        train: what weights may have seen; its users are those of the targets.
        lists: the next items that are asked for; slates are asked for at the same moment.
        feedback: events whose feedback is asked for.
        slates: slates that are asked for, with what was engaged with; None where there are none.
        vectors_VD: a vector per item, float32, [V, D]; None where they are not needed.
    """

    train: Histories
    lists: Targets
    feedback: Targets
    slates: Slates | None
    vectors_VD: np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On which terms all entrants of a day are measured; the preset's `evaluation` explains them.

    Attributes:
        cutoffs: K of the metrics of lists.
        slate_cutoffs: K of the metrics of slates.
        exclude_seen: whether items of the history are filtered from lists and slates.
        positive_strength: feedback is positive from this strength on.
        light_user_events: users with at most so many training events are light.
        num_items: V of the largest catalogue among the entrants.
        codes_VQ: the challenger's semantic IDs, by which lists of models without any are read; None
            where it has none.
    """

    cutoffs: tuple[int, ...]
    slate_cutoffs: tuple[int, ...]
    exclude_seen: bool
    positive_strength: int
    light_user_events: int
    num_items: int
    codes_VQ: np.ndarray | None = None


class Predictor(Protocol):
    """A model as a board asks it; `training.registry.predictor.BundlePredictor` is one."""

    @property
    def answers(self) -> frozenset[str]:
        """Questions that it answers."""
        ...

    @property
    def num_items(self) -> int:
        """V, items that it can name."""
        ...

    @property
    def codes_VQ(self) -> np.ndarray | None:
        """Its semantic IDs by item_index, int, -1 for none; None for a model without."""
        ...

    def queries(
        self, histories: Histories, questions: Questions, *, exclude_seen: bool
    ) -> Iterator[Queries]:
        """What it reads for each question, some at a time, in their order."""
        ...

    def recommend(self, queries: Queries, k: int) -> TopK:
        """The k best items of each context."""
        ...

    def rank(self, queries: Queries, items_BC: np.ndarray) -> np.ndarray:
        """Probability of positive feedback on each candidate, float32, [B, C]."""
        ...


@dataclass(frozen=True)
class Measured:
    """What a board found of one model.

    Attributes:
        samples: by slice, all targets (`ALL`) first; the slices are those of every model.
        names: the metrics, also where the targets do not define one.
        rows: what is kept of the answers beside the record.
        facts: numbers about all answers that are not compared.
        contradictions: sentences on metrics that no answer could have scored.
        seconds: that it took; 0 where nobody measured it.
        calibration: of probabilities, the lowest first; empty of other answers.
    """

    samples: Mapping[str, Sample]
    names: tuple[str, ...]
    rows: pa.Table
    facts: Mapping[str, float] = field(default_factory=dict)
    contradictions: tuple[str, ...] = ()
    seconds: float = 0.0
    calibration: tuple[CalibrationBin, ...] = ()


class Board(Protocol):
    """One kind of question about one day."""

    name: str
    """Key in `BOARDS`, and the board of its metrics in `METRICS`."""
    question: Question
    """What a model must answer to be measured."""
    asks_for: str
    """What is asked, in words."""

    @classmethod
    def of(cls, held_out: HeldOut, terms: Terms) -> Self | None:
        """The board of a day; None where the day has no such question."""
        ...

    def __len__(self) -> int:
        """Questions."""
        ...

    def measure(self, model: Predictor, progress: Callable[[int], None]) -> Measured:
        """Ask a model that answers the board.

        Args:
            model: with the board's question among its `answers`.
            progress: is told the number of questions that were answered.
        """
        ...
