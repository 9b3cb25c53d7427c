"""A day's tables as the cells of recommenders read them, each read once."""

from dataclasses import replace

import numpy as np

from training.data.vocabulary import Vocabulary
from training.evaluation.boards.interface import HeldOut
from training.experiments.cell_tokenizers import generation_of
from training.experiments.request import Request
from training.experiments.table import Fit
from training.experiments.validation_targets import validation_questions
from training.models import MODELS
from training.models.interface import Family
from training.programs.day_inputs import Inputs
from training.programs.held_out import read_held_out, unlisted_before
from training.programs.interface import Task
from training.programs.item_vectors import item_matrix
from training.programs.training_data import (
    TrainingData,
    day_training_data,
    training_data_for,
    with_pairs,
)


class CellTables:
    """What fits are given and what is asked, by the settings that they depend on."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._tokenizer = request.config().tokenizer
        self._readers: dict[str, Task] = {}
        self._training_data: dict[str, TrainingData] = {}
        self._vectors: dict[str, np.ndarray] = {}
        self._held_out: dict[str, tuple[HeldOut, Inputs, np.ndarray]] = {}
        self._validation: dict[str, tuple[HeldOut, Inputs, np.ndarray]] = {}

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
        key = self._key(task, fit)
        if key not in self._training_data:
            reader = self._reader_of(task)
            if self._tokenizes(task, family):
                training_data = self._with_own_ids(task, reader, family)
            else:
                training_data = training_data_for(reader, family, self._plain(reader))
            self._training_data[key] = (
                self._with_pairs(reader, training_data, key) if fit.aligned else training_data
            )
        return self._training_data[key]

    def vectors(self, task: Task, fit: Fit) -> np.ndarray:
        """A vector per item, for an aligned fit whose training_data was read, float32, [V, D]."""
        return self._vectors[self._key(task, fit)]

    def held_out(self, task: Task) -> tuple[HeldOut, Inputs, np.ndarray]:
        """What is asked, from which tables, and which items nobody may be answered."""
        key = _split_of(task)
        if key not in self._held_out:
            split = self._plain(self._reader_of(task)).split
            # Questions hang on what they were read from alone, and not on what fits read, too.
            asking = replace(task)
            held_out = read_held_out(asking, asking.tables.histories(), split)
            inputs = asking.tables.inputs
            self._held_out[key] = held_out, inputs, unlisted_before(task, split)
        return self._held_out[key]

    def validation(self, task: Task) -> tuple[HeldOut, Inputs, np.ndarray]:
        """The same as `held_out`, of validation targets alone."""
        key = _split_of(task)
        if key not in self._validation:
            split = self._plain(self._reader_of(task)).split
            asking = replace(task)
            questions = validation_questions(asking, asking.tables.histories(), split)
            unlisted = unlisted_before(task, replace(split, test=split.validation))
            self._validation[key] = questions, asking.tables.inputs, unlisted
        return self._validation[key]

    def _key(self, task: Task, fit: Fit) -> str:
        family = MODELS[fit.of]
        key = f"{_split_of(task)} {family.reads} {fit.aligned}"
        return f"{key} {task.config.tokenizer}" if self._tokenizes(task, family) else key

    def _tokenizes(self, task: Task, family: Family) -> bool:
        """Whether a fit reads semantic IDs of another tokenizer than the day's."""
        return "semantic_ids" in family.reads and task.config.tokenizer != self._tokenizer

    def _with_own_ids(self, task: Task, reader: Task, family: Family) -> TrainingData:
        """What a family is given, with semantic IDs of a tokenizer that the row's settings make."""
        others = tuple(name for name in family.reads if name != "semantic_ids")
        plain = training_data_for(reader, replace(family, reads=others), self._plain(reader))
        generation = generation_of(task, self.request.cells)
        rows = generation.rows
        return replace(
            plain,
            semantic_ids=rows.drop_columns(["vector"]),
            vocabulary=Vocabulary.with_semantic_ids(plain.items.num_rows, rows),
            inputs={**generation.inputs, **plain.inputs},
        )

    def _reader_of(self, task: Task) -> Task:
        """The first task of a split: what it has read is noted with it."""
        return self._readers.setdefault(_split_of(task), task)

    def _plain(self, task: Task) -> TrainingData:
        key = _split_of(task)
        if key not in self._training_data:
            self._training_data[key] = day_training_data(task)
        return self._training_data[key]

    def _with_pairs(self, task: Task, training_data: TrainingData, key: str) -> TrainingData:
        paired = with_pairs(task, training_data)
        vectors = task.tables.vectors()
        self._vectors[key] = item_matrix(vectors, paired.vocabulary.num_items)
        read = task.tables.inputs_of(*training_data.inputs, "preference_pairs", "item_embeddings")
        return replace(paired, inputs=read)


def _split_of(task: Task) -> str:
    return task.config.evaluation.model_dump_json()
