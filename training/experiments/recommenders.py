"""Cells of recommenders: fitted as the daily chain fits them, asked by the daily boards."""

import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from training.answering import Reader
from training.bundle import digest_of
from training.config import TrainingConfig
from training.evaluation.boards import BOARDS, boards_of
from training.evaluation.boards.interface import HeldOut, Terms
from training.evaluation.metrics import metric_of
from training.evaluation.record import ALL
from training.evaluation.record import VERSION as RECORD_VERSION
from training.experiments.cells import Measured, made, read_json, read_measured, write_json
from training.experiments.cells import write_measured as keep_measured
from training.experiments.request import Request
from training.experiments.table import Fit
from training.models import MODELS, weights
from training.models.weights import tensors_path
from training.programs.day_inputs import Inputs, read_histories
from training.programs.fit_digest import config_document, fit_digest
from training.programs.fit_observers import LineObserver
from training.programs.fits import align_model, alignment_training, fit_family
from training.programs.held_out import read_held_out, unlisted_before
from training.programs.interface import Task
from training.programs.item_vectors import item_matrix, read_item_vectors
from training.programs.material import Material, day_material, material_for, with_pairs
from training.settings.alignment import AlignmentConfig

LOG = logging.getLogger(__name__)
VERSION = 1
"""Of how a cell is fitted and asked; cells of another version are made anew."""
_NOT_ASKED = {"bootstrap_samples", "seed"}
"""Fields of `evaluation` that no answer depends on."""


