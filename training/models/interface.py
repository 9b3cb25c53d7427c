"""What every recommender answers: contexts in, the best items of the whole catalogue out.

B contexts, L events of context, k places in a list, V items in the catalogue.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from training.data.histories import Histories
from training.data.splits import Split, Targets
from training.data.vocabulary import Vocabulary
from training.fitting import FitReport, Fitting

PAD = -1
"""Stands for no item, in contexts and in lists."""


@dataclass(frozen=True)
class Contexts:
    """B questions: what comes after these events?

    Attributes:
        items_BL: most recent events, oldest first, int32; right-padded with `PAD`, so that a
            causal model needs no mask.
        lengths_B: events of each context, int64, 0 to L.
        excluded: items that may not be answered, int32; context b owns
            `excluded_offsets[b]` to `excluded_offsets[b + 1]`.
        excluded_offsets: int64, shape [B + 1].
    """

    items_BL: np.ndarray
    lengths_B: np.ndarray
    excluded: np.ndarray
    excluded_offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths_B)

    @classmethod
    def at(
        cls,
        histories: Histories,
        user: np.ndarray,
        position: np.ndarray,
        *,
        max_history: int,
        exclude_seen: bool,
    ) -> "Contexts":
        """Contexts of the events before `position` of each `user`, both of shape [B].

        Args:
            histories: where the events are read.
            user: numbers of users in `histories`.
            position: how many of the user's first events are known, 0 to all.
            max_history: most recent events kept as context.
            exclude_seen: whether all known items, not only the kept ones, are excluded.
        """
        starts, ends = histories.offsets[user], histories.offsets[user] + position
        lengths_B = np.minimum(position, max_history).astype(np.int64)
        width = int(lengths_B.max(initial=0))
        columns = np.arange(width)
        events_BL = (ends - lengths_B)[:, None] + columns
        inside_BL = columns < lengths_B[:, None]
        items_BL = np.full(events_BL.shape, PAD, dtype=np.int32)
        items_BL[inside_BL] = histories.items[events_BL[inside_BL]]
        seen = (ends - starts) if exclude_seen else np.zeros(len(user), dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(seen, dtype=np.int64)])
        events = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], seen)
        return cls(items_BL, lengths_B, histories.items[events], offsets)

    def rows(self, start: int, stop: int) -> "Contexts":
        """Contexts `start` to `stop`, padded no wider than they need."""
        first, last = self.excluded_offsets[start], self.excluded_offsets[min(stop, len(self))]
        lengths_B = self.lengths_B[start:stop]
        return Contexts(
            self.items_BL[start:stop, : int(lengths_B.max(initial=0))],
            lengths_B,
            self.excluded[first:last],
            self.excluded_offsets[start : stop + 1] - first,
        )

    @property
    def excluded_rows(self) -> np.ndarray:
        """The context that each entry of `excluded` belongs to, int64."""
        return np.repeat(np.arange(len(self)), np.diff(self.excluded_offsets))


@dataclass(frozen=True)
class TopK:
    """The answer: best first.

    Attributes:
        items_Bk: item indices, int32, `PAD` where a model has no further item to offer.
        scores_Bk: the model's own scores, float32, never increasing; -inf beside `PAD`.
    """

    items_Bk: np.ndarray
    scores_Bk: np.ndarray

    @classmethod
    def empty(cls, k: int) -> "TopK":
        """The answer to no context."""
        return cls(np.empty((0, k), dtype=np.int32), np.empty((0, k), dtype=np.float32))

    @classmethod
    def concatenate(cls, parts: list["TopK"]) -> "TopK":
        """Several answers below each other."""
        return cls(
            np.concatenate([part.items_Bk for part in parts]),
            np.concatenate([part.scores_Bk for part in parts]),
        )


class Recommender(Protocol):
    """A fitted model of any family."""

    family: str

    def recommend(self, contexts: Contexts, k: int) -> TopK:
        """The k best items of the whole catalogue for each context, excluded ones left out.

        Deterministic, and the same for a context whatever else is in the batch. Memory is bounded
        by the model's own chunking, whatever B is.
        """
        ...


@dataclass(frozen=True)
class Family:
    """A kind of recommender: how it is configured, fitted, saved and loaded.

    Attributes:
        name: key in `MODELS`.
        config_class: frozen dataclass of the model's shape; every field has a default.
        fit: (split, config, fitting, vocabulary) → (model, report).
        save: (model, directory): safetensors and JSON, nothing pickled.
        load: (directory, device) → a model that answers as the saved one did.
        uses_semantic_ids: whether `fit` needs `vocabulary.codes_VQ`.
    """

    name: str
    config_class: type
    fit: Callable[[Split, Any, Fitting, Vocabulary], tuple[Recommender, FitReport]]
    save: Callable[[Any, Path], None]
    load: Callable[[Path, str], Recommender]
    uses_semantic_ids: bool = False

    def configure(self, settings: Mapping[str, Any]) -> Any:
        """The family's config with some fields set.

        Raises:
            ValueError: a setting that the family does not have.
        """
        known = set(self.config_class.__dataclass_fields__)
        unknown = sorted(set(settings) - known)
        if unknown:
            raise ValueError(f"{self.name} has no setting {unknown}; it has {sorted(known)}")
        return self.config_class(**settings)


def contexts_of(
    targets: Targets, *, max_history: int, exclude_seen: bool, rows: int = 4096
) -> Iterator[Contexts]:
    """The contexts of targets in order, at most `rows` at a time."""
    for start in range(0, len(targets), rows):
        part = slice(start, start + rows)
        yield Contexts.at(
            targets.histories,
            targets.user[part],
            targets.position[part],
            max_history=max_history,
            exclude_seen=exclude_seen,
        )
