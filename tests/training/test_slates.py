from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from tests import worlds
from training.data.histories import DAY
from training.data.slate_splits import split_slates_leave_last_out, split_slates_rolling
from training.data.slates import Slates, events_before

MAY_DAY = date(2024, 5, 1)


def at(seconds):
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def row(**changes):
    return {
        "slate_id": "a",
        "user_id": "u000",
        "started_at": at(1),
        "ended_at": at(3),
        "item_indices": [5, 6, 7],
        "strengths": [0, 2, -1],
        "dwell_seconds": [None, 2.5, 0.0],
    } | changes


HISTORIES = worlds.histories_of([[5, 6, 7], [8, 9]])


def read(*rows):
    return Slates.from_arrow(pa.Table.from_pylist(list(rows)), HISTORIES)


def test_rows_become_slates_by_user_and_time_with_the_events_before_them():
    slates = read(
        row(slate_id="later", user_id="u001", started_at=at(1), ended_at=at(2)),
        row(slate_id="none known", started_at=at(0)),
        row(slate_id="after all", started_at=at(9), ended_at=at(9)),
    )
    assert slates.ids.tolist() == ["none known", "after all", "later"]
    assert slates.user.tolist() == [0, 0, 1]
    assert slates.position.tolist() == [0, 3, 1]
    assert slates.started_at.tolist() == [0, 9_000_000, 1_000_000]
    assert slates.lengths.tolist() == [3, 3, 3]
    assert slates.items[:3].tolist() == [5, 6, 7]
    assert slates.strengths[:3].tolist() == [0, 2, -1]
    np.testing.assert_array_equal(slates.dwell[:3], np.float32([np.nan, 2.5, 0.0]))


def test_events_at_the_moment_of_a_slate_are_no_context():
    user = np.array([0, 0, 1, 1])
    time = np.array([1, 2, 0, 60]) * worlds.SECOND
    assert events_before(HISTORIES, user, time).tolist() == [1, 2, 0, 2]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(user_id="nobody")], "1 users have slates and no history, first nobody"),
        ([row(strengths=[1])], "1 slates' lists differ in length, first a: .*'strengths': 1"),
        (
            [row(item_indices=[5], strengths=[1], dwell_seconds=[1.0])],
            "1 slates have fewer than 2 items, first a: build_slates writes no such rows",
        ),
        ([row(ended_at=at(0))], "1 slates end before they start, first a"),
    ],
)
def test_broken_rows_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        read(row(slate_id="0", user_id="u001"), *rows)


def test_a_missing_column_is_refused():
    with pytest.raises(ValueError, match=r"missing: \['ended_at'\]"):
        Slates.from_arrow(pa.Table.from_pylist([row()]).drop("ended_at"), HISTORIES)


def test_engaged_targets_are_by_strength_then_dwell():
    slates = worlds.slates_of(
        [[1, 2, 3, 4, 5, 6]],
        HISTORIES,
        starts=[0],
        strengths=[[1, 3, 1, 0, 1, 1]],
        dwell=[[3.0, np.nan, 9.0, 99.0, np.nan, 2.0]],
    )
    assert slates.targets("engaged").items.tolist() == [2, 3, 1, 6, 5]
    assert slates.targets("exposed").items.tolist() == [1, 2, 3, 5, 6]
    assert slates.targets("exposed", minimum_strength=-1).items.tolist() == [1, 2, 3, 4, 5, 6]


def test_what_nothing_tells_apart_comes_by_chance_and_always_the_same():
    shown = [[7, 1, 8, 2, 9]] * 400
    slates = worlds.slates_of(
        shown,
        worlds.histories_of([[1]] * 400),
        starts=list(range(400)),
        strengths=[[1, 1, 3, 1, 0]] * 400,
    )
    first_S4 = slates.targets().items.reshape(400, 4)
    np.testing.assert_array_equal(slates.targets().items.reshape(400, 4), first_S4)
    assert (first_S4[:, 0] == 8).all()
    orders, counts = np.unique(first_S4, axis=0, return_counts=True)
    assert len(orders) == 6 and counts.min() > 400 / 6 / 2
    drawn_S4 = slates.targets().by_strength(7).items.reshape(400, 4)
    assert 0.1 < (drawn_S4 == first_S4).all(axis=1).mean() < 0.25
    part = slates.targets().where(np.array([3, 399])).by_strength(7)
    np.testing.assert_array_equal(part.items.reshape(2, 4), drawn_S4[[3, 399]])


def test_slates_without_a_target_are_left_out():
    slates = worlds.slates_of(
        [[1, 2], [3, 4]], HISTORIES, starts=[0, 0], strengths=[[0, -1], [0, 1]]
    )
    targets = slates.targets()
    assert targets.ids.tolist() == ["s001"]
    assert targets.items.tolist() == [4]
    assert targets.padded(np.array([0])).tolist() == [[4]]
    assert len(slates.targets(minimum_strength=3)) == 0


def test_a_rolling_split_keeps_held_out_days_from_training():
    day = (MAY_DAY - date(1970, 1, 1)).days * DAY // worlds.SECOND
    hour = 3600
    starts = {
        "long ago": day - 40 * 86_400,
        "last of training": day - 2 * 86_400 - hour,
        "into validation": day - 2 * 86_400 - 1,
        "validation": day - 2 * 86_400,
        "into test": day - 86_400 - 1,
        "test": day - 86_400,
        "last of test": day + 86_400 - 2,
        "beyond": day + 86_400 - 1,
    }
    slates = worlds.slates_of([[1, 2]] * 8, HISTORIES, users=[0] * 8, starts=list(starts.values()))
    slates.ids[:] = list(starts)
    split = split_slates_rolling(slates, MAY_DAY, holdout_days=2, validation_days=1)
    assert split.train.ids.tolist() == ["long ago", "last of training"]
    assert split.validation.ids.tolist() == ["validation"]
    assert split.test.ids.tolist() == ["into test", "test", "last of test"]
    assert split.facts["slates_across_borders"] == 1
    assert split.facts["train_until"] == "2024-04-29"
    assert split.facts["validation_until"] == "2024-04-30"


def test_the_last_slate_of_each_user_can_be_held_out():
    slates = worlds.slates_of(
        [[1, 2]] * 6, HISTORIES, users=[0, 0, 0, 0, 1, 1], starts=[30, 10, 20, 0, 5, 6]
    )
    split = split_slates_leave_last_out(slates)
    assert split.test.ids.tolist() == ["s000"]
    assert split.validation.ids.tolist() == ["s002"]
    assert split.train.ids.tolist() == ["s003", "s001", "s004", "s005"]
    assert split.facts["slates_across_borders"] == 0


def test_events_that_a_family_leaves_out_are_missing_from_contexts_only():
    histories = worlds.histories_of([[5, 6, 7, 8]], strengths=[[0, 1, 0, 1]])
    slates = worlds.slates_of([[7, 8], [8, 7], [9, 9]], histories, users=[0] * 3, starts=[2, 3, 4])
    split = split_slates_leave_last_out(slates)
    kept = split.keeping(lambda found: found.strengths > 0)
    parts = (kept.train, kept.validation, kept.test)
    assert [part.position.tolist() for part in parts] == [[1], [1], [2]]
    assert kept.test.histories.items.tolist() == [6, 8]
    assert kept.train.items.tolist() == [7, 8]
