"""Slates: what a model would have shown in the place of each held-out slate.

A slate is asked for when lists are: before its first exposure, or, as one for all slates of a user
and a day, at the end of the day before. It is measured against all that was engaged with in it.
"""

from collections.abc import Callable
from typing import Self

import numpy as np

from training.data.questions import Questions
from training.data.slates import Slates
from training.evaluation.boards.interface import HeldOut, Measured, Predictor, Terms
from training.evaluation.metrics import SLATES
from training.evaluation.record import ALL
from training.evaluation.samples import UserMeans, UserMetrics, user_rows
from training.evaluation.slate import coverage, intra_list_similarity, repeats, slate_metrics
from training.settings.spec import Question


class SlateBoard:
    """Every slate of which something was engaged with.

    Facts of a model: `coverage`, the share of the catalogue that some slate holds;
    `repeated_share` of places; `similarity`, the mean cosine of a slate's pairs, where items have
    vectors.
    """

    name = SLATES
    question: Question = "slates"
    asks_for = "slates"

    def __init__(self, held_out: HeldOut, slates: Slates, terms: Terms) -> None:
        self._slates, self._vectors_VD, self._terms = slates, held_out.vectors_VD, terms
        self._questions = Questions.about(
            slates.histories,
            slates.user,
            slates.position,
            slates.started_at,
            held_out.lists.asked_at,
        )
        train = held_out.train
        events_S = train.lengths[slates.user]
        is_light_S = events_S <= terms.light_user_events
        self._masks = {
            ALL: np.ones(len(slates), dtype=bool),
            "light_users": is_light_S,
            "heavy_users": ~is_light_S,
            "new_users": events_S == 0,
        }

    @classmethod
    def of(cls, held_out: HeldOut, terms: Terms) -> Self | None:
        """The board of a day's slates."""
        if held_out.slates is None or not len(held_out.slates):
            return None
        return cls(held_out, held_out.slates, terms)

    def __len__(self) -> int:
        return len(self._questions)

    def measure(self, model: Predictor, progress: Callable[[int], None]) -> Measured:
        """Compare the slates that a model would have shown with those that were shown."""
        slates_SM = self._answers(model, progress)
        values = slate_metrics(slates_SM, self._slates, self._terms.slate_cutoffs)
        samples = {name: self._means(values, mask_S) for name, mask_S in self._masks.items()}
        facts = {
            "coverage": coverage(slates_SM, self._terms.num_items),
            "repeated_share": repeats(slates_SM),
        }
        if self._vectors_VD is not None:
            similarity_S = intra_list_similarity(slates_SM, self._vectors_VD)
            if np.isfinite(similarity_S).any():
                facts["similarity"] = float(np.nanmean(similarity_S))
        rows = user_rows(samples, self._slates.histories.user_ids)
        return Measured(samples, samples[ALL].names, rows, facts)

    def _means(self, values: dict[str, np.ndarray], mask_S: np.ndarray) -> UserMetrics:
        means = UserMeans(self._slates.user, mask_S)
        for metric, values_S in values.items():
            means.add(f"slate_{metric}", values_S)
        return means.result()

    def _answers(self, model: Predictor, progress: Callable[[int], None]) -> np.ndarray:
        """What the model would have shown in the place of each slate, int32, [S, M]."""
        terms, parts, done = self._terms, [], 0
        for queries in model.queries(
            self._slates.histories, self._questions, exclude_seen=terms.exclude_seen
        ):
            parts.append(model.recommend(queries, max(terms.slate_cutoffs)).items_Bk)
            done += len(queries)
            progress(done)
        answers_SM: np.ndarray = np.concatenate(parts)[self._questions.question_T]
        return answers_SM


def worth_asking(slates: Slates, *, minimum_items: int, minimum_strength: int) -> Slates:
    """Held-out slates of enough items, with only the items that were engaged with.

    Args:
        slates: as they were shown.
        minimum_items: slates that showed fewer are left out.
        minimum_strength: of feedback on an item that was engaged with; slates without one are
            left out.
    """
    shown = slates.where(slates.lengths >= minimum_items)
    return shown.targets("exposed", minimum_strength=minimum_strength)
