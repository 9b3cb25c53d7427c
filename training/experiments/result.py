"""A result as it is kept in `results/`: every number of a table, and where they are from.

Loads neither torch nor numpy: pages are made of results without fitting anything.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from training.evaluation.record import Interval
from training.experiments.table import Budget

VERSION = 1
"""Of the JSON."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over seeds.

    Attributes:
        mean: over units and seeds.
        seed_deviation: of the seeds' means; None of one seed.
        interval: over units and seeds; None for a number that is not of units.
    """

    mean: float
    seed_deviation: float | None = None
    interval: Interval | None = None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What `Result.to_json` holds of it."""
        bounds = content["interval"]
        return cls(content["mean"], content["seed_deviation"], bounds and Interval(**bounds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """How the settings of a fit were chosen, on validation targets alone.

    Attributes:
        family: that was fitted.
        metric: that decided.
        num_targets: on how many targets.
        value: of the settings that were chosen.
        value_before: of the preset's own.
        settings: that were chosen, by their path in a preset; empty: the preset's own are best.
        trials: fits beside that of the preset's own settings.
        failed: those of them whose loss was not finite.
        seconds: of all fits and their validation.
        most_trials: that were allowed.
        most_seconds: after which no further fit was begun; None: no end.
    """

    family: str
    metric: str
    num_targets: int
    value: float
    value_before: float
    settings: Mapping[str, Any]
    trials: int
    failed: int
    seconds: float
    most_trials: int
    most_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResult:
    """One row of the table.

    Attributes:
        name: of the row.
        seeds: that it was fitted under; one where the fit draws nothing.
        metrics: by name; those that its models answer.
        facts: further numbers, by name.
        searched: how the settings of its fits were chosen; empty: they are the preset's own.
    """

    name: str
    seeds: tuple[int, ...]
    metrics: Mapping[str, Figure]
    facts: Mapping[str, Figure] = field(default_factory=dict)
    searched: tuple[Searched, ...] = ()

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What `Result.to_json` holds of it."""
        return cls(
            name=content["name"],
            seeds=tuple(content["seeds"]),
            metrics={name: Figure.from_json(one) for name, one in content["metrics"].items()},
            facts={name: Figure.from_json(one) for name, one in content["facts"].items()},
            searched=tuple(Searched(**one) for one in content.get("searched", ())),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One row less another in one metric, paired by unit, over units and seeds.

    Attributes:
        ours: name of the row.
        theirs: name of the other.
        metric: what is compared.
        difference: ours - theirs.
        relative: (ours - theirs) / theirs; None where theirs is 0 in a replicate.
    """

    ours: str
    theirs: str
    metric: str
    difference: Interval
    relative: Interval | None = None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What `Result.to_json` holds of it."""
        relative = content["relative"]
        bounds = {
            "difference": Interval(**content["difference"]),
            "relative": relative and Interval(**relative),
        }
        return cls(**{**content, **bounds})


@dataclass(frozen=True, kw_only=True)
class Result:
    """A table that was measured.

    Attributes:
        experiment: its name.
        preset: whose data.
        says: a line about it.
        command: that makes it.
        day: the data's last.
        unit: what intervals are drawn over, beside seeds.
        num_units: how many there are.
        confidence: of the intervals.
        samples: replicates behind them.
        machines: on which seconds were taken.
        inputs: content of the tables that were read, by name.
        rows: in the order shown.
        comparisons: in the order shown.
        titles: of facts, by name; empty where the page does not show them.
        published: figures of others, by source, row and metric.
        budget: of each neural fit; None where there is none, or not the same of all.
    """

    experiment: str
    preset: str
    says: str
    command: str
    day: str
    unit: str
    num_units: int
    confidence: float
    samples: int
    machines: tuple[str, ...]
    inputs: Mapping[str, str]
    rows: tuple[RowResult, ...]
    comparisons: tuple[Compared, ...]
    titles: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    budget: Budget | None = None
    version: int = VERSION

    @property
    def changes(self) -> tuple[str, ...]:
        """What the command changes of the preset, as `--set` takes it."""
        words = shlex.split(self.command)
        return tuple(value for word, value in pairwise(words) if word == "--set")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those that any row has, in the order of the rows."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.metrics))

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` reads it back."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The result that was kept."""
        budget = content.get("budget")
        return cls(
            **{
                **content,
                "budget": budget and Budget(**budget),
                "machines": tuple(content["machines"]),
                "rows": tuple(RowResult.from_json(row) for row in content["rows"]),
                "comparisons": tuple(Compared.from_json(row) for row in content["comparisons"]),
            }
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """A kept result.

        Raises:
            ValueError: it is of another version.
        """
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("version") != VERSION:
            raise ValueError(
                f"{path} is of version {content.get('version')}, this code reads {VERSION}:"
                f" make it again: {content.get('command')}"
            )
        return cls.from_json(content)
