"""What an experiment is asked with: data, settings, and the preset of each of its cells."""

import json
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

from feature_store.preset import load
from feature_store.settings import Settings
from training.config import PART, TrainingConfig
from training.experiments.table import Fit, Table
from training.programs.interface import Task
from training.settings import FAMILIES


@dataclass(frozen=True, kw_only=True)
class Request:
    """One run of an experiment.

    Attributes:
        table: the experiment.
        settings: whose home holds the tables.
        preset: a name or a path.
        name: what the preset goes by.
        day: the data's last.
        cells: folder of what is kept.
        overrides: `section.key=value` texts of the caller.
    """

    table: Table
    settings: Settings
    preset: str
    name: str
    day: date
    cells: Path
    overrides: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[str, ...]:
        """The experiment's settings, and the caller's: under them tables are built and read."""
        return (*self.table.settings_for(self.name), *self.overrides)

    def config(self, *changes: str) -> TrainingConfig:
        """The preset under the experiment's budget and settings, the caller's, and then these."""
        overrides = (*self._budgeted(), *self.changes, *changes)
        return load(PART, self.preset, folder=self.settings.presets, overrides=overrides)

    def config_of(self, fit: Fit, seed: int) -> TrainingConfig:
        """The preset of a cell.

        Raises:
            PresetError: a change of the fit is none that the preset can have.
        """
        if fit.parts:
            return self.config(*fit.changes)
        part = "tokenizer" if self.table.subject == "tokenizers" else f"training.overrides.{fit.of}"
        return self.config(*self._likened(fit), *fit.changes, f"{part}.seed={seed}")

    def task(self, config: TrainingConfig) -> Task:
        """The preset on the tables; a step of no list, which may read everything."""
        return Task(self.settings, config, self.day, step="reproduce")

    def below(self, home: Path) -> "Request":
        """The same of tables in another home."""
        return replace(self, settings=self.settings.model_copy(update={"home": home}))

    def with_table(self, table: Table) -> "Request":
        """The same of another experiment."""
        return replace(self, table=table)

    def _budgeted(self) -> tuple[str, ...]:
        """The table's budget, for every neural family that is fitted."""
        budget = self.table.budget_for(self.name)
        if budget is None:
            return ()
        families = dict.fromkeys(fit.of for fit in self.table.fits)
        return tuple(
            f"training.overrides.{family}.{name}={value}"
            for family in families
            if FAMILIES[family].by_epochs
            for name, value in asdict(budget).items()
        )

    def _likened(self, fit: Fit) -> tuple[str, ...]:
        """The other family's loop, and its settings as far as this one knows them."""
        if not fit.like:
            return ()
        config = self.config()
        shared = {each.name for each in fields(FAMILIES[fit.of].config_class)}
        settings = config.models.settings.get(fit.like, {})
        chosen = {name: value for name, value in dict(settings).items() if name in shared}
        loop = config.training_for(fit.like).model_dump(mode="json", exclude={"overrides"})
        return (
            f"models.settings.{fit.of}={_text(chosen)}",
            f"training.overrides.{fit.of}={_text(loop)}",
        )


def _text(value: Any) -> str:
    return json.dumps(value)
