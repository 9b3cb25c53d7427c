"""One training loop for every neural family: a model plugs in with `forward(batch) -> loss`.

Each step is a function of the weights, the data and (seed, epoch, step). So a fit that was killed
goes on from its checkpoint to the same losses, and the same fit gives the same weights, bit for
bit, on the same machine with as many threads.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from itertools import chain
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from training.data.splits import Split
from training.evaluation.metrics import metric_of
from training.fit.average import WeightAverage
from training.fit.checkpoint import (
    Checkpoint,
    checkpoint_of,
    fingerprint,
    optimizer_tensors,
    restore_optimizer,
    weights,
    write_checkpoint,
)
from training.fit.clip import GradientClip
from training.fit.distributed import Processes, processes
from training.fit.first_weights import begin_with, bytes_of
from training.fit.fitting import PROGRESS, FitReport, Fitting
from training.fit.objective import NextItems, Objective, TrainingBatch
from training.fit.optimizer import learning_rate_share, make_optimizer
from training.fit.progress import COUNTED, Progress, told

log = logging.getLogger(__name__)
STEPS_BETWEEN_READINGS = {"cpu": 1, "cuda": 32}
"""Reading a loss makes a GPU wait for its queue; so there it is done for many steps at once."""


class TrainingDiverged(Exception):
    """A loss is not a number any more; the last checkpoint is from before."""


class TrainableModel(Protocol):
    """What the loop asks of an `nn.Module` besides being a `Model`."""

    family: str
    config: Any
    positions_per_event: int
    """Input positions that one event takes: what tokens/s counts."""
    backbone: nn.Module
    """Where most of the time goes: what `compile_backbone` compiles."""

    def __call__(self, batch: Any) -> Tensor:
        """Loss of the batch's targets in nats, summed."""
        ...


