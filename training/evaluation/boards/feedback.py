"""Feedback: what was thought of each event, predicted before it by a probability."""

from collections.abc import Callable
from typing import Self

import numpy as np
import pyarrow as pa

from training.data.histories import Histories
from training.data.splits import Targets
from training.evaluation.boards.interface import HeldOut, Measured, Predictor, Terms
from training.evaluation.metrics import FEEDBACK, names_of
from training.evaluation.ranking import Predictions, calibration_curve
from training.evaluation.record import ALL
from training.evaluation.retrieval import slice_masks
from training.settings.spec import Question

_CURVE_BINS = 10
"""Points of the calibration curve."""
MANY_EVENTS = 50
"""Training events above which a person is a frequent one."""


class FeedbackBoard:
    """Every event's feedback; its slices hold how well the probabilities are calibrated."""

    name = FEEDBACK
    question: Question = "feedback"
    asks_for = "feedback"

    def __init__(self, targets: Targets, train: Histories, terms: Terms) -> None:
        self._targets, self._terms = targets, terms
        self._strengths = targets.histories.strengths[targets.events]
        self._masks = {**slice_masks(targets, train), **_strata(targets, train, terms)}

    @classmethod
    def of(cls, held_out: HeldOut, terms: Terms) -> Self | None:
        """The board of a day's events."""
        return cls(held_out.feedback, held_out.train, terms) if len(held_out.feedback) else None

    def __len__(self) -> int:
        return len(self._targets)

    def measure(self, model: Predictor, progress: Callable[[int], None]) -> Measured:
        """Compare a model's probabilities with the feedback."""
        probability_T = self._probabilities(model, progress)
        targets = self._targets
        every = Predictions(
            targets.user, self._strengths >= self._terms.positive_strength, probability_T
        )
        rows = {
            "user_id": pa.array(targets.histories.user_ids[targets.user], pa.string()),
            "item_index": pa.array(targets.items, pa.int32()),
            "strength": pa.array(self._strengths, pa.int8()),
            "probability": pa.array(probability_T.astype(np.float32)),
        }
        return Measured(
            samples={ALL: every, **{name: every.where(m) for name, m in self._masks.items()}},
            names=tuple(names_of(FEEDBACK)),
            rows=pa.table(rows),
            calibration=calibration_curve(every, _CURVE_BINS),
        )

    def _probabilities(self, model: Predictor, progress: Callable[[int], None]) -> np.ndarray:
        """Of positive feedback on each event, float64, [T]."""
        targets, parts, row = self._targets, [], 0
        for queries in model.queries(targets.histories, targets.questions, exclude_seen=False):
            items_B1 = targets.items[row : row + len(queries), None]
            parts.append(model.rank(queries, items_B1)[:, 0])
            row += len(queries)
            progress(row)
        return np.concatenate(parts).astype(np.float64)


def _strata(targets: Targets, train: Histories, terms: Terms) -> dict[str, np.ndarray]:
    """Events of people who are neither light nor frequent, and of frequent ones, bool, [T].

    GroupCE's cold and warm people have up to 20, 20 to 50, and more than 50 events.
    """
    events_T = train.lengths[targets.user]
    is_frequent_T = events_T > max(MANY_EVENTS, terms.light_user_events)
    return {
        "middle_users": (events_T > terms.light_user_events) & ~is_frequent_T,
        "frequent_users": is_frequent_T,
    }
