"""What the programs of one day agree on: which rows they read and how they split them.

The catalogue and the semantic IDs are read as the day's own run left them, so that a rerun of an
old day does not see items of later days; histories are a partition of the day itself.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.arrow import arrow_schema
from feature_store.held_out import rolling_windows
from feature_store.steps import run_first
from feature_store.store import FeatureStore
from training.config import Evaluation
from training.data.features import Counting, Features
from training.data.histories import COLUMNS, Histories
from training.data.impressions import COLUMNS as IMPRESSION_COLUMNS
from training.data.impressions import Impressions
from training.data.preference_lists import COLUMNS as LIST_COLUMNS
from training.data.preference_lists import PreferenceLists
from training.data.preferences import COLUMNS as PAIR_COLUMNS
from training.data.preferences import Pairs
from training.data.slate_splits import SlateSplit, split_slates_leave_last_out, split_slates_rolling
from training.data.slates import COLUMNS as SLATE_COLUMNS
from training.data.slates import Slates
from training.data.splits import Split, has_days, split_leave_last_out, split_random, split_rolling
from training.programs.errors import ProgramError
from training.programs.item_halves import CollaborativeVectors
from training.programs.item_pairs import ItemPairs
from training.programs.item_vectors import ItemVectors, choose_encoder

CODED_AS = "sidereal.impressions"
"""Snapshot property of impressions: what their codes are, as JSON."""
Inputs = Mapping[str, Mapping[str, Any]]
"""Per table read: `snapshot_id` and `content_hash`."""


class DayTables:
    """The tables of one day as training reads them; each that is read is noted.

    Args:
        store: the preset's tables.
        day: the day whose run reads.
        encoder: whose item vectors are read where a caller names none; empty: the only one's.
    """

    def __init__(self, store: FeatureStore, day: date, *, encoder: str = "") -> None:
        self.store, self.day, self.encoder = store, day, encoder
        self._read: dict[str, dict[str, Any]] = {}

    @property
    def inputs(self) -> Inputs:
        """All that was read so far, in that order."""
        return dict(self._read)

    def inputs_of(self, *tables: str) -> Inputs:
        """What was read of some tables, in the order in which they are named."""
        return {name: self._read[name] for name in dict.fromkeys(tables) if name in self._read}

    def histories(self) -> Histories:
        """Every user's history as it stood at the end of the day.

        Raises:
            ProgramError: the day has no histories.
        """
        name = "user_sequences"
        if not self.store.row_count(name, partition=self.day):
            raise ProgramError(self._missing(name))
        self._note(name, None, self.day)
        rows = self.store.scan(name, partition=self.day, columns=list(COLUMNS))
        return Histories.from_arrow(rows)

    def slates(self, histories: Histories) -> Slates | None:
        """Every slate up to the end of the day; None where none was published by then.

        Args:
            histories: where the queries are.
        """
        rows = self._up_to_the_day("slates", SLATE_COLUMNS)
        return None if rows is None else Slates.from_arrow(rows, histories)

    def pairs(self, histories: Histories) -> Pairs:
        """Every preference pair up to the end of the day.

        Args:
            histories: where the queries are.
        Raises:
            ProgramError: there is none.
        """
        rows = self._up_to_the_day("preference_pairs", PAIR_COLUMNS)
        if rows is None:
            raise ProgramError(self._missing("preference_pairs"))
        return Pairs.from_arrow(rows, histories)

    def preference_lists(self, histories: Histories) -> PreferenceLists | None:
        """Every preference list up to the end of the day; None where there is none.

        Args:
            histories: of all users of the lists.
        """
        rows = self._up_to_the_day("preference_lists", LIST_COLUMNS)
        return None if rows is None else PreferenceLists.from_arrow(rows, histories)

    def impressions(self, histories: Histories, *, on: date) -> Impressions | None:
        """Every impression up to the end of the day; None where there is none.

        Args:
            histories: of all users of the impressions.
            on: codes that count on a later day alone are unknown.
        Raises:
            ProgramError: the impressions don't say what their codes are.
        """
        rows = self._up_to_the_day("impressions", IMPRESSION_COLUMNS)
        if rows is None:
            return None
        at = version_of_day(self.store, "impressions", self.day)
        said = self.store.describe("impressions", at).properties.get(CODED_AS)
        if said is None:
            raise ProgramError(
                f"the impressions of {self.day} don't say what their codes are; "
                f"{run_first('impressions')}"
            )
        return Impressions.from_arrow(rows, histories, self._features(json.loads(said), on))

    def _features(self, said: Mapping[str, Any], on: date) -> Features:
        columns = ["item_index", "item_id", "attributes"]
        items = self.store.read("items", at=version_of_day(self.store, "items", self.day),
                                columns=columns)  # fmt: skip
        return Features.of_tables(
            tuple(said["fields"]),
            Counting(**{field.name: said[field.name] for field in fields(Counting)}),
            vocabularies=self._of_the_day("feature_vocabularies"),
            items=items,
            users=self._of_the_day("users"),
            on=on,
        )

    def _of_the_day(self, name: str) -> pa.Table:
        """All rows of a table as the day's run left it; none where nothing was published."""
        at = version_of_day(self.store, name, self.day)
        if self.store.snapshot_id(name, at=at) is None:
            return arrow_schema(self.store.contract(name)).empty_table()
        self._note(name, at, None)
        return self.store.read(name, at=at)

    def items(self) -> pa.Table:
        """The catalogue of the day: `item_index`, `item_id`, by index.

        Raises:
            ProgramError: there is no catalogue.
        """
        name = "items"
        at = version_of_day(self.store, name, self.day)
        if not self.store.row_count(name, at=at):
            raise ProgramError(self._missing(name))
        self._note(name, at, None)
        rows = self.store.read(name, at=at, columns=["item_index", "item_id"])
        return rows.sort_by("item_index")

    def unlisted(self, *, asked_on: date | None = None) -> np.ndarray:
        """Items that nobody may be recommended on a day: the catalogue no longer lists them.

        The one place that says so; `BundlePredictor` and `Queries` carry it to every family. It is
        not noted: whoever depends on it depends on these items, not on the whole catalogue.

        Args:
            asked_on: the day that is asked about; default: the run's.

        Returns:
            item_index, int32, ascending.
        """
        name = "items"
        at = version_of_day(self.store, name, self.day)
        rows = self.store.read(name, at=at, columns=["item_index", "last_listed_day"])
        gone = pc.less(rows["last_listed_day"], pa.scalar(asked_on or self.day))
        indices = rows["item_index"].filter(pc.fill_null(gone, False))
        return np.sort(indices.to_numpy().astype(np.int32))

    def semantic_ids(self, generation: str) -> pa.Table:
        """The SID table of one generation as the day's run left it.

        Raises:
            ProgramError: the generation has no semantic IDs.
        """
        name = "semantic_ids"
        at = version_of_day(self.store, name, self.day)
        if not self.store.row_count(name, at=at, partition=generation):
            raise ProgramError(f"{self._missing(name)} (generation {generation})")
        self._note(name, at, generation)
        return self.store.read(name, at=at, partition=generation)

    def published_ids(self, generation: str) -> pa.Table | None:
        """The newest SID table of a generation; None where none is published. It is not noted."""
        name = "semantic_ids"
        if not self.store.row_count(name, partition=generation):
            return None
        return self.store.read(name, partition=generation)

    def vectors(self, *, encoder: str = "") -> ItemVectors:
        """The catalogue's vectors of the day.

        Args:
            encoder: whose vectors; empty: the preset's `tokenizer.encoder`, or the only one there
                is.
        Raises:
            ProgramError: there are none, none of that encoder, several encoders and no choice, or
                vectors of different lengths.
        """
        name = "item_embeddings"
        at = version_of_day(self.store, name, self.day)
        encoders = [str(value) for value in self.store.partitions(name, at=at)]
        if not encoders:
            raise ProgramError(self._missing(name))
        chosen = choose_encoder(encoders, encoder or self.encoder)
        self._note(name, at, chosen)
        columns = ["item_index", "content_digest", "embedding"]
        rows = self.store.read(name, at=at, partition=chosen, columns=columns)
        return ItemVectors.from_arrow(chosen, rows)

    def collaborative(self, day: date) -> CollaborativeVectors | None:
        """Vectors of items by who took to them, as a day's run made them; None: it made none."""
        name = "collaborative_vectors"
        if not self.store.row_count(name, partition=day):
            return None
        self._note(name, None, day)
        columns = ["item_index", "embedding", "num_users"]
        return CollaborativeVectors.from_arrow(
            self.store.read(name, partition=day, columns=columns)
        )

    def item_pairs(self, vectors: ItemVectors) -> ItemPairs | None:
        """The day's items that people took to together, as rows of the vectors.

        Args:
            vectors: a pair of which an item has none is left out, and counted.
        Returns:
            None where the day has no pairs.
        """
        name = "item_cooccurrence"
        if not self.store.row_count(name, partition=self.day):
            return None
        self._note(name, None, self.day)
        rows = self.store.read(name, partition=self.day, columns=["item_index", "other_index"])
        return ItemPairs.from_arrow(rows, vectors)

    def _up_to_the_day(self, name: str, columns: Iterable[str]) -> pa.Table | None:
        """Rows of the day and of those before it; None where there are none."""
        at = version_of_day(self.store, name, self.day)
        if self.store.snapshot_id(name, at=at) is None:
            return None
        rows = self.store.read(name, at=at, columns=["day", *columns])
        rows = rows.filter(pc.less_equal(rows["day"], pa.scalar(self.day)))
        if not rows.num_rows:
            return None
        self._note(name, at, None)
        return rows

    def _note(self, name: str, at: date | None, partition: Any) -> None:
        self._read[name] = {
            "snapshot_id": self.store.snapshot_id(name, at=at),
            "content_hash": self.store.content_hash(name, at=at, partition=partition),
        }

    def _missing(self, name: str) -> str:
        return f"{name!r} has no rows for {self.day}; {run_first(name)}"


