"""Preference lists as a fit reads them."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from tests.worlds import SECOND, histories_of
from training.data.preference_lists import COLUMNS, PreferenceLists

START = datetime(1970, 1, 1, tzinfo=UTC)


def rows(*lists):
    """Rows of (user, first second, last second, items, tiers)."""
    user, first, last, items, tiers = zip(*lists, strict=True)
    at = [START + timedelta(seconds=second) for second in first]
    until = [START + timedelta(seconds=second) for second in last]
    values = (user, at, until, items, tiers)
    arrays = [pa.array(v, t) for v, t in zip(values, COLUMNS.values(), strict=True)]
    return pa.table(dict(zip(COLUMNS, arrays, strict=True)))


def test_lists_come_by_user_and_time_with_what_they_hold():
    histories = histories_of([[0, 1, 2], [3, 4, 5]])
    lists = PreferenceLists.from_arrow(
        rows(
            ("u001", 1, 2, [4, 9], [1, 4]),
            ("u000", 2, 2, [2, 7, 8], [2, 3, 4]),
            ("u000", 0, 1, [0], [1]),
        ),
        histories,
    )
    assert lists.user.tolist() == [0, 0, 1]
    assert lists.started_at.tolist() == [0, 2 * SECOND, SECOND]
    assert [x.tolist() for x in np.split(lists.items, lists.offsets[1:-1])] == [
        [0],
        [2, 7, 8],
        [4, 9],
    ]
    assert lists.tiers.tolist() == [1, 2, 3, 4, 1, 4]


def test_an_event_lies_in_the_list_that_spans_it():
    histories = histories_of([[0, 1, 2, 3, 4], [5, 6]])
    lists = PreferenceLists.from_arrow(
        rows(("u000", 1, 2, [1, 2], [1, 4]), ("u000", 3, 3, [3, 9], [1, 4])), histories
    )
    assert lists.of_events(histories).tolist() == [-1, 0, 0, 1, -1, -1, -1]
    assert lists.where(np.zeros(2, bool)).of_events(histories).tolist() == [-1] * 7


def test_a_list_that_touches_what_is_held_out_is_left_out():
    known = histories_of([[0, 1, 2, 3], [4, 5]])
    train = histories_of([[0, 1], [4, 5]])
    lists = PreferenceLists.from_arrow(
        rows(
            ("u000", 0, 1, [0, 1], [1, 2]),
            ("u000", 1, 2, [1, 2], [1, 2]),
            ("u001", 0, 9, [4, 5], [1, 2]),
        ),
        known,
    )
    kept = lists.over_before(train, known)
    assert list(zip(kept.user.tolist(), kept.ended_at.tolist(), strict=True)) == [
        (0, SECOND),
        (1, 9 * SECOND),
    ]


def test_bad_rows_are_refused_in_words():
    histories = histories_of([[0, 1]])
    with pytest.raises(ValueError, match="missing: \\['tiers'\\]"):
        PreferenceLists.from_arrow(
            rows(("u000", 0, 1, [0], [1])).drop_columns(["tiers"]), histories
        )
    with pytest.raises(ValueError, match="1 lists have not one tier for each item"):
        PreferenceLists.from_arrow(rows(("u000", 0, 1, [0, 1], [1])), histories)
    with pytest.raises(ValueError, match="1 users have slates and no history, first u9"):
        PreferenceLists.from_arrow(rows(("u9", 0, 1, [0], [1])), histories)


def test_pseudo_exposures_that_the_user_took_to_later_are_left_out():
    histories = histories_of([[5, 1, 2, 7, 8], [7, 9]])
    lists = PreferenceLists.from_arrow(
        rows(
            ("u000", 1, 2, [1, 2, 7, 5, 9], [1, 3, 4, 4, 4]),
            ("u000", 3, 4, [8, 7, 1], [1, 2, 4]),
            ("u001", 0, 0, [7, 8, 9, 50], [1, 4, 4, 4]),
        ),
        histories,
    )
    kept = lists.without_wanted_later(histories)
    found = [part.tolist() for part in np.split(kept.items, kept.offsets[1:-1])]
    assert found == [[1, 2, 5, 9], [8, 7, 1], [7, 8, 50]]
    assert kept.tiers.tolist() == [1, 3, 4, 4, 1, 2, 4, 1, 4, 4]
    nobody = PreferenceLists.from_arrow(rows(("u000", 0, 0, [], [])), histories)
    assert len(nobody.without_wanted_later(histories).items) == 0
