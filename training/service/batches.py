"""Requests that wait are answered together: a thread asks the model, the event loop the rest.

A batch is the oldest request and those behind it that can be asked together with it. It goes as
soon as the thread is free: while a batch is answered the next one gathers, and nobody waits for
company. The queue has an end: who comes then is told so at once, which costs nothing.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

ENDING_SECONDS = 5.0


class QueueFull(Exception):
    """As many requests wait as may."""


@dataclass(frozen=True)
class Limits:
    """What is taken at once, and how long anything may wait.

    Attributes:
        most_at_once: requests of a batch; 1: each is asked about alone.
        most_waiting: requests that wait; more are refused.
        timeout_seconds: from a request's arrival to its answer.
    """

    most_at_once: int = 32
    most_waiting: int = 256
    timeout_seconds: float = 2.0


@dataclass(slots=True)
class _Waiting:
    key: Hashable
    question: Any
    answer: "asyncio.Future[Any]"


Answerer = Callable[[Hashable, Sequence[Any]], Sequence[Any]]
"""Answers to questions of one key, in their order; an exception for one of them is an answer."""


class Batches:
    """A bounded queue and the thread that empties it.

    Args:
        answer: asked in the thread.
        limits: of batches and of the queue.
        on_batch: told how many were asked about, and how many seconds that took.
    """

    def __init__(
        self, answer: Answerer, limits: Limits, on_batch: Callable[[int, float], None]
    ) -> None:
        self._answer, self.limits, self._on_batch = answer, limits, on_batch
        self._waiting: deque[_Waiting] = deque()
        self._change = threading.Condition()
        self._ends = False
        self._busy_since: float | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to answer; called from the event loop that will ask."""
        self._loop, self._ends = asyncio.get_running_loop(), False
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer what waits, then end."""
        with self._change:
            self._ends = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join(ENDING_SECONDS)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def busy_seconds(self) -> float:
        """For how long the batch of now has been asked about; 0 without one."""
        since = self._busy_since
        return 0.0 if since is None else time.perf_counter() - since

    @property
    def is_alive(self) -> bool:
        """Whether there is a thread that answers."""
        return self._thread is not None and self._thread.is_alive()

    def ask(self, key: Hashable, question: Any) -> "asyncio.Future[Any]":
        """What will hold the answer. Cancelled before its batch goes, it is not asked about.

        Args:
            key: only questions of equal keys are asked together.
            question: as the answerer takes it.
        Raises:
            QueueFull: `most_waiting` requests wait.
        """
        assert self._loop is not None, "start comes first"
        waiting = _Waiting(key, question, self._loop.create_future())
        with self._change:
            count = len(self._waiting)
            if count >= self.limits.most_waiting:
                raise QueueFull(f"{count} requests wait already; try again")
            self._waiting.append(waiting)
            self._change.notify()
        return waiting.answer

    def _work(self) -> None:
        while batch := self._next():
            started = self._busy_since = time.perf_counter()
            answers = self._answers(batch[0].key, [each.question for each in batch])
            self._busy_since = None
            self._on_batch(len(batch), time.perf_counter() - started)
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(_settle, batch, answers)
            except RuntimeError:  # the loop has ended: nobody waits
                return

    def _answers(self, key: Hashable, questions: Sequence[Any]) -> Sequence[Any]:
        """An answer or an error for each: who shares a batch doesn't share another's error."""
        try:
            return self._answer(key, questions)
        except Exception as error:  # whatever it was, the thread goes on
            if len(questions) == 1:
                return [error]
            return [self._answers(key, [question])[0] for question in questions]

    def _next(self) -> list[_Waiting]:
        """The next batch; empty at the end."""
        with self._change:
            while True:
                self._change.wait_for(lambda: self._waiting or self._ends)
                if not self._waiting:
                    return []
                if batch := self._take():
                    return batch

    def _take(self) -> list[_Waiting]:
        """The oldest that anybody still waits for, and those that can be asked with it."""
        batch: list[_Waiting] = []
        others: list[_Waiting] = []
        while self._waiting and len(batch) < self.limits.most_at_once:
            each = self._waiting.popleft()
            if each.answer.cancelled():
                continue
            (batch if not batch or each.key == batch[0].key else others).append(each)
        self._waiting.extendleft(reversed(others))
        return batch


def _settle(batch: Sequence[_Waiting], answers: Sequence[Any]) -> None:
    for waiting, answer in zip(batch, answers, strict=True):
        if waiting.answer.done():
            continue
        if isinstance(answer, Exception):
            waiting.answer.set_exception(answer)
        else:
            waiting.answer.set_result(answer)
