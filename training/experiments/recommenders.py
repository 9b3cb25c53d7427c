"""Cells of recommenders: fitted as the daily chain fits them, asked by the daily boards."""

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.evaluation.boards import BOARDS, boards_of
from training.evaluation.boards.interface import HeldOut, Terms
from training.evaluation.boards.interface import Measured as Answered
from training.evaluation.metrics import FEEDBACK, metric_of, parse
from training.evaluation.ranking import Predictions
from training.evaluation.record import ALL
from training.evaluation.record import VERSION as RECORD_VERSION
from training.experiments import strata
from training.experiments.cell_tables import CellTables
from training.experiments.cells import (
    Measured,
    Validated,
    fit_facts,
    machine,
    made,
    read_json,
    read_measured,
    read_strata,
    write_json,
)
from training.experiments.cells import write_measured as keep_measured
from training.experiments.request import Request
from training.experiments.table import Fit
from training.models import MODELS, weights
from training.models.blend import FAMILY
from training.models.weights import tensors_path
from training.programs.day_inputs import Inputs
from training.programs.errors import ProgramError
from training.programs.fit_digest import OF_VALIDATION, config_document, fit_digest
from training.programs.fit_observers import LineObserver
from training.programs.fits import (
    align_model,
    alignment_training,
    blend_models,
    blend_training,
    fit_family,
)
from training.registry.bundle import digest_of
from training.registry.model_predictor import ModelPredictor
from training.settings.alignment import AlignmentConfig

LOG = logging.getLogger(__name__)
VERSION = 2
"""Of how a cell is fitted and asked; cells of another version are made anew."""
_NOT_ASKED = {"bootstrap_samples", "seed"}
"""Fields of `evaluation` that no answer depends on."""


class Recommenders:
    """The ground of a table of recommenders."""

    def __init__(self, request: Request) -> None:
        self._tables, self._metrics = CellTables(request), request.table.metrics
        wanted = {
            FEEDBACK if name in strata.METRICS else metric_of(name).board
            for name in request.table.metrics
        }
        self._boards = tuple(name for name in BOARDS if name in wanted)

    @property
    def inputs(self) -> dict[str, str]:
        """Content of every table that was read, by name."""
        return self._tables.inputs

    def seeds_of(self, fit: Fit, seeds: Sequence[int]) -> Sequence[int]:
        """The first for families that count and draw nothing: it says it all."""
        draws = any(MODELS[one.of].by_epochs for one in fit.parts or (fit,))
        return seeds if draws else seeds[:1]

    def validation_metric(self, fit: Fit) -> str:
        """The first metric of the table that the fit's models can be asked for."""
        config = self._tables.request.config_of(fit, seed=0)
        answers = MODELS[fit.of].answers_with(config.models.settings.get(fit.of, {}))
        named = (name for name in self._metrics if name not in strata.METRICS)
        return next(name for name in named if metric_of(name).board in answers)

    def validate(self, fit: Fit, seed: int, metric: str) -> Validated:
        """What a cell is worth on validation targets; no test target is read."""
        return cell_of(self._tables, fit, seed).validated(metric)

    def measure(self, fit: Fit, seed: int) -> Measured:
        """What a cell is worth; it is fitted and asked where that is not kept."""
        cell = cell_of(self._tables, fit, seed)
        folder = cell.kept()
        document = read_json(folder / "fit.json")
        samples, facts, model = {}, fit_facts(document), None
        for board in self._boards:
            answers = folder / f"{board}-{cell.asked_digest(board)[:12]}"
            if not answers.is_dir():
                model = model or cell.model()
                if BOARDS[board].question not in model.answers:
                    continue
                cell.ask(board, model, answers)
            samples[board], numbers = read_measured(answers)
            by_history = read_strata(answers)
            if by_history is not None:
                samples[f"{board} by history"] = by_history
            facts |= {f"{board}.{name}": value for name, value in numbers.items()}
        return Measured(samples, facts, document["machine"])


def cell_of(tables: CellTables, fit: Fit, seed: int) -> "RecommenderCell":
    """The cell of a fit under a seed, whether it is there or not."""
    return BlendCell(tables, fit, seed) if fit.parts else RecommenderCell(tables, fit, seed)


