"""A day's tables as the cells of recommenders read them, each read once."""

from dataclasses import replace

import numpy as np

from training.evaluation.boards.interface import HeldOut
from training.experiments.request import Request
from training.experiments.table import Fit
from training.models import MODELS
from training.programs.day_inputs import Inputs, read_histories
from training.programs.held_out import read_held_out, unlisted_before
from training.programs.interface import Task
from training.programs.item_vectors import item_matrix, read_item_vectors
from training.programs.training_data import (
    TrainingData,
    day_training_data,
    training_data_for,
    with_pairs,
)


class DayTables:
    """What fits are given and what is asked, by the settings that they depend on."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._training_data: dict[str, TrainingData] = {}
        self._vectors: dict[str, np.ndarray] = {}
        self._held_out: dict[str, tuple[HeldOut, Inputs, np.ndarray]] = {}

    @property
    def inputs(self) -> dict[str, str]:
        """Content of every table that was read, by name."""
        read = [training_data.inputs for training_data in self._training_data.values()]
        read += [inputs for _, inputs, _ in self._held_out.values()]
        return {name: one["content_hash"] for inputs in read for name, one in inputs.items()}

    def training_data(self, task: Task, fit: Fit) -> TrainingData:
        """What a fit is given.

        Raises:
            ProgramError: the day has nothing of what the family reads.
        """
        family = MODELS[fit.of]
        key = f"{_split_of(task)} {family.reads} {fit.aligned}"
        if key not in self._training_data:
            training_data = training_data_for(task, family, self._plain(task))
            self._training_data[key] = (
                self._with_pairs(task, training_data, key) if fit.aligned else training_data
            )
        return self._training_data[key]

    def vectors(self, task: Task, fit: Fit) -> np.ndarray:
        """A vector per item, for an aligned fit whose training_data was read, float32, [V, D]."""
        return self._vectors[f"{_split_of(task)} {MODELS[fit.of].reads} {fit.aligned}"]

    def held_out(self, task: Task) -> tuple[HeldOut, Inputs, np.ndarray]:
        """What is asked, from which tables, and which items nobody may be answered."""
        key = _split_of(task)
        if key not in self._held_out:
            inputs: Inputs = {}
            histories, split = read_histories(task, inputs), self._plain(task).split
            held_out = read_held_out(task, histories, split, inputs)
            self._held_out[key] = held_out, inputs, unlisted_before(task, split)
        return self._held_out[key]

    def _plain(self, task: Task) -> TrainingData:
        key = _split_of(task)
        if key not in self._training_data:
            self._training_data[key] = day_training_data(task)
        return self._training_data[key]

    def _with_pairs(self, task: Task, training_data: TrainingData, key: str) -> TrainingData:
        paired = with_pairs(task, training_data)
        inputs = dict(paired.inputs)
        vectors = read_item_vectors(task, inputs)
        self._vectors[key] = item_matrix(vectors, paired.vocabulary.num_items)
        return replace(paired, inputs=inputs)


def _split_of(task: Task) -> str:
    return task.config.evaluation.model_dump_json()
