"""The queue of `sidereal serve`: what goes together, what waits, what is refused."""

import asyncio
import threading

import pytest

from training.service.batches import Batches, Limits, QueueFull
from training.service.kept import KeptAnswers


def run(talk, answer=None, **limits):
    """Let a coroutine ask a queue whose answers are its questions; returns the batches.

    They gather behind a first one, which is answered when the coroutine lets it.
    """
    batches, goes = [], threading.Event()

    def answering(key, questions):
        if key == "first":
            goes.wait()
            return questions
        batches.append((key, list(questions)))
        return answer(key, questions) if answer else questions

    async def ask():
        queue = Batches(answering, Limits(**limits), lambda rows, seconds: None)
        queue.start()
        first = queue.ask("first", None)
        while not queue.busy_seconds:
            await asyncio.sleep(0.001)
        try:
            await talk(queue, goes)
            await first
        finally:
            goes.set()
            queue.stop()
        assert not queue.is_alive

    asyncio.run(ask())
    return batches


def test_what_waits_goes_together_and_each_gets_its_answer():
    async def talk(queue, goes):
        asked = [queue.ask("k", number) for number in range(6)]
        goes.set()
        assert await asyncio.gather(*asked) == list(range(6))

    assert run(talk, most_at_once=4) == [("k", [0, 1, 2, 3]), ("k", [4, 5])]


def test_only_equal_keys_go_together_and_the_oldest_goes_first():
    async def talk(queue, goes):
        asked = [queue.ask(number % 2, number) for number in range(5)]
        goes.set()
        await asyncio.gather(*asked)

    assert run(talk, most_at_once=8) == [(0, [0, 2, 4]), (1, [1, 3])]


def test_without_batching_each_is_asked_about_alone():
    async def talk(queue, goes):
        asked = [queue.ask("k", number) for number in range(3)]
        goes.set()
        await asyncio.gather(*asked)

    assert run(talk, most_at_once=1) == [("k", [0]), ("k", [1]), ("k", [2])]


def test_who_comes_to_a_full_queue_is_refused_at_once():
    async def talk(queue, goes):
        waiting = [queue.ask("k", number) for number in (1, 2)]
        with pytest.raises(QueueFull, match="2 requests wait already; try again"):
            queue.ask("k", 3)
        assert len(queue) == 2
        goes.set()
        assert await asyncio.gather(*waiting) == [1, 2]

    assert run(talk, most_waiting=2) == [("k", [1, 2])]


def test_what_nobody_waits_for_any_more_is_not_asked_about():
    async def talk(queue, goes):
        asked = [queue.ask("k", number) for number in range(3)]
        asked[1].cancel()
        goes.set()
        assert await asyncio.gather(asked[0], asked[2]) == [0, 2]

    assert run(talk) == [("k", [0, 2])]


def test_one_question_s_error_is_nobody_else_s():
    def answer(key, questions):
        if 1 in questions:
            raise ValueError("one")
        return questions

    async def talk(queue, goes):
        asked = [queue.ask("k", number) for number in range(3)]
        goes.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert (found[0], str(found[1]), found[2]) == (0, "one", 2)
        assert await queue.ask("k", 5) == 5

    assert run(talk, answer) == [("k", [0, 1, 2]), ("k", [0]), ("k", [1]), ("k", [2]), ("k", [5])]


def test_answers_are_kept_within_their_bytes_and_the_oldest_go_first():
    kept = KeptAnswers(3 * 310)
    for body in (b"a", b"b", b"c"):
        assert kept.get("owner", "/", body) is None
        kept.put("owner", "/", body, b"answer")
    assert kept.get("owner", "/", b"a") == b"answer"
    kept.put("owner", "/", b"d", b"answer")
    assert kept.get("owner", "/", b"b") is None
    assert kept.get("owner", "/", b"a") == kept.get("owner", "/", b"d") == b"answer"
    assert kept.num_bytes == 3 * 307


def test_another_owner_s_answers_are_gone_and_late_ones_are_not_kept():
    kept = KeptAnswers()
    kept.get("old", "/", b"a")
    kept.put("old", "/", b"a", b"answer")
    assert kept.get("new", "/", b"a") is None and kept.num_bytes == 0
    kept.put("old", "/", b"a", b"late")
    assert kept.get("new", "/", b"a") is None
    nothing = KeptAnswers(0)
    nothing.get("owner", "/", b"a")
    nothing.put("owner", "/", b"a", b"answer")
    assert nothing.get("owner", "/", b"a") is None