class RecommenderCell:
    """One fit under one seed.

    Attributes:
        task: the cell's preset on the tables.
        family: what is fitted.
        data: what it is fitted on.
        training: the loop's settings.
        digest: of everything that determines the weights.
        folder: of the cell, whether it is there or not.
    """

    def __init__(self, tables: CellTables, fit: Fit, seed: int) -> None:
        config = tables.request.config_of(fit, seed)
        self._tables, self._fit = tables, fit
        self.task, self.family = tables.request.task(config), MODELS[fit.of]
        self._shape = self.family.configure(config.models.settings.get(fit.of, {}))
        self._how = AlignmentConfig(**config.alignment.settings)
        training = config.training_for(fit.of)
        self.training = alignment_training(self.task, training) if fit.aligned else training
        self.data = tables.training_data(self.task, fit)
        self._before = RecommenderCell(tables, fit.after, seed) if fit.after else None
        self.digest = self._digest()
        self._cells = tables.request.cells
        self.folder = self._cells / f"{fit.of}-{seed}-{self.digest[:12]}"

    def kept(self) -> Path:
        """The folder of the cell, which is made where it is not there."""
        return made(self.folder, self._make)

    def model(self) -> Any:
        """The fitted model; it is made where it is not there.

        Raises:
            ProgramError: what is kept of it can't be read.
        """
        folder = self.kept() / "model"
        try:
            return weights.load(folder, self.family, self.task.device)
        except weights.WeightsError as error:
            raise ProgramError(
                f"{error}. It is a kept cell: remove {folder.parent}, and run the command again"
            ) from error

    def _digest(self) -> str:
        document = config_document(self.task, self.family, self._shape, self.training)
        if self._fit.aligned:
            document["alignment"] = asdict(self._how)
        before = self._before.digest if self._before else None
        # A GPU fits in bfloat16: another cell, or rows of a table would not be fitted alike.
        device = self.task.device
        cells = VERSION if device == "cpu" else f"{VERSION} on {device}"
        return fit_digest(document, self.data, warm_start=before, cells=cells)

    def _make(self, folder: Path) -> None:
        first = self._before.kept() / "model" if self._before else None
        LOG.info("%s: fitting", self.folder.name)
        checkpoints = self._cells / "checkpoints" / self.folder.name
        observers = (LineObserver(),)
        if self._fit.aligned:
            assert self._before is not None
            model, document = align_model(
                self.task,
                self._before.model(),
                self._how,
                self.data,
                self.training,
                vectors_VD=self._tables.vectors(self.task, self._fit),
                checkpoints=checkpoints,
                observers=observers,
            )
        else:
            model, document = fit_family(
                self.task,
                self.family,
                self._shape,
                self.data,
                self.training,
                checkpoints=checkpoints,
                observers=observers,
                first_weights=first and tensors_path(first, self.family.name),
            )
        weights.save(model, folder / "model")
        write_json(folder / "fit.json", {**document, "machine": machine(self.task.device)})
        shutil.rmtree(checkpoints, ignore_errors=True)

    def asked_digest(self, board: str) -> str:
        """What names a board's answers: what was asked, on which terms."""
        _, inputs, unlisted = self._tables.held_out(self.task)
        return self._digest_of_questions(inputs, unlisted, board=board)

    def _digest_of_questions(self, inputs: Inputs, unlisted: np.ndarray, **of_what: str) -> str:
        return digest_of(
            {
                **of_what,
                "evaluation": self.task.config.evaluation.model_dump(exclude=_NOT_ASKED),
                "inputs": {table: read["content_hash"] for table, read in inputs.items()},
                "unlisted": unlisted.tolist(),
                "versions": [VERSION, RECORD_VERSION],
            }
        )

    def validated(self, metric: str) -> Validated:
        """What the fit is worth on validation targets; it is made and asked where that isn't kept.

        Raises:
            ProgramError: there is no such target.
            TrainingDiverged: a loss of the fit is not finite.
        """
        folder, asked = self.kept(), parse(metric)
        held_out, inputs, unlisted = self._tables.validation(self.task)
        digest = self._digest_of_questions(inputs, unlisted, validation=metric)
        cutoffs = (asked.cutoff or max(self.task.config.evaluation.cutoffs),)
        terms = replace(self._terms(), cutoffs=cutoffs, slate_cutoffs=cutoffs)

        def make(partial: Path) -> None:
            number, measured = self._asked(
                asked.metric.board, held_out, terms, unlisted, self.model()
            )
            facts = {"targets": float(number), "seconds": measured.seconds}
            keep_measured(partial, measured.samples[ALL], facts)

        sample, facts = read_measured(made(folder / f"validation-{digest[:12]}", make))
        fitted = read_json(folder / "fit.json")["seconds"]
        return Validated(
            value=sample.points()[metric],
            num_targets=int(facts["targets"]),
            seconds=fitted + facts["seconds"],
        )

    def ask(self, board: str, model: Any, kept: Path) -> None:
        """Ask a board's questions, and keep the answers' worth."""
        held_out, _, unlisted = self._tables.held_out(self.task)
        terms = self._terms()
        _, measured = self._asked(board, held_out, terms, unlisted, model)
        LOG.info("%s: %s asked in %.0f s", self.folder.name, board, measured.seconds)
        every, by_history = measured.samples[ALL], None
        if isinstance(every, Predictions):
            by_history = strata.gauc_by_history(every, held_out.train, terms.light_user_events)
        made(
            kept,
            lambda folder: keep_measured(folder, every, dict(measured.facts), by_history),
        )

    def _asked(
        self, board: str, held_out: HeldOut, terms: Terms, unlisted: np.ndarray, model: Any
    ) -> tuple[int, Answered]:
        """How many questions a board has, and what it found."""
        num_items = self.data.vocabulary.num_items
        predictor = ModelPredictor(
            model=model,
            num_items=num_items,
            codes_VQ=self.data.vocabulary.codes_VQ,
            max_history=self.training.max_history,
            minimum_strength=self.training.minimum_strength,
            device=self.task.device,
            unlisted=unlisted[unlisted < num_items],
        )
        boards = [one for one in boards_of(held_out, terms) if one.name == board]
        if not boards:
            raise ProgramError(f"the data has no {BOARDS[board].asks_for} to ask for")
        started = time.perf_counter()
        measured = boards[0].measure(predictor, lambda _: None)
        seconds = round(time.perf_counter() - started, 3)
        return len(boards[0]), replace(measured, seconds=seconds)

    def _terms(self) -> Terms:
        evaluation = self.task.config.evaluation
        return Terms(
            cutoffs=evaluation.cutoffs,
            slate_cutoffs=evaluation.slate_cutoffs,
            exclude_seen=evaluation.exclude_seen,
            positive_strength=evaluation.positive_strength,
            light_user_events=evaluation.light_user_events,
            num_items=self.data.vocabulary.num_items,
        )


