"""What a search asks: the boards' questions about the events before those that are held out."""

from typing import TypeVar

import numpy as np

from training.data.histories import Histories
from training.data.slates import Slates
from training.data.splits import Split, Targets
from training.evaluation.boards.interface import HeldOut
from training.evaluation.boards.slates import worth_asking
from training.programs.day_inputs import split_histories, split_slates
from training.programs.interface import Task

MOST = 5000
"""Questions of a board, evenly spread over those there are: a search asks many models."""
_Questions = TypeVar("_Questions", Targets, Slates)


def validation_questions(task: Task, histories: Histories, split: Split) -> HeldOut:
    """The validation targets of every board; no test target is among them."""
    evaluation = task.config.evaluation
    minimum = {"target_minimum_strength": evaluation.ranking_minimum_strength}
    with_feedback = split_histories(histories, task.day, evaluation.model_copy(update=minimum))
    return HeldOut(
        train=split.train,
        lists=_thinned(split.validation),
        feedback=_thinned(with_feedback.validation),
        slates=_slates(task, histories),
        vectors_VD=None,
    )


def _slates(task: Task, histories: Histories) -> Slates | None:
    evaluation = task.config.evaluation
    slates = task.tables.slates(histories)
    # The items of a slate whose user's last events are held out taught every model.
    if slates is None or evaluation.protocol != "rolling":
        return None
    return _thinned(
        worth_asking(
            split_slates(slates, task.day, evaluation).validation,
            minimum_items=evaluation.slate_minimum_items,
            minimum_strength=evaluation.slate_minimum_strength,
        )
    )


def _thinned(questions: _Questions) -> _Questions:
    if len(questions) <= MOST:
        return questions
    return questions.where(np.linspace(0, len(questions) - 1, MOST).astype(np.int64))
