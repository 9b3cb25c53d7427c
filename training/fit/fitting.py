"""What a fit is given and what it gives back; shared by families that loop and those that count."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.evaluation.metrics import ValidationMetric

PROGRESS = {"is_progress": True}
"""`extra=PROGRESS` marks a line of the log that another one soon makes old."""
STEPS = 100
"""Of an epoch, at least, where nobody says how large they are."""
FEWEST, MOST = 512, 8192
"""Positions of such a step and process."""
_HOW_IT_RUNS = ("checkpoint_every_steps", "compile_backbone")


@dataclass(frozen=True)
class LoopSettings:
    """How weights are fitted; the fields mean what they mean in `training.config.Training`."""

    seed: int = 0
    max_epochs: int = 30
    patience_epochs: int = 3
    tokens_per_batch: int | None = None
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    weight_decay: float = 0.01
    gradient_clip_factor: float = 5.0
    weight_average_decay: float = 0.995
    max_history: int = 50
    window_overlap: int = 10
    validation_metric: ValidationMetric = "ndcg@10"
    max_validation_targets: int = 5000
    checkpoint_every_steps: int = 200
    compile_backbone: bool = False

    def positions_per_step(self, positions: int, world_size: int) -> int:
        """Padded input positions of a step, of all processes together.

        Small logs learn little from few large steps: of MovieLens-100K's 98,000 events 8,192 a step
        are 14 steps an epoch.

        Args:
            positions: of an epoch, without padding.
            world_size: processes that share a step.
        Example:
            >>> [LoopSettings().positions_per_step(n, 1) for n in (9_000, 98_114, 5_000_000)]
            [512, 981, 8192]
            >>> LoopSettings().positions_per_step(98_114, 2)
            1024
        """
        per_process = self.tokens_per_batch
        if per_process is None:
            per_process = min(max(positions // (STEPS * world_size), FEWEST), MOST)
        return per_process * world_size

    def determining(self) -> dict[str, Any]:
        """The fields that the weights depend on: all but how often is saved and how fast it is."""
        return {name: value for name, value in asdict(self).items() if name not in _HOW_IT_RUNS}


class Observer:
    """Is told what happens; logging to MLflow or to a terminal without the loop knowing it."""

    def on_start(self, family: str, max_epochs: int, curves: Sequence[Mapping[str, float]]) -> None:
        """Called once, before the first step; `curves` are of the epochs that a resumed fit has."""

    def on_step(self, epoch: int, step: int, num_steps: int, loss: float) -> None:
        """Called when a step's loss is known, in nats per target; epoch from 0, step from 1."""

    def on_epoch(self, epoch: Mapping[str, float]) -> None:
        """Called after each epoch with its point of each curve; `epoch` counts from 1."""


@dataclass(frozen=True)
class Fitting:
    """Everything about one fit that is neither data nor the model's shape.

    Attributes:
        settings: of the loop.
        exclude_seen: whether the validation metric filters seen items, as the evaluation does.
        positive_strength: feedback is positive from this strength on.
        device: `cpu` or `cuda`.
        checkpoints: folder for the checkpoint; None keeps none.
        resume: go on from a checkpoint of the same fit that lies in `checkpoints`.
        observers: told about steps and epochs, by the first process only.
        first_weights: safetensors of a model of the same shape, whose parameters the fit begins
            with; None: it begins with the model's own.
    """

    settings: LoopSettings = LoopSettings()
    exclude_seen: bool = True
    positive_strength: int = 2
    device: str = "cpu"
    checkpoints: Path | None = None
    resume: bool = True
    observers: tuple[Observer, ...] = ()
    first_weights: Path | None = None


@dataclass(frozen=True)
class FitReport:
    """What a fit did.

    Attributes:
        epochs: one mapping per epoch with the curves (loss, validation, tokens_per_second,
            padding_share, clipped_share, seconds); empty for families that are not trained by
            epochs.
        facts: everything else worth keeping (parameters, best_epoch, stopped_because, alarms, …).
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
