"""What a fit goes through: batches that train, and the number that says when to stop.

The loop knows no task. A objective brings the batches of each epoch, the validation, what must not
become of the model, and all of its data that determines the losses.

B rows, L positions.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from training.data.batches import Batch, BatchPlan
from training.data.splits import Split
from training.fit.distributed import Processes
from training.fit.fitting import Fitting, LoopSettings
from training.fit.validation import validate

Curves = Sequence[Mapping[str, float]]


class TrainingBatch(Protocol):
    """One batch, as far as the loop looks into it; what else is in it is the model's business."""

    @property
    def items_BL(self) -> Tensor:
        """Events that are read, `PAD` beyond a row's end: shown where a loss is not finite."""
        ...

    @property
    def num_targets(self) -> int:
        """Targets over all processes, which a summed loss is divided by."""
        ...

    @property
    def num_own_targets(self) -> int:
        """Targets of this process."""
        ...

    @property
    def num_positions(self) -> int:
        """Positions that hold something."""
        ...

    @property
    def num_cells(self) -> int:
        """Positions, padding included."""
        ...

    def to(self, device: Any) -> "TrainingBatch":
        """The same on another device."""
        ...


class Objective(Protocol):
    """What one fit goes through."""

    def num_batches(self, epoch: int, *, world_size: int) -> int:
        """Steps of an epoch."""
        ...

    def batches(
        self, epoch: int, *, first_step: int, rank: int, world_size: int
    ) -> Iterator[TrainingBatch]:
        """The batches of an epoch from `first_step` on; of each, this process's rows."""
        ...

    def validate(self, model: nn.Module, fitting: Fitting, group: Processes) -> dict[str, float]:
        """Points of the curves after an epoch; the one that decides is `validation`."""
        ...

    def objection(self, curves: Curves) -> str:
        """Why the fit must not go on, after these epochs; empty where it may."""
        ...

    def content(self) -> Iterator[np.ndarray]:
        """All data that determines the losses: a checkpoint of other data is not continued."""
        ...


class NextItems:
    """Every event of the histories is predicted from those before it.

    Args:
        split: trains on `train`, is stopped by `validation`.
        settings: of the loop.
        positions_per_event: input positions that the model needs for an event.
    """

    def __init__(self, split: Split, settings: LoopSettings, positions_per_event: int) -> None:
        self.split, self.settings = split, settings
        self.positions_per_event = positions_per_event
        self.popularity_V = np.bincount(split.train.items)

    def plan(self, world_size: int) -> BatchPlan:
        """How histories become batches of so many processes."""
        width = self.positions_per_event
        positions = self.settings.positions_per_step(
            self.split.train.num_events * width, world_size
        )
        return BatchPlan(
            max_history=self.settings.max_history,
            overlap=min(self.settings.window_overlap, self.settings.max_history),
            positions_per_batch=positions // width,
            seed=self.settings.seed,
        )

    def num_batches(self, epoch: int, *, world_size: int) -> int:
        """Steps of an epoch."""
        return self.plan(world_size).num_batches(self.split.train, epoch)

    def batches(
        self, epoch: int, *, first_step: int, rank: int, world_size: int
    ) -> Iterator[Batch]:
        """Windows of the training histories."""
        return self.plan(world_size).batches(
            self.split.train, epoch, first_step=first_step, rank=rank, world_size=world_size
        )

    def validate(self, model: nn.Module, fitting: Fitting, group: Processes) -> dict[str, float]:
        """What `training.fit.validation` measures."""
        plan, targets = self.plan(group.world_size), self.split.validation
        return validate(model, plan, targets, self.popularity_V, fitting, group)

    def objection(self, curves: Curves) -> str:
        """None: a next-item model can only get worse by validation."""
        return ""

    def content(self) -> Iterator[np.ndarray]:
        """Events and offsets of the training histories, events and targets of the validation."""
        train, validation = self.split.train, self.split.validation
        for histories in (train, validation.histories):
            yield from (histories.items, histories.strengths, histories.times)
        yield from (train.offsets, validation.events)