class BlendCell(RecommenderCell):
    """Two fits of one seed that answer together."""

    def __init__(self, tables: CellTables, fit: Fit, seed: int) -> None:
        self._tables, self._parts = tables, [cell_of(tables, part, seed) for part in fit.parts]
        self.task, self.family = tables.request.task(tables.request.config_of(fit, seed)), FAMILY
        with_codes = [part for part in self._parts if part.data.generation]
        self.data = (with_codes or self._parts)[0].data
        self._trainings = [part.training for part in self._parts]
        self.training = blend_training(self._trainings)
        self.digest = self._digest()
        self._cells = tables.request.cells
        self.folder = self._cells / f"{fit.of}-{seed}-{self.digest[:12]}"

    def _digest(self) -> str:
        evaluation = self.task.config.evaluation
        return digest_of(
            {
                "parts": [part.digest for part in self._parts],
                "evaluation": {name: getattr(evaluation, name) for name in OF_VALIDATION},
                "cells": VERSION,
            }
        )

    def _make(self, folder: Path) -> None:
        models = [part.model() for part in self._parts]
        LOG.info("%s: choosing the weight", self.folder.name)
        model, document = blend_models(self.task, models, self.data, self._trainings)
        weights.save(model, folder / "model")
        write_json(folder / "fit.json", {**document, "machine": machine(self.task.device)})
