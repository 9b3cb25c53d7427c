"""When a target is asked for, and what is known of its user then."""

from dataclasses import replace

import numpy as np
import pytest

from tests import worlds
from training.data.histories import DAY, SECOND
from training.data.queries import Queries, queries_of
from training.data.splits import Targets, has_days, split_leave_last_out, split_rolling

DAYS = [0.2, 0.9, 1.0, 1.5, 3.1, 2.0, 1.0, 1.0]
"""When events happened, in days: five of one person, one of another, two of a third."""


def histories(days=DAYS):
    found = worlds.histories_of([[4, 5, 6, 7, 8], [9], [1, 2]])
    return replace(found, times=(np.array(days) * DAY).astype(np.int64))


def every_event(asked_at, days=DAYS):
    found = histories(days)
    return Targets(found, found.users, found.positions, asked_at=asked_at)


def test_at_the_event_each_target_has_its_question():
    found = every_event("event").questions
    assert found.position_G.tolist() == [0, 1, 2, 3, 4, 0, 0, 1]
    assert (found.asked_at_G * SECOND / DAY).tolist() == pytest.approx(DAYS, abs=1e-4)
    assert found.question_T.tolist() == list(range(8))
    assert found.is_without_history_T.sum() == 3


def test_at_the_days_end_targets_of_a_day_share_the_question_of_the_midnight_before():
    found = every_event("day_end").questions
    assert found.user_G.tolist() == [0, 0, 0, 1, 2]
    assert found.question_T.tolist() == [0, 0, 1, 1, 2, 3, 4, 4]
    # What happened at midnight is of the day that begins.
    assert found.position_G.tolist() == [0, 2, 4, 0, 0]
    assert (found.asked_at_G * SECOND / DAY).tolist() == [0, 1, 3, 2, 1]
    assert found.is_without_history_T.tolist() == [True] * 2 + [False] * 3 + [True] * 3


def test_events_of_one_second_are_asked_for_without_any_event():
    targets = every_event("day_end", [1.25] * 8)
    assert targets.questions.position_G.tolist() == [0, 0, 0]
    assert targets.questions.is_without_history_T.all()
    assert not has_days(targets.histories) and has_days(histories())
    [queries] = queries_of(targets, max_history=5, exclude_seen=True)
    assert queries.items_BL.shape == (8, 0) and not len(queries.excluded)


def test_some_questions_come_with_the_targets_that_they_answer():
    found = every_event("day_end").questions
    some = found.rows(1, 4)
    assert (some.user_G.tolist(), some.question_T.tolist()) == ([0, 0, 1], [0, 0, 1, 2])
    assert found.rows(1, 99).question_T.tolist() == [0, 0, 1, 2, 3, 3]
    each = found.each()
    assert each.position_G.tolist() == found.position_G[found.question_T].tolist()
    assert each.question_T.tolist() == list(range(8))


def test_queries_are_told_the_time_of_their_questions():
    targets = every_event("day_end").where(np.array([2, 4]))
    [queries] = queries_of(targets, max_history=3, exclude_seen=True)
    assert queries.items_BL.tolist() == [[4, 5, -1], [5, 6, 7]]
    assert (queries.asked_at_B * SECOND / DAY).tolist() == [1, 3]
    assert queries.excluded.tolist() == [4, 5, 4, 5, 6, 7]
    whole = Queries.of(targets.histories, targets.questions, max_history=3, exclude_seen=False)
    assert whole.items_BL.tolist() == queries.items_BL.tolist()


def test_splits_say_when_is_asked_and_count_who_has_no_history_then():
    rolling = {"holdout_days": 1, "validation_days": 1}
    day = np.datetime64(1, "D").astype(object)
    by_event = split_rolling(histories(), day, **rolling)
    served = split_rolling(histories(), day, **rolling, asked_at="day_end")
    assert served.test.asked_at == served.validation.asked_at == "day_end"
    names = ("asked_at", "test_targets", "test_questions", "test_targets_without_history")
    assert [by_event.facts[name] for name in names] == ["event", 4, 4, 1]
    assert [served.facts[name] for name in names] == ["day_end", 4, 2, 2]
    last = split_leave_last_out(histories(), asked_at="day_end")
    assert [last.facts[name] for name in names] == ["day_end", 1, 1, 0]
    assert last.test.keeping(lambda found: found.items != 5).asked_at == "day_end"
