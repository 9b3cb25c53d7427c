"""The training loop of every neural family."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class LoopSettings:
    """How weights are fitted; the fields mean what they mean in `training.config.Training`."""

    seed: int = 0
    max_epochs: int = 30
    patience_epochs: int = 3
    tokens_per_batch: int = 8192
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    weight_decay: float = 0.01
    gradient_clip_norm: float = 1.0
    max_history: int = 50
    checkpoint_every_steps: int = 200


class Observer(Protocol):
    """Is told what happens; how the program logs to MLflow without the loop knowing it."""

    def on_epoch(self, family: str, epoch: Mapping[str, float]) -> None:
        """Called after each epoch with its curves: epoch, loss, validation and seconds."""
        ...


@dataclass(frozen=True)
class Fitting:
    """Everything about one fit that is neither data nor the model's shape.

    Attributes:
        settings: of the loop.
        exclude_seen: whether the validation metric filters seen items, as the evaluation does.
        device: `cpu` or `cuda`.
        checkpoints: folder for checkpoints; None keeps none.
        resume: continue from a checkpoint of the same fit that lies in `checkpoints`.
        observers: told about each epoch.
    """

    settings: LoopSettings = LoopSettings()
    exclude_seen: bool = True
    device: str = "cpu"
    checkpoints: Path | None = None
    resume: bool = True
    observers: tuple[Observer, ...] = ()
