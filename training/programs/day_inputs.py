"""What the programs of one day agree on: which rows they read and how they split them.

The catalogue and the semantic IDs are read as the day's own run left them, so that a rerun of an
old day does not see items of later days; histories are a partition of the day itself.
"""

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.contract import Contract
from feature_store.steps import run_first
from feature_store.store import FeatureStore
from feature_store.tables import CATALOG
from training.config import Evaluation
from training.data.histories import COLUMNS, Histories
from training.data.preferences import COLUMNS as PAIR_COLUMNS
from training.data.preferences import Pairs
from training.data.slates import COLUMNS as SLATE_COLUMNS
from training.data.slates import (
    Slates,
    SlateSplit,
    split_slates_leave_last_out,
    split_slates_rolling,
)
from training.data.splits import Split, rolling_windows, split_leave_last_out, split_rolling
from training.programs.interface import ProgramError, Task

Inputs = dict[str, dict[str, Any]]
"""Per table read: `snapshot_id` and `content_hash`."""


def read_histories(task: Task, inputs: Inputs) -> Histories:
    """Every user's history as it stood at the end of the day; notes what was read in `inputs`.

    Raises:
        ProgramError: the day has no histories.
    """
    name, store = "user_sequences", task.store
    if not store.row_count(name, partition=task.day):
        raise ProgramError(_missing(CATALOG[name], task.day))
    _note(store, name, None, task.day, inputs)
    return Histories.from_arrow(store.scan(name, partition=task.day, columns=list(COLUMNS)))


def read_slates(task: Task, histories: Histories, inputs: Inputs) -> Slates | None:
    """Every slate up to the end of the day; notes what was read in `inputs`.

    Args:
        task: store and day.
        histories: where the queries are.
        inputs: gets the entry `slates`, where there are any.
    Returns:
        None where no slate was published by the day.
    """
    name = "slates"
    at = version_of_day(task.store, name, task.day)
    if task.store.snapshot_id(name, at=at) is None:
        return None
    rows = task.store.read(name, at=at, columns=["day", *SLATE_COLUMNS])
    rows = rows.filter(pc.less_equal(rows["day"], pa.scalar(task.day)))
    if not rows.num_rows:
        return None
    _note(task.store, name, at, None, inputs)
    return Slates.from_arrow(rows, histories)


def read_pairs(task: Task, histories: Histories, inputs: Inputs) -> Pairs:
    """Every preference pair up to the end of the day; notes what was read in `inputs`.

    Raises:
        ProgramError: there is none.
    """
    name = "preference_pairs"
    at = version_of_day(task.store, name, task.day)
    rows = None
    if task.store.snapshot_id(name, at=at) is not None:
        rows = task.store.read(name, at=at, columns=["day", *PAIR_COLUMNS])
        rows = rows.filter(pc.less_equal(rows["day"], pa.scalar(task.day)))
    if rows is None or not rows.num_rows:
        raise ProgramError(_missing(CATALOG[name], task.day))
    _note(task.store, name, at, None, inputs)
    return Pairs.from_arrow(rows, histories)


def split_slates(slates: Slates, day: date, evaluation: Evaluation) -> SlateSplit:
    """The split of slates that the preset asks for."""
    if evaluation.protocol == "leave_last_out":
        return split_slates_leave_last_out(slates)
    holdout_days, validation_days = rolling_windows(
        slates.histories, day, evaluation.holdout_days, evaluation.validation_days
    )
    return split_slates_rolling(
        slates, day, holdout_days=holdout_days, validation_days=validation_days
    )


def read_items(task: Task, inputs: Inputs) -> pa.Table:
    """The catalogue of the day: `item_index`, `item_id`, by index.

    Raises:
        ProgramError: there is no catalogue.
    """
    at = version_of_day(task.store, "items", task.day)
    if not task.store.row_count("items", at=at):
        raise ProgramError(_missing(CATALOG["items"], task.day))
    _note(task.store, "items", at, None, inputs)
    rows = task.store.read("items", at=at, columns=["item_index", "item_id"])
    return rows.sort_by("item_index")


def read_unlisted(store: FeatureStore, day: date, *, asked_on: date | None = None) -> np.ndarray:
    """Items that nobody may be recommended on a day: the catalogue no longer lists them.

    The one place that says so, for every family: `BundlePredictor` and `Queries` carry it to them.

    Args:
        store: its `items`, as the day's run left them.
        day: the run's day.
        asked_on: the day that is asked about; default: the run's.

    Returns:
        item_index, int32, ascending.
    """
    rows = store.read(
        "items",
        at=version_of_day(store, "items", day),
        columns=["item_index", "last_listed_day"],
    )
    gone = pc.less(rows["last_listed_day"], pa.scalar(asked_on or day))
    indices = rows["item_index"].filter(pc.fill_null(gone, False))
    return np.sort(indices.to_numpy().astype(np.int32))


def read_semantic_ids(task: Task, generation: str, inputs: Inputs) -> pa.Table:
    """The SID table of one generation as the day's run left it.

    Raises:
        ProgramError: the generation has no semantic IDs.
    """
    name = "semantic_ids"
    at = version_of_day(task.store, name, task.day)
    if not task.store.row_count(name, at=at, partition=generation):
        raise ProgramError(_missing(CATALOG[name], task.day) + f" (generation {generation})")
    _note(task.store, name, at, generation, inputs)
    return task.store.read(name, at=at, partition=generation)


def version_of_day(store: FeatureStore, table: str, day: date) -> date | None:
    """The version that the day's run left, or the head where the day left none."""
    return day if store.snapshot_id(table, at=day) is not None else None


def split_histories(histories: Histories, day: date, evaluation: Evaluation) -> Split:
    """The split that the preset asks for."""
    if evaluation.protocol == "leave_last_out":
        return split_leave_last_out(
            histories,
            target_minimum_strength=evaluation.target_minimum_strength,
            light_user_events=evaluation.light_user_events,
        )
    holdout_days, validation_days = rolling_windows(
        histories, day, evaluation.holdout_days, evaluation.validation_days
    )
    return split_rolling(
        histories,
        day,
        holdout_days=holdout_days,
        validation_days=validation_days,
        max_targets_per_user=evaluation.max_targets_per_user,
        target_minimum_strength=evaluation.target_minimum_strength,
        light_user_events=evaluation.light_user_events,
    )


def _note(store: FeatureStore, table: str, at: date | None, partition: Any, inputs: Inputs) -> None:
    inputs[table] = {
        "snapshot_id": store.snapshot_id(table, at=at),
        "content_hash": store.content_hash(table, at=at, partition=partition),
    }


def _missing(contract: Contract, day: date) -> str:
    return f"{contract.name!r} has no rows for {day}; {run_first(contract.name)}"
