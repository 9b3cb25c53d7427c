"""A cell as it is kept: what a fit under one seed was worth, by person, and numbers about it.

    <what>-<seed>-<digest>/
        model/            weights, for rows that begin with them
        fit.json          the document of the training
        <board>-<digest>/
            rows.parquet  a row per person, or per event where a metric is no mean
            strata.parquet  of feedback: a row per person, for GAUC of people by their history
            facts.json    numbers that are not compared

A digest names what determines a folder's content, so that a cell of other data, settings or code is
another folder. What is being made has another name until it is whole: a run that is stopped leaves
nothing that the next one would take for a cell.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.evaluation.ranking import Predictions
from training.evaluation.samples import Sample, UserMetrics
from training.experiments.ratios import Ratios

_PARTIAL = ".partial"
_STRATA = "strata.parquet"


@dataclass(frozen=True)
class Measured:
    """What a cell is worth.

    Attributes:
        samples: by board.
        facts: numbers beside them, by `<board>.<name>`, and `fit.<name>` of the fit.
        machine: that it was fitted on, in words.
    """

    samples: Mapping[str, Sample]
    facts: Mapping[str, float]
    machine: str

    def sample_of(self, metric: str) -> Sample | None:
        """The sample that has a metric; None where no board measured it."""
        return next((one for one in self.samples.values() if metric in one.points()), None)


@dataclass(frozen=True)
class Validated:
    """What a fit is worth on validation targets.

    Attributes:
        value: of the metric.
        num_targets: that it was measured on.
        seconds: of the fit and the measurement.
    """

    value: float
    num_targets: int
    seconds: float


def made(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder, which is made unless it is there: whole or not at all.

    Args:
        folder: of a name that says what is in it.
        make: fills a folder of another name.
    """
    if not folder.is_dir():
        partial = folder.with_name(folder.name + _PARTIAL)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        make(partial)
        partial.replace(folder)
    return folder


def fit_facts(document: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of a fit, and of the epoch whose weights it has, by `fit.<name>`."""
    epochs, best = document["epochs"], document.get("best_epoch") or 0
    curves = epochs[best - 1] if best else document.get("before", {})
    numbers = {**curves, **document}
    if "collapsed" in document:  # a reason, or empty
        numbers["collapsed"] = bool(document["collapsed"])
    return {f"fit.{k}": float(v) for k, v in numbers.items() if isinstance(v, int | float)}


def machine(device: str) -> str:
    """Where seconds were taken, in words."""
    return f"{os.cpu_count()} cores, {device}"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write readable JSON; what JSON has no form for is written as text."""
    path.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read it back."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def write_measured(
    folder: Path, sample: Sample, facts: Mapping[str, float], strata: Ratios | None = None
) -> None:
    """Keep what a board found."""
    if strata is not None:
        pq.write_table(rows_of(strata), folder / _STRATA, compression="zstd")
    pq.write_table(rows_of(sample), folder / "rows.parquet", compression="zstd")
    write_json(folder / "facts.json", facts)


def read_measured(folder: Path) -> tuple[Sample, dict[str, float]]:
    """What a board found."""
    return sample_of(pq.read_table(folder / "rows.parquet")), read_json(folder / "facts.json")


def read_strata(folder: Path) -> Ratios | None:
    """GAUC of people by their history; None where it was not kept."""
    path = folder / _STRATA
    return Ratios.from_arrow(pq.read_table(path)) if path.is_file() else None


def rows_of(sample: Sample) -> pa.Table:
    """A sample as rows; the columns say what kind of sample it is."""
    if isinstance(sample, UserMetrics):
        columns = dict(zip(sample.names, sample.values_UM.T, strict=True))
        return pa.table({"user": sample.users, "num_targets": sample.num_targets, **columns})
    if isinstance(sample, Predictions):
        return pa.table(
            {
                "user": sample.user_T,
                "positive": sample.label_T,
                "probability": sample.probability_T,
            }
        )
    assert isinstance(sample, Ratios)
    return sample.to_arrow()


def sample_of(rows: pa.Table) -> Sample:
    """The sample of `rows_of`."""
    columns = {name: rows[name].to_numpy() for name in rows.column_names}
    if "probability" in columns:
        return Predictions(
            columns["user"], columns["positive"].astype(bool), columns["probability"]
        )
    if "unit" in columns:
        return Ratios.from_arrow(rows)
    users, num_targets = columns.pop("user"), columns.pop("num_targets")
    return UserMetrics(users, num_targets, tuple(columns), np.stack(list(columns.values()), axis=1))