class Recommenders:
    """The ground of a table of recommenders."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._materials: dict[str, Material] = {}
        self._held_out: dict[str, tuple[HeldOut, Inputs, np.ndarray]] = {}
        wanted = {metric_of(name).board for name in request.table.metrics}
        self._boards = tuple(name for name in BOARDS if name in wanted)

    def seeds_of(self, fit: Fit, seeds: Sequence[int]) -> Sequence[int]:
        """The first for families that count and draw nothing: it says it all."""
        return seeds if MODELS[fit.of].by_epochs else seeds[:1]

    def measure(self, fit: Fit, seed: int) -> Measured:
        """What a cell is worth; it is fitted and asked where that is not kept."""
        cell = _Cell(self, fit, seed)
        folder = made(cell.folder, cell.make)
        document = read_json(folder / "fit.json")
        samples, facts, model = {}, fit_facts(document), None
        for board in self._boards:
            kept = folder / f"{board}-{cell.asked_digest(board)[:12]}"
            if not kept.is_dir():
                model = model or weights.load(folder / "model", cell.family, cell.task.device)
                if board not in model.answers:
                    continue
                cell.ask(board, model, kept)
            sample, said = read_measured(kept)
            samples[board] = sample
            facts |= {f"{board}.{name}": value for name, value in said.items()}
        return Measured(samples, facts, document["machine"])

    @property
    def inputs(self) -> dict[str, str]:
        """Content of every table that was read, by name."""
        read = [material.inputs for material in self._materials.values()]
        read += [inputs for _, inputs, _ in self._held_out.values()]
        return {name: one["content_hash"] for inputs in read for name, one in inputs.items()}

    def material(self, task: Task, fit: Fit) -> Material:
        """What a fit is given."""
        family, evaluation = MODELS[fit.of], task.config.evaluation.model_dump_json()
        if evaluation not in self._materials:
            self._materials[evaluation] = day_material(task)
        key = f"{evaluation} {family.reads} {fit.aligned}"
        if key not in self._materials:
            material = material_for(task, family, self._materials[evaluation])
            self._materials[key] = with_pairs(task, material) if fit.aligned else material
        return self._materials[key]

    def held_out(self, task: Task) -> tuple[HeldOut, Inputs, np.ndarray]:
        """What is asked, from which tables, and which items nobody may be answered."""
        key = task.config.evaluation.model_dump_json()
        if key not in self._held_out:
            inputs: Inputs = {}
            histories, split = read_histories(task, inputs), self.material(task, _PLAIN).split
            held_out = read_held_out(task, histories, split, inputs)
            self._held_out[key] = held_out, inputs, unlisted_before(task, split)
        return self._held_out[key]

    def cell_folder(self, fit: Fit, seed: int) -> Path:
        """The folder of a cell, which is made where it is not there."""
        cell = _Cell(self, fit, seed)
        return made(cell.folder, cell.make)

    def digest(self, fit: Fit, seed: int) -> str:
        """What names a fit."""
        return _Cell(self, fit, seed).digest

    @property
    def request(self) -> Request:
        """What is asked for."""
        return self._request


_PLAIN = Fit(of="popularity")
"""A fit that reads what all material begins with."""


class _Cell:
    """One fit under one seed."""

    def __init__(self, ground: Recommenders, fit: Fit, seed: int) -> None:
        self._ground, self._fit, self._seed = ground, fit, seed
        self._config: TrainingConfig = ground.request.config_of(fit, seed)
        self.task = ground.request.task(self._config)
        self.family = MODELS[fit.of]
        self._shape = self.family.configure(self._config.models.settings.get(fit.of, {}))
        self._how = AlignmentConfig(**self._config.alignment.settings)
        training = self._config.training_for(fit.of)
        self._training = alignment_training(self.task, training) if fit.aligned else training
        self._material = ground.material(self.task, fit)
        self.digest = self._digest()
        self.folder = ground.request.cells / f"{fit.of}-{seed}-{self.digest[:12]}"

    def _digest(self) -> str:
        document = config_document(self.task, self.family, self._shape, self._training)
        after = self._fit.after
        before = self._ground.digest(after, self._seed) if after else None
        if self._fit.aligned:
            document["alignment"] = asdict(self._how)
        return fit_digest(document, self._material, warm_start=before, cells=VERSION)

    def make(self, folder: Path) -> None:
        """Fit, and keep the weights and the document."""
        LOG.info("%s: fitting", self.folder.name)
        checkpoints = self._ground.request.cells / "checkpoints" / self.folder.name
        observers = (LineObserver(),)
        after = self._fit.after
        first = self._ground.cell_folder(after, self._seed) / "model" if after else None
        if self._fit.aligned:
            assert first is not None
            model, document = align_model(
                self.task,
                weights.load(first, self.family, self.task.device),
                self._how,
                self._material,
                self._training,
                vectors_VD=self._vectors(),
                checkpoints=checkpoints,
                observers=observers,
            )
        else:
            model, document = fit_family(
                self.task,
                self.family,
                self._shape,
                self._material,
                self._training,
                checkpoints=checkpoints,
                observers=observers,
                first_weights=first and tensors_path(first, self.family.name),
            )
        weights.save(model, folder / "model")
        write_json(folder / "fit.json", {**document, "machine": machine(self.task.device)})
        shutil.rmtree(checkpoints, ignore_errors=True)

    def _vectors(self) -> np.ndarray:
        return item_matrix(read_item_vectors(self.task, {}), self._material.vocabulary.num_items)

    def asked_digest(self, board: str) -> str:
        """What names a board's answers: what was asked, on which terms."""
        _, inputs, unlisted = self._ground.held_out(self.task)
        return digest_of(
            {
                "board": board,
                "evaluation": self._config.evaluation.model_dump(exclude=_NOT_ASKED),
                "inputs": {table: read["content_hash"] for table, read in inputs.items()},
                "unlisted": unlisted.tolist(),
                "versions": [VERSION, RECORD_VERSION],
            }
        )

    def ask(self, board: str, model: Any, kept: Path) -> None:
        """Ask a board's questions, and keep the answers' worth."""
        held_out, _, unlisted = self._ground.held_out(self.task)
        num_items = self._material.vocabulary.num_items
        reader = Reader(
            model=model,
            num_items=num_items,
            codes_VQ=self._material.vocabulary.codes_VQ,
            max_history=self._training.max_history,
            minimum_strength=self._training.minimum_strength,
            device=self.task.device,
            unlisted=unlisted[unlisted < num_items],
        )
        asked = [one for one in boards_of(held_out, self._terms()) if one.name == board]
        if not asked:
            raise ValueError(f"the data has no {BOARDS[board].asks_for} to ask for")
        started = time.perf_counter()
        found = asked[0].measure(reader, lambda _: None)
        LOG.info("%s: %s asked in %.0f s", self.folder.name, board, time.perf_counter() - started)
        made(kept, lambda folder: keep_measured(folder, found.samples[ALL], dict(found.facts)))

    def _terms(self) -> Terms:
        evaluation = self._config.evaluation
        return Terms(
            cutoffs=evaluation.cutoffs,
            slate_cutoffs=evaluation.slate_cutoffs,
            exclude_seen=evaluation.exclude_seen,
            positive_strength=evaluation.positive_strength,
            light_user_events=evaluation.light_user_events,
            num_items=self._material.vocabulary.num_items,
        )


def fit_facts(document: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of a fit, and of the epoch whose weights it has, by `fit.<name>`."""
    epochs, best = document["epochs"], document.get("best_epoch") or 0
    curves = epochs[best - 1] if best else document.get("before", {})
    found = {**curves, **document}
    return {f"fit.{k}": float(v) for k, v in found.items() if isinstance(v, int | float)}


def machine(device: str) -> str:
    """Where seconds were taken, in words."""
    return f"{os.cpu_count()} cores, {device}"
