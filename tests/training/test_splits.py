from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from feature_store.held_out import HeldOut, log_days, rolling_windows
from tests import worlds
from training.data.splits import (
    DAY,
    fit_facts,
    split_leave_last_out,
    split_rolling,
)

START = (date(2024, 1, 1) - date(1970, 1, 1)).days * DAY


def histories_on_days(sequences):
    """Histories of (item, day of January 2024) pairs, each at noon."""
    histories = worlds.histories_of([[item for item, _ in sequence] for sequence in sequences])
    days = [day for sequence in sequences for _, day in sequence]
    return replace(histories, times=START + (np.array(days) - 1) * DAY + DAY // 2)


LOG = [
    [(0, 1), (1, 2), (2, 5), (3, 8), (4, 9), (5, 10)],
    [(1, 1), (6, 10)],
    [(0, 9), (2, 10), (7, 11)],
]


def rolling(histories, **changes):
    settings = {"holdout_days": 2, "validation_days": 4, **changes}
    return split_rolling(histories, date(2024, 1, 10), **settings)


def pairs(targets):
    return list(zip(targets.user.tolist(), targets.items.tolist(), strict=True))


def test_rolling_trains_on_nothing_of_the_held_out_days():
    split = rolling(histories_on_days(LOG))
    assert split.train.items.tolist() == [0, 1, 1]
    assert pairs(split.validation) == [(0, 2), (0, 3)]
    assert pairs(split.test) == [(0, 4), (0, 5), (1, 6), (2, 0), (2, 2)]
    assert split.train.times.max() < START + 4 * DAY <= split.validation.times.min()
    assert split.validation.times.max() < START + 8 * DAY <= split.test.times.min()


def test_rolling_predicts_from_all_events_before_held_out_ones_included():
    split = rolling(histories_on_days(LOG))
    test = split.test
    assert test.position.tolist() == [4, 5, 1, 0, 1]
    assert test.histories.items[test.events].tolist() == test.items.tolist()


def test_rolling_knows_nothing_after_the_day():
    split = rolling(histories_on_days(LOG))
    assert 7 not in split.test.histories.items
    assert split.facts["train_until"] == "2024-01-05"
    assert split.facts["validation_until"] == "2024-01-09"


@pytest.mark.parametrize(
    ("days", "windows"), [(1, (1, 1)), (3, (1, 1)), (10, (2, 1)), (20, (4, 2)), (212, (28, 14))]
)
def test_windows_that_the_preset_leaves_open_follow_from_the_length_of_the_log(days, windows):
    histories = histories_on_days([[(0, 1), (1, days)]])
    last = date(2024, 1, 1) + timedelta(days - 1)
    first = histories.first_time
    assert log_days(first, last) == days
    assert rolling_windows(first, last, HeldOut()) == windows
    assert rolling_windows(first, last, HeldOut(holdout_days=7)) == (7, 3)
    assert rolling_windows(first, last, HeldOut(validation_days=5)) == (windows[0], 5)


def test_a_log_of_three_days_leaves_a_day_to_learn_from():
    histories = histories_on_days([[(0, 1), (1, 2), (2, 3)]])
    last = date(2024, 1, 3)
    held_out, validate = rolling_windows(histories.first_time, last, HeldOut())
    split = split_rolling(histories, last, holdout_days=held_out, validation_days=validate)
    assert (split.train.num_events, len(split.validation), len(split.test)) == (1, 1, 1)


def test_midnight_belongs_to_the_day_that_begins():
    histories = histories_on_days([[(0, 1), (1, 9)]])
    midnight = replace(histories, times=np.array([START, START + 8 * DAY]))
    assert pairs(rolling(midnight).test) == [(0, 1)]
    before = replace(histories, times=np.array([START, START + 8 * DAY - 1]))
    assert pairs(rolling(before).test) == []
    assert pairs(rolling(before).validation) == [(0, 1)]


def test_only_the_most_recent_targets_of_a_user_are_kept():
    split = rolling(histories_on_days(LOG), max_targets_per_user=1)
    assert pairs(split.test) == [(0, 5), (1, 6), (2, 2)]
    assert split.test.position.tolist() == [5, 1, 1]


def test_what_stops_a_fit_does_not_hang_on_how_many_targets_are_asked_afterwards():
    one, all_of_them = (rolling(histories_on_days(LOG), max_targets_per_user=n) for n in (1, 9))
    assert pairs(one.validation) == pairs(all_of_them.validation)
    assert fit_facts(one.facts) == fit_facts(all_of_them.facts)
    sixty = histories_on_days([[(number, 6) for number in range(60)]])
    assert pairs(rolling(sixty).validation) == [(0, number) for number in range(10, 60)]


def test_weak_events_are_context_and_no_target():
    histories = histories_on_days(LOG)
    strengths = np.where(histories.items == 5, -1, 1).astype(np.int8)
    split = rolling(replace(histories, strengths=strengths), target_minimum_strength=0)
    assert pairs(split.test) == [(0, 4), (1, 6), (2, 0), (2, 2)]
    assert 5 in split.test.histories.items


def test_slices_tell_new_items_and_light_users():
    split = rolling(histories_on_days(LOG), light_user_events=1)
    assert split.test.slices["new_items"].tolist() == [True, True, True, False, True]
    assert split.test.slices["light_users"].tolist() == [False, False, True, True, True]
    assert split.test.slices["heavy_users"].tolist() == [True, True, False, False, False]
    assert split.facts["test_new_item_targets"] == 4


def test_leave_last_out_takes_the_last_two_events_of_users_with_three():
    split = split_leave_last_out(worlds.histories_of([[0, 1, 2, 3], [4, 5], [6, 7, 8], []]))
    assert pairs(split.test) == [(0, 3), (2, 8)]
    assert pairs(split.validation) == [(0, 2), (2, 7)]
    assert split.test.position.tolist() == [3, 2]
    assert split.train.items.tolist() == [0, 1, 4, 5, 6]
    assert split.facts["users_without_targets"] == 2
    assert split.facts["test_targets"] == 2


def test_a_weak_last_event_is_dropped_and_not_replaced():
    histories = worlds.histories_of([[0, 1, 2, 3], [4, 5, 6]])
    strengths = np.where(histories.items == 3, -1, 1).astype(np.int8)
    histories = replace(histories, strengths=strengths)
    split = split_leave_last_out(histories, target_minimum_strength=0)
    assert pairs(split.test) == [(1, 6)]
    assert split.train.items.tolist() == [0, 1, 4]


@pytest.mark.parametrize("chosen", [{0, 2, 4}, {1, 3, 5, 6}, set(range(9)), set()])
def test_keeping_some_items_keeps_who_is_held_out(chosen):
    split = rolling(histories_on_days(LOG))
    kept = split.keeping(lambda histories: np.isin(histories.items, list(chosen)))
    for before, after in ((split.validation, kept.validation), (split.test, kept.test)):
        assert pairs(after) == [pair for pair in pairs(before) if pair[1] in chosen]
        for user, position in zip(after.user, after.position, strict=True):
            start = after.histories.offsets[user]
            context = after.histories.items[start : start + position].tolist()
            assert set(context) <= chosen
    assert set(kept.train.items.tolist()) == set(split.train.items.tolist()) & chosen
    assert len(kept.test.slices["new_items"]) == len(kept.test)


def test_nothing_at_all_splits_into_nothing():
    split = rolling(histories_on_days([]))
    assert (len(split.test), len(split.validation), split.train.num_events) == (0, 0, 0)