@runtime_checkable
class RemembersTraining(Protocol):
    """What the loop asks of a model whose steps depend on more than its weights."""

    def training_state(self) -> dict[str, Tensor]:
        """What later steps depend on beside the weights; kept in checkpoints, not in bundles."""
        ...

    def restore_training(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `training_state` gave."""
        ...

    def end_epoch(self, total: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """Close an epoch of training, before its validation; points of its curves.

        Args:
            total: sums numbers over all processes.
        """
        ...


def fit_model(model: nn.Module, split: Split, fitting: Fitting) -> FitReport:
    """Train a model of the next item: `fit_objective` with every event of the split.

    Args:
        model: a `TrainableModel` with its first weights.
        split: trains on `train`, stops by `validation`.
        fitting: how.
    """
    objective = NextItems(split, fitting.settings, model.positions_per_event)
    return fit_objective(model, objective, fitting)


def fit_objective(model: nn.Module, objective: Objective, fitting: Fitting) -> FitReport:
    """Train a model in place and leave it with the averaged weights of its best epoch.

    What is validated and kept is the average of the weights over the latest steps.
    An epoch after which the objective has an objection is the last, and never the best; where no
    epoch is, the weights stay those that came in.

    Args:
        model: a `TrainableModel` with its first weights.
        objective: what it goes through.
        fitting: how.
    Raises:
        TrainingDiverged: a loss is not finite; says at which epoch and step, and in which batch.
        ValueError: `fitting.first_weights` are of another shape.
    """
    with processes(fitting.device) as group:
        if fitting.first_weights is not None:
            begin_with(model, fitting.first_weights)
        model.to(group.device)
        fit = _Fit(model, objective, fitting, group)
        fit.resume()
        while not fit.progress.stopped_because:
            fit.run_epoch()
        return fit.finish()


class _Fit:
    """One fit of one model: what its steps, epochs and checkpoints share."""

    def __init__(
        self, model: nn.Module, objective: Objective, fitting: Fitting, group: Processes
    ) -> None:
        self.model, self.objective, self.fitting, self.group = model, objective, fitting, group
        self.settings = fitting.settings
        self.is_compiled = self.settings.compile_backbone and group.compile(model.backbone)
        self.parallel = group.wrap(model)
        self.optimizer = make_optimizer(model, self.settings)
        self.clip = GradientClip(model, self.settings.gradient_clip_factor)
        self.average = WeightAverage(model, self.settings.weight_average_decay)
        self.steps_per_epoch = objective.num_batches(0, world_size=group.world_size)
        self.progress = Progress()
        self.best_weights = weights(model)
        content = chain(objective.content(), bytes_of(fitting.first_weights))
        self.fingerprint = fingerprint(model, content, fitting, group.world_size)
        self.history: dict[str, Any] = {"resumed_from": None}
        self.observers = fitting.observers if group.is_first else ()

    def run_epoch(self) -> None:
        """The rest of the current epoch, its validation, and whether to go on."""
        progress, settings = self.progress, self.settings
        num_steps = self.objective.num_batches(progress.epoch, world_size=self.group.world_size)
        self.model.train()
        for steps in _runs(self._steps(), STEPS_BETWEEN_READINGS[self.group.device.type]):
            self._read_losses(steps, num_steps)
            done_before = progress.step - len(steps)
            if progress.step // settings.checkpoint_every_steps > (
                done_before // settings.checkpoint_every_steps
            ):
                self.save()
        self._end_epoch()
        self.save()

    def _steps(self) -> Iterator[tuple[TrainingBatch, Tensor]]:
        """Do the epoch's steps from where it stands.

        Yields:
            A batch, and beside each other its summed loss, the norm of its gradient, and the one to
            which it was cut.
        """
        progress, settings, group = self.progress, self.settings, self.group
        batches = self.objective.batches(
            progress.epoch,
            first_step=progress.step,
            rank=group.rank,
            world_size=group.world_size,
        )
        started = time.perf_counter()
        for step, batch in enumerate(batches, start=progress.step):
            torch.manual_seed(_step_seed(settings.seed, progress.epoch, step, group.rank))
            self._set_learning_rate(progress.epoch * self.steps_per_epoch + step)
            with group.mixed_precision():
                loss = self.parallel(batch.to(group.device))
            # DDP averages over processes: times world_size makes that the sum.
            (loss * (group.world_size / max(1, batch.num_targets))).backward()
            norm, most = self.clip.cut()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.average.update()
            now = time.perf_counter()
            progress.count(seconds=now - started)
            yield batch, torch.stack([loss.detach().float(), norm.float(), most.float()])
            started = time.perf_counter()

    def _read_losses(self, steps: list[tuple[TrainingBatch, Tensor]], num_steps: int) -> None:
        """Count what steps did; refuse a loss that is not finite before anything is saved."""
        read = torch.stack([numbers for _, numbers in steps]).tolist()
        own = [
            [loss, batch.num_own_targets, batch.num_positions, batch.num_cells]
            for (batch, _), (loss, _, _) in zip(steps, read, strict=True)
        ]
        summed = self.group.sum(np.array(own))
        # Gradients are averaged over processes before they are cut: one norm for all.
        for (batch, _), (_, norm, most), amounts in zip(steps, read, summed, strict=True):
            if not np.isfinite(amounts[0]):
                raise TrainingDiverged(self._diverged(batch, float(amounts[0])))
            self.progress.count(**dict(zip(COUNTED, amounts.tolist(), strict=True)))
            is_settled = self._step_of_fit() >= self.settings.warmup_steps
            self.progress.count_gradient(norm, most, is_settled=is_settled)
            self.progress.step += 1
            for observer in self.observers:
                nats = float(amounts[0]) / max(1, batch.num_targets)
                observer.on_step(self.progress.epoch, self.progress.step, num_steps, nats)

    def _step_of_fit(self) -> int:
        return self.progress.epoch * self.steps_per_epoch + self.progress.step

    def _diverged(self, batch: TrainingBatch, loss: float) -> str:
        progress = self.progress
        kept = (
            f"the checkpoint in {self.fitting.checkpoints} is from before"
            if (self.fitting.checkpoints)
            else "no checkpoint was asked for"
        )
        items = batch.items_BL[batch.items_BL >= 0].unique()
        return (
            f"loss is {loss} at epoch {progress.epoch + 1}, step {progress.step + 1}: a batch of"
            f" {list(batch.items_BL.shape)} (rows, positions) with items {items[:5].tolist()}…;"
            f" {kept}. Lower training.learning_rate (now {self.settings.learning_rate}) or"
            f" training.gradient_clip_factor (now {self.settings.gradient_clip_factor})"
        )

    def _set_learning_rate(self, step: int) -> None:
        settings = self.settings
        share = learning_rate_share(
            step,
            warmup_steps=settings.warmup_steps,
            num_steps=settings.max_epochs * self.steps_per_epoch,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * share

    def _end_epoch(self) -> None:
        progress, settings = self.progress, self.settings
        curve = progress.curve(self.model.positions_per_event)
        if isinstance(self.model, RemembersTraining):
            curve |= self.model.end_epoch(self.group.sum)
        started = time.perf_counter()
        if self.group.is_first:
            of_what = (self.model.family, progress.epoch + 1, settings.max_epochs)
            log.info("%s: epoch %d of %d, validating", *of_what, extra=PROGRESS)
        with self.average.in_place():
            found = self.objective.validate(self.model, self.fitting, self.group)
            average = weights(self.model)
        curve |= found | {
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "validation_seconds": time.perf_counter() - started,
        }
        # Without validation targets there is nothing to stop by: the last epoch is the best.
        score, sign = math.inf, metric_of(settings.validation_metric).sign
        if "validation" in found:
            score = sign * found["validation"]
        objection = self.objective.objection([*progress.curves, curve])
        if not objection and (score > progress.best_value or "validation" not in found):
            progress.best_epoch, progress.best_value = progress.epoch, score
            self.best_weights = average
        is_warming_up = (progress.epoch + 1) * self.steps_per_epoch < settings.warmup_steps
        progress.note_learning(found, sign, is_warming_up=is_warming_up)
        progress.end_epoch(curve, settings)
        progress.stopped_because = objection or progress.stopped_because
        for observer in self.observers:
            observer.on_epoch(curve)
        if self.group.is_first:
            log.info("%s: %s", self.model.family, told(curve, settings.max_epochs))

    def save(self) -> None:
        """Write the checkpoint, if one is asked for."""
        if self.fitting.checkpoints is None or not self.group.is_first:
            return
        parts = {
            "model": self.model.state_dict(),
            "average": self.average.state(),
            "clip": self.clip.state(),
            "best": self.best_weights,
            "optimizer": optimizer_tensors(self.optimizer),
        }
        if isinstance(self.model, RemembersTraining):
            parts["training"] = self.model.training_state()
        tensors = {
            f"{part}.{name}": value
            for part, named in parts.items()
            for name, value in named.items()
        }
        self.progress.num_averaged = self.average.num_steps
        state = {"fingerprint": self.fingerprint, "progress": asdict(self.progress)}
        write_checkpoint(self.fitting.checkpoints, Checkpoint(tensors, state))

    def resume(self) -> None:
        """Go on from a checkpoint of this same fit, if there is one."""
        directory = self.fitting.checkpoints
        if directory is None or not self.fitting.resume:
            checkpoint, refused = None, ""
        else:
            checkpoint, refused = checkpoint_of(directory, self.fingerprint)
        if refused:
            log.warning("%s; training starts anew", refused)
            self.history["checkpoint_refused"] = refused
        if checkpoint is not None:
            self.progress = Progress(**checkpoint.state["progress"])
            self.history["resumed_from"] = {
                "epoch": self.progress.epoch,
                "step": self.progress.step,
            }
            self.model.load_state_dict(checkpoint.part("model"))
            if isinstance(self.model, RemembersTraining):
                self.model.restore_training(checkpoint.part("training"))
            self.clip.restore(checkpoint.part("clip"))
            self.average.restore(checkpoint.part("average"), self.progress.num_averaged)
            self.best_weights = checkpoint.part("best")
            restore_optimizer(self.optimizer, checkpoint.part("optimizer"))
        for observer in self.observers:
            observer.on_start(self.model.family, self.settings.max_epochs, self.progress.curves)

    def finish(self) -> FitReport:
        """Put the best weights in place; what happened."""
        self.model.load_state_dict(self.best_weights)
        self.model.eval()
        self.group.wait()
        facts = {
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            **self.progress.facts(self.settings),
            "device": str(self.group.device),
            "precision": "bfloat16" if self.group.has_bfloat16 else "float32",
            "compiled": self.is_compiled,
            "processes": self.group.world_size,
            "settings": asdict(self.settings),
            "config": asdict(self.model.config),
            **self.history,
        }
        return FitReport(self.progress.curves, facts)


def _runs(steps: Iterator[Any], length: int) -> Iterator[list[Any]]:
    run: list[Any] = []
    for step in steps:
        run.append(step)
        if len(run) == length:
            yield run
            run = []
    if run:
        yield run


def _step_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    """Seed of all randomness of one step on one process; differs for any two steps."""
    return int(np.random.SeedSequence((seed, epoch, step, rank)).generate_state(1, np.uint64)[0])
