"""What a program is: a module with `run(task) -> facts`, started by `sidereal step`.

A program reads tables, runs and bundles, writes tables, runs and bundles, and returns facts for the
day's run record. `training.cli` adds step, day, preset and seconds, and turns `ProgramError` and
the errors of the store, the registry and bundles into one line and an exit code.
"""

import os
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_store.settings import Settings
from feature_store.steps import steps
from training.config import TrainingConfig

if TYPE_CHECKING:
    from feature_store.store import FeatureStore
    from training.programs.day_inputs import DayTables
    from training.registry.client import Registry

Facts = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One run of a program.

    Args:
        settings: addresses.
        config: training's part of the preset.
        day: the partition to work on.
        step: the command's name; one module may serve several commands.
        families: what the training commands train; empty for the others.
    """

    settings: Settings
    config: TrainingConfig
    day: date
    step: str
    families: tuple[str, ...] = ()

    @cached_property
    def store(self) -> "FeatureStore":
        """The tables of the preset, of which a step may use those that it declares."""
        from feature_store.store import FeatureStore

        return FeatureStore.open(self.settings, self.config.name, step=steps().get(self.step))

    @cached_property
    def tables(self) -> "DayTables":
        """The day's rows as training reads them, with a note of what was read."""
        from training.programs.day_inputs import DayTables

        return DayTables(self.store, self.day, encoder=self.config.tokenizer.encoder)

    @property
    def runs(self) -> Path:
        """Records and reports of the preset, by day."""
        return self.settings.runs_of(self.config.name)

    @cached_property
    def registry(self) -> "Registry":
        """The runs and versions of the preset."""
        from training.registry.client import Registry

        return Registry.open(self.settings, self.config.name)

    @cached_property
    def device(self) -> str:
        """`cuda` where there is one and the settings don't say otherwise, else `cpu`."""
        return device_of(self.settings)

    @property
    def is_first_process(self) -> bool:
        """Whether this process is the one of a torchrun that writes."""
        return os.environ.get("RANK", "0") == "0"


def device_of(settings: Settings) -> str:
    """Where models are: `cuda` where there is one and the settings don't say otherwise."""
    if settings.device != "auto":
        return settings.device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
