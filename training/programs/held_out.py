"""What all entrants of a day are asked about, read from its tables."""

from datetime import UTC, datetime

import numpy as np

from training.data.histories import SECOND, Histories
from training.data.queries import NO_ITEMS
from training.data.slates import Slates
from training.data.splits import Split, Targets
from training.evaluation.boards.interface import HeldOut
from training.evaluation.boards.slates import worth_asking
from training.programs.day_inputs import split_histories, split_slates
from training.programs.interface import Task
from training.programs.item_vectors import item_matrix


def read_held_out(task: Task, histories: Histories, split: Split) -> HeldOut:
    """The day's targets of every board."""
    slates = slate_questions(task, histories)
    return HeldOut(
        train=split.train,
        lists=split.test,
        feedback=feedback_targets(task, histories),
        slates=slates,
        vectors_VD=None if slates is None else _item_vectors(task),
    )


def feedback_targets(task: Task, histories: Histories) -> Targets:
    """Held-out events whose feedback is asked for: the targets of the lists, weaker ones included.

    How weak `evaluation.ranking_minimum_strength` says: ranking needs both kinds of feedback.
    """
    evaluation = task.config.evaluation
    minimum = {
        "target_minimum_strength": evaluation.ranking_minimum_strength,
        # What someone thinks who meets an item, whenever the item was chosen.
        "asked_at": "event",
    }
    return split_histories(histories, task.day, evaluation.model_copy(update=minimum)).test


def slate_questions(task: Task, histories: Histories) -> Slates | None:
    """Held-out slates that are asked about; None where none are published, or none fits.

    None, too, where no days are held out whole: the other items of a last slate have
    taught every model that would be asked for it.
    """
    evaluation = task.config.evaluation
    if evaluation.protocol != "rolling":
        return None
    slates = task.tables.slates(histories)
    if slates is None:
        return None
    asked = worth_asking(
        split_slates(slates, task.day, evaluation).test,
        minimum_items=evaluation.slate_minimum_items,
        minimum_strength=evaluation.slate_minimum_strength,
    )
    return asked if len(asked) else None


def unlisted_before(task: Task, split: Split) -> np.ndarray:
    """Items that nobody could have been recommended when the first target was asked for."""
    times = split.test.histories.times[split.test.events]
    if not len(times):
        return NO_ITEMS
    first = datetime.fromtimestamp(int(times.min()) // SECOND, UTC).date()
    return task.tables.unlisted(asked_on=first)


def _item_vectors(task: Task) -> np.ndarray:
    """A vector per item, those of items without one all zeros, float32, [V, D]."""
    vectors = task.tables.vectors()
    return item_matrix(vectors, int(vectors.item_indices.max()) + 1)