def version_of_day(store: FeatureStore, table: str, day: date) -> date | None:
    """The version that the day's run left, or the head where the day left none."""
    return day if store.snapshot_id(table, at=day) is not None else None


def split_slates(slates: Slates, day: date, evaluation: Evaluation) -> SlateSplit:
    """The split of slates that the preset asks for."""
    if evaluation.protocol != "rolling":
        return split_slates_leave_last_out(slates)
    holdout_days, validation_days = rolling_windows(slates.histories.first_time, day, evaluation)
    return split_slates_rolling(
        slates, day, holdout_days=holdout_days, validation_days=validation_days
    )


def split_histories(histories: Histories, day: date, evaluation: Evaluation) -> Split:
    """The split that the preset asks for.

    Raises:
        ProgramError: lists are to be asked for at a day's end, and the log is of one day.
    """
    if evaluation.protocol == "leave_last_out":
        if evaluation.moment == "day_end" and not has_days(histories):
            raise ProgramError(
                "evaluation.asked_at is day_end, and all events are of one day: nobody has a "
                "history before it. Set evaluation.asked_at: event"
            )
        return split_leave_last_out(
            histories,
            target_minimum_strength=evaluation.target_minimum_strength,
            light_user_events=evaluation.light_user_events,
            asked_at=evaluation.moment,
        )
    if evaluation.protocol == "random":
        return split_random(
            histories,
            positive_strength=evaluation.positive_strength,
            target_minimum_strength=evaluation.target_minimum_strength,
            light_user_events=evaluation.light_user_events,
        )
    holdout_days, validation_days = rolling_windows(histories.first_time, day, evaluation)
    return split_rolling(
        histories,
        day,
        holdout_days=holdout_days,
        validation_days=validation_days,
        max_targets_per_user=evaluation.max_targets_per_user,
        target_minimum_strength=evaluation.target_minimum_strength,
        light_user_events=evaluation.light_user_events,
        asked_at=evaluation.moment,
    )
