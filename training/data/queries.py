"""Questions and answers of a recommender: queries in, lists of items out.

B queries, L events of context, k places in a list.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from training.data.histories import SECOND, Histories
from training.data.questions import Questions
from training.data.splits import Targets

PAD = -1
"""Stands for no item, in queries and in lists."""
NO_ITEMS = np.empty(0, dtype=np.int32)


@dataclass(frozen=True)
class Queries:
    """B questions: what comes after these events?

    Attributes:
        items_BL: most recent events, oldest first, int32; right-padded with `PAD`, so that a
            causal model needs no mask.
        strengths_BL: feedback of each event, int8 from -1 to 3; 0 beyond a row's end.
        times_BL: when each happened, seconds since 1970 (UTC), int64; beyond a row's end the time
            of the question, so that what follows the last event is the question.
        asked_at_B: when the question is asked, seconds, int64: the midnight at which the answer is
            fixed, or the time of the event to be predicted where it is known, else of the last one.
        lengths_B: events of each context, int64, 0 to L.
        excluded: items that may not be answered, int32; context b owns
            `excluded_offsets[b]` to `excluded_offsets[b + 1]`.
        excluded_offsets: int64, shape [B + 1].
        unlisted: items that nobody may be answered, because the catalogue no longer lists them;
            int32, each once, ascending.
        user_ids_B: who asks, the source's own ids, text; empty where it isn't known; None: nobody
            says.
    """

    items_BL: np.ndarray
    strengths_BL: np.ndarray
    times_BL: np.ndarray
    asked_at_B: np.ndarray
    lengths_B: np.ndarray
    excluded: np.ndarray
    excluded_offsets: np.ndarray
    unlisted: np.ndarray = field(default_factory=lambda: NO_ITEMS)
    user_ids_B: np.ndarray | None = None

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
        asked_at: np.ndarray | None = None,
    ) -> "Queries":
        """Queries of the events before `position` of each `user`, both of shape [B].

        Args:
            histories: where the events are read.
            user: numbers of users in `histories`.
            position: how many of the user's first events are known, 0 to all.
            max_history: most recent events kept as context.
            exclude_seen: whether all known items, not only the kept ones, are excluded.
            asked_at: when each question is asked, seconds, int64, shape [B]; None: when the event
                at `position` happened, or the last known one where there is none; 0 without events.
        """
        starts, ends = histories.offsets[user], histories.offsets[user] + position
        lengths_B = np.minimum(position, max_history).astype(np.int64)
        width = int(lengths_B.max(initial=0))
        columns = np.arange(width)
        events_BL = (ends - lengths_B)[:, None] + columns
        inside_BL = columns < lengths_B[:, None]
        items_BL = np.full(events_BL.shape, PAD, dtype=np.int32)
        inside = events_BL[inside_BL]
        items_BL[inside_BL] = histories.items[inside]
        strengths_BL = np.zeros(events_BL.shape, dtype=np.int8)
        strengths_BL[inside_BL] = histories.strengths[inside]
        if asked_at is None:
            asked_at = query_times(histories, user, position)
        times_BL = np.repeat(asked_at[:, None], width, axis=1)
        times_BL[inside_BL] = histories.times[inside] // SECOND
        seen = (ends - starts) if exclude_seen else np.zeros(len(user), dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(seen, dtype=np.int64)])
        events = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], seen)
        return cls(
            items_BL,
            strengths_BL,
            times_BL,
            asked_at,
            lengths_B,
            histories.items[events],
            offsets,
            user_ids_B=histories.user_ids[user],
        )

    @classmethod
    def of(
        cls, histories: Histories, questions: Questions, *, max_history: int, exclude_seen: bool
    ) -> "Queries":
        """Queries of some questions about `histories`; the limits are those of `at`."""
        return cls.at(
            histories,
            questions.user_G,
            questions.position_G,
            max_history=max_history,
            exclude_seen=exclude_seen,
            asked_at=questions.asked_at_G,
        )

    def rows(self, start: int, stop: int) -> "Queries":
        """Queries `start` to `stop`, padded no wider than they need."""
        first, last = self.excluded_offsets[start], self.excluded_offsets[min(stop, len(self))]
        lengths_B = self.lengths_B[start:stop]
        width = int(lengths_B.max(initial=0))
        return Queries(
            self.items_BL[start:stop, :width],
            self.strengths_BL[start:stop, :width],
            self.times_BL[start:stop, :width],
            self.asked_at_B[start:stop],
            lengths_B,
            self.excluded[first:last],
            self.excluded_offsets[start : stop + 1] - first,
            self.unlisted,
            None if self.user_ids_B is None else self.user_ids_B[start:stop],
        )

    def where(self, rows: np.ndarray) -> "Queries":
        """The queries of a mask or of numbers, in the given order, padded as wide as before."""
        chosen = np.arange(len(self))[rows]
        counts = np.diff(self.excluded_offsets)[chosen]
        offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        starts = self.excluded_offsets[:-1][chosen]
        return Queries(
            self.items_BL[chosen],
            self.strengths_BL[chosen],
            self.times_BL[chosen],
            self.asked_at_B[chosen],
            self.lengths_B[chosen],
            self.excluded[np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)],
            offsets,
            self.unlisted,
            None if self.user_ids_B is None else self.user_ids_B[chosen],
        )

    def of_known(self, is_known_V: np.ndarray) -> "Queries":
        """The same questions without the events of other items, right-padded again.

        Args:
            is_known_V: which items a model can read, bool, for every item of the queries.
        """
        return self._keeping((self.items_BL != PAD) & is_known_V[self.items_BL])

    def narrowed(self, *, max_history: int, minimum_strength: int) -> "Queries":
        """The same questions as a model has them that reads less of a history.

        Args:
            max_history: most recent events that are left.
            minimum_strength: weaker events are left out first.
        """
        kept_BL = (self.items_BL != PAD) & (self.strengths_BL >= minimum_strength)
        until_end_BL = np.cumsum(kept_BL[:, ::-1], axis=1)[:, ::-1]
        return self._keeping(kept_BL & (until_end_BL <= max_history))

    def _keeping(self, kept_BL: np.ndarray) -> "Queries":
        """The same questions with some of the events, right-padded again."""
        lengths_B = kept_BL.sum(axis=1)
        order_BL = np.argsort(~kept_BL, axis=1, kind="stable")[:, : lengths_B.max(initial=0)]
        items_BL = np.where(kept_BL, self.items_BL, PAD)
        strengths_BL = np.where(kept_BL, self.strengths_BL, 0)
        times_BL = np.where(kept_BL, self.times_BL, self.asked_at_B[:, None])
        ordered = (
            np.take_along_axis(values, order_BL, 1) for values in (items_BL, strengths_BL, times_BL)
        )
        items_BL, strengths_BL, times_BL = ordered
        return replace(
            self,
            items_BL=items_BL,
            strengths_BL=strengths_BL,
            times_BL=times_BL,
            lengths_B=lengths_B,
        )

    @property
    def excluded_BE(self) -> np.ndarray:
        """Excluded items of each context, right-padded with `PAD`, int64, [B, E]."""
        counts = np.diff(self.excluded_offsets)
        excluded_BE = np.full((len(self), int(counts.max(initial=0))), PAD, dtype=np.int64)
        excluded_BE[np.arange(excluded_BE.shape[1]) < counts[:, None]] = self.excluded
        return excluded_BE

    @property
    def excluded_rows(self) -> np.ndarray:
        """The context that each entry of `excluded` belongs to, int64."""
        return np.repeat(np.arange(len(self)), np.diff(self.excluded_offsets))


def query_times(histories: Histories, user: np.ndarray, position: np.ndarray) -> np.ndarray:
    """When the event at `position` of each `user` happened, in seconds, int64, shape [B].

    Where a history ends before it, the time of its last event; 0 where it has none.
    """
    lengths = histories.lengths[user]
    event = histories.offsets[user] + np.minimum(position, lengths - 1)
    seconds = np.zeros(len(user), dtype=np.int64)
    seconds[lengths > 0] = histories.times[event[lengths > 0]] // SECOND
    return seconds


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
    def of_none(cls, num_queries: int, k: int) -> "TopK":
        """The answer of a model that has nothing to offer."""
        shape = (num_queries, k)
        return cls(np.full(shape, PAD, dtype=np.int32), np.full(shape, -np.inf, dtype=np.float32))

    @classmethod
    def concatenate(cls, parts: list["TopK"]) -> "TopK":
        """Several answers below each other."""
        return cls(
            np.concatenate([part.items_Bk for part in parts]),
            np.concatenate([part.scores_Bk for part in parts]),
        )


def queries_of(
    targets: Targets, *, max_history: int, exclude_seen: bool, rows: int = 4096
) -> Iterator[Queries]:
    """The query of each target in order, at most `rows` at a time."""
    questions = targets.questions.each()
    for start in range(0, len(questions), rows):
        yield Queries.of(
            targets.histories,
            questions.rows(start, start + rows),
            max_history=max_history,
            exclude_seen=exclude_seen,
        )
