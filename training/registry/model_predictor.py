"""A fitted model, asked about histories of any day.

Today's histories may hold items that a model has never heard of (the champion's catalogue is as old
as its training) and feedback that its family leaves out. Both are taken from the context before the
model is asked, the same way at evaluation, in the daily table and in MLflow.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from training import inference
from training.data.histories import Histories
from training.data.queries import NO_ITEMS, query_times
from training.data.questions import Questions
from training.models.interface import Model, Queries, TopK
from training.settings.spec import Question

_ROWS_WORTH_A_THREAD = 32
_ROWS = 2048
"""Queries that are asked about at once."""


@dataclass(frozen=True)
class Asked:
    """The questions of some users of one `Histories`, ready for one model.

    Attributes:
        known: events whose items the model knows.
        context: those of them that the model reads.
        known_before: per event of the original histories, how many events of `known` come before
            it, int64, shape [N + 1]; `context_before` the same for `context`.
        unlisted: items that nobody may be answered, as `Queries` has them.
    """

    original: Histories
    known: Histories
    context: Histories
    known_before: np.ndarray
    context_before: np.ndarray
    unlisted: np.ndarray = field(default_factory=lambda: NO_ITEMS)

    @classmethod
    def of(
        cls,
        histories: Histories,
        *,
        num_items: int,
        minimum_strength: int,
        unlisted: np.ndarray = NO_ITEMS,
    ) -> "Asked":
        """Histories without what a model does not know or read.

        Args:
            histories: of the users who are asked about.
            num_items: V, items that the model knows.
            minimum_strength: weaker events are not read, but were seen all the same.
            unlisted: items that nobody may be answered; they stay in the queries.
        """
        is_known = histories.items < num_items
        is_read = is_known & (histories.strengths >= minimum_strength)
        return cls(
            original=histories,
            known=histories.where(is_known),
            context=histories.where(is_read),
            known_before=_counts_before(is_known),
            context_before=_counts_before(is_read),
            unlisted=unlisted,
        )

    def queries(
        self,
        user: np.ndarray,
        position: np.ndarray,
        *,
        max_history: int,
        exclude_seen: bool,
        asked_at: np.ndarray | None = None,
    ) -> Queries:
        """Queries of the events before `position` (in the original histories) of each user.

        They are asked at `asked_at`; None: when the event at `position` happened, or the last one.
        """
        if asked_at is None:
            # In the original histories: what is predicted may itself be no event of the context.
            asked_at = query_times(self.original, user, position)
        starts = self.original.offsets[user]
        ends = starts + position
        read = self.context_before[ends] - self.context_before[starts]
        queries = Queries.at(
            self.context,
            user,
            read,
            max_history=max_history,
            exclude_seen=False,
            asked_at=asked_at,
        )
        queries = replace(queries, unlisted=self.unlisted)
        if not exclude_seen:
            return queries
        seen = self.known_before[ends] - self.known_before[starts]
        full = Queries.at(self.known, user, seen, max_history=1, exclude_seen=True)
        return replace(queries, excluded=full.excluded, excluded_offsets=full.excluded_offsets)


@dataclass(frozen=True, kw_only=True)
class ModelPredictor:
    """A fitted model with what is needed to ask it about histories of any day.

    Attributes:
        model: the weights, on their device.
        num_items: V, items that it can name.
        codes_VQ: its semantic IDs by item_index, int, -1 for an item without; None for a model
            without any.
        max_history: events of context that it was trained with.
        minimum_strength: weaker events are not read.
        device: where the weights are, `cpu` or `cuda`.
        unlisted: items that nobody may be answered today, int32, ascending.
    """

    model: Model
    num_items: int
    codes_VQ: np.ndarray | None
    max_history: int
    minimum_strength: int
    device: str
    unlisted: np.ndarray = field(default_factory=lambda: NO_ITEMS)

    @property
    def answers(self) -> frozenset[Question]:
        """What it can be asked."""
        return self.model.answers

    def ask(self, histories: Histories) -> Asked:
        """Histories without what this model does not know or read."""
        return Asked.of(
            histories,
            num_items=self.num_items,
            minimum_strength=self.minimum_strength,
            unlisted=self.unlisted,
        )

    def queries(
        self, histories: Histories, questions: Questions, *, exclude_seen: bool
    ) -> Iterator[Queries]:
        """What the model reads for each question, some at a time, in their order.

        Args:
            histories: of the users.
            questions: about them.
            exclude_seen: whether items of the history are left out of the answers.
        """
        asked = self.ask(histories)
        for start in range(0, len(questions), _ROWS):
            some = questions.rows(start, start + _ROWS)
            yield asked.queries(
                some.user_G,
                some.position_G,
                max_history=self.max_history,
                exclude_seen=exclude_seen,
                asked_at=some.asked_at_G,
            )

    def recommend(self, queries: Queries, k: int) -> TopK:
        """The k best items for each context of `ask`, by all cores.

        Raises:
            Unanswerable: the model does not recommend.
        """

        def answer(part: Queries) -> TopK:
            return inference.recommend(self.model, part, k)

        return on_all_cores(answer, queries, device=self.device)

    def rank(self, queries: Queries, items_BC: np.ndarray) -> np.ndarray:
        """Probability of positive feedback for candidates of each context, float32, [B, C].

        Raises:
            Unanswerable: the model does not rank.
        """
        return inference.rank(self.model, queries, items_BC)


def on_all_cores(answer: Callable[[Queries], TopK], queries: Queries, *, device: str) -> TopK:
    """`answer(queries)`, with a thread for each core that torch's own threads leave idle.

    Torch lets go of Python's lock while it computes, so threads with separate queries keep all
    cores busy without meeting before the end; threads within an operation meet thousands of times,
    and wait each time that another process has the core. A GPU needs one thread to be busy.
    """
    workers = 1 if device != "cpu" else _cores() // torch.get_num_threads()
    rows = -(-len(queries) // max(1, workers))
    if workers <= 1 or rows < _ROWS_WORTH_A_THREAD:
        return answer(queries)
    parts = [queries.rows(start, start + rows) for start in range(0, len(queries), rows)]
    with ThreadPoolExecutor(workers) as threads:
        return TopK.concatenate(list(threads.map(answer, parts)))


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _counts_before(marked: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(marked, dtype=np.int64)])
