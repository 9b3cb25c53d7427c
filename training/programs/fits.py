"""A fit of the daily chain: what a family, or an alignment, makes of the day's training_data.

The programs that keep bundles and the grid of experiments fit by these functions alone.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from training.config import Training
from training.fit.fitting import Observer
from training.models import blend
from training.models.interface import Family
from training.models.slate.alignment import align
from training.models.slate.model import SlateModel
from training.models.weights import Kept
from training.programs.interface import Facts, Task
from training.programs.training_data import TrainingData, fitting_of, read_by, training_document
from training.settings.alignment import AlignmentConfig


def fit_family(
    task: Task,
    family: Family,
    shape: Any,
    training_data: TrainingData,
    training: Training,
    *,
    checkpoints: Path,
    observers: Sequence[Observer] = (),
    first_weights: Path | None = None,
) -> tuple[Kept, Facts]:
    """A model of a family, and its document of the training.

    Args:
        task: preset, device.
        family: what is fitted.
        shape: the family's config.
        training_data: what it is fitted on, all events.
        training: the loop's settings, and how weak an event may be that is read.
        checkpoints: folder for the checkpoint.
        observers: told about steps and epochs.
        first_weights: safetensors that the fit begins with; None: the model's own.
    """
    fitting = fitting_of(task, training, checkpoints, tuple(observers))
    fitting = replace(fitting, first_weights=first_weights)
    read = read_by(training_data, training)
    started = time.perf_counter()
    model, report = family.fit(read.split, shape, fitting, read.vocabulary, read.data)
    return model, training_document(report, time.perf_counter() - started)


def align_model(
    task: Task,
    model: SlateModel,
    how: AlignmentConfig,
    training_data: TrainingData,
    training: Training,
    *,
    vectors_VD: np.ndarray,
    checkpoints: Path,
    observers: Sequence[Observer] = (),
) -> tuple[Kept, Facts]:
    """A pretrained model, aligned in place, and the document of that.

    Args:
        task: preset, device.
        model: on the task's device.
        how: method and what may not be lost.
        training_data: with slates and preference pairs.
        training: of `alignment_training`.
        vectors_VD: a vector per item, float32, [V, D].
        checkpoints: folder for the checkpoint.
        observers: told about steps and epochs.
    """
    fitting = fitting_of(task, training, checkpoints, tuple(observers))
    started = time.perf_counter()
    data = read_by(training_data, training).data
    aligned, report = align(
        model,
        data["slates"],
        data["preference_pairs"],
        how,
        fitting,
        training_data.vocabulary,
        item_vectors_VD=vectors_VD,
    )
    return aligned, training_document(report, time.perf_counter() - started)


def blend_training(trainings: Sequence[Training]) -> Training:
    """How histories are read so that each part of a blend finds what it reads."""
    reads = blend.reads_of_both([_reads(training) for training in trainings])
    return trainings[0].model_copy(update=reads._asdict())


def blend_models(
    task: Task,
    parts: Sequence[Kept],
    training_data: TrainingData,
    trainings: Sequence[Training],
) -> tuple[Kept, Facts]:
    """A blend of two fitted models, and the document of how its weight was chosen.

    Args:
        task: preset, device.
        parts: on the task's device.
        training_data: what both were fitted on, all events.
        trainings: how each reads histories.
    """
    training = blend_training(trainings)
    fitting = fitting_of(task, training, None, ())
    read = read_by(training_data, training)
    started = time.perf_counter()
    data = {"parts": tuple(parts), "reads": tuple(map(_reads, trainings))}
    model, report = blend.FAMILY.fit(
        read.split, blend.FAMILY.config_class(), fitting, read.vocabulary, data
    )
    return model, training_document(report, time.perf_counter() - started)


def _reads(training: Training) -> blend.Reads:
    return blend.Reads(training.max_history, training.minimum_strength)


def alignment_training(task: Task, training: Training) -> Training:
    """The loop of an alignment: the training's, shorter and in smaller steps."""
    alignment = task.config.alignment
    changes: dict[str, Any] = {
        "max_epochs": alignment.max_epochs,
        "learning_rate": training.learning_rate * alignment.learning_rate_share,
    }
    return training.model_copy(update=changes)
