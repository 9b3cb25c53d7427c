from dataclasses import replace

import numpy as np

from tests import worlds
from training.data.histories import SECOND
from training.data.queries import PAD, Queries, query_times


def histories():
    """Two histories and an empty one; strengths and times tell the events apart."""
    return replace(
        worlds.histories_of([[4, 5, 6], [], [8, 9]]),
        strengths=np.array([3, -1, 2, 1, 0], np.int8),
        times=np.array([10, 20, 30, 40, 50]) * SECOND + 1,
    )


def queries(user, position, *, max_history=10, exclude_seen=True, **asked):
    return Queries.at(
        histories(),
        np.array(user),
        np.array(position),
        max_history=max_history,
        exclude_seen=exclude_seen,
        **asked,
    )


def test_a_context_holds_the_events_before_the_one_asked_for():
    found = queries([0, 0, 2], [2, 0, 1])
    assert found.items_BL.tolist() == [[4, 5], [PAD, PAD], [8, PAD]]
    assert found.strengths_BL.tolist() == [[3, -1], [0, 0], [1, 0]]
    assert found.lengths_B.tolist() == [2, 0, 1]
    assert found.excluded.tolist() == [4, 5, 8]
    assert found.strengths_BL.dtype == np.int8
    assert found.times_BL.dtype == found.asked_at_B.dtype == np.int64


def test_the_question_is_asked_when_its_answer_happened():
    found = queries([0, 0, 2], [2, 0, 1])
    assert found.asked_at_B.tolist() == [30, 10, 50]
    assert found.times_BL.tolist() == [[10, 20], [10, 10], [40, 50]]


def test_without_an_answer_yet_it_is_asked_when_the_last_event_happened():
    found = queries([0, 1, 2], [3, 0, 2])
    assert found.asked_at_B.tolist() == [30, 0, 50]
    assert found.times_BL.tolist() == [[10, 20, 30], [0, 0, 0], [40, 50, 50]]
    assert query_times(histories(), np.array([1, 0]), np.array([0, 3])).tolist() == [0, 30]


def test_the_time_of_a_question_can_be_given():
    found = queries([0, 2], [3, 1], asked_at=np.array([99, 77]))
    assert found.asked_at_B.tolist() == [99, 77]
    assert found.times_BL.tolist() == [[10, 20, 30], [40, 77, 77]]


def test_only_the_most_recent_events_are_kept():
    found = queries([0, 2], [3, 2], max_history=2)
    assert found.items_BL.tolist() == [[5, 6], [8, 9]]
    assert found.strengths_BL.tolist() == [[-1, 2], [1, 0]]
    assert found.times_BL.tolist() == [[20, 30], [40, 50]]
    assert found.excluded.tolist() == [4, 5, 6, 8, 9]


def test_rows_are_padded_no_wider_than_they_need():
    found = queries([0, 0, 2], [3, 1, 2]).rows(1, 3)
    alone = queries([0, 2], [1, 2])
    for name in ("items_BL", "strengths_BL", "times_BL", "asked_at_B", "lengths_B"):
        assert getattr(found, name).tolist() == getattr(alone, name).tolist(), name
    assert found.excluded.tolist() == alone.excluded.tolist()
    assert found.excluded_offsets.tolist() == [0, 1, 3]
