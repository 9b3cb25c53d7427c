from math import log

import pytest

from tests.evaluation_records import board, comparison, entrant, evaluation
from training.evaluation.shares import chance_of, in_words, is_loss_above, share_of


def measured(metric, difference, *, theirs_at, base_rate=0.2):
    """The challenger against the champion by one metric, and the evaluation that has it."""
    row = comparison("tiger", "champion", metric, difference, theirs_at=theirs_at)
    entrants = {
        label: entrant(label, feedback=board({}, base_rate=base_rate))
        for label in ("tiger", "champion")
    }
    return evaluation(entrants, [row]), row


ENTROPY = -(0.2 * log(0.2) + 0.8 * log(0.8))


@pytest.mark.parametrize(
    ("metric", "chance"),
    [("ndcg@10", 0.0), ("mrr", 0.0), ("slate_ndcg@5", 0.0), ("auc", 0.5), ("gauc", 0.5),
     ("logloss", ENTROPY), ("ece", 0.2)],
)  # fmt: skip
def test_chance_is_what_an_answer_gets_that_knows_nothing(metric, chance):
    assert chance_of(*measured(metric, (0, 0, 0), theirs_at=0.6)) == pytest.approx(chance)


@pytest.mark.parametrize("base_rate", [0.0, 1.0])
def test_labels_of_one_kind_are_guessed_without_a_loss(base_rate):
    assert chance_of(*measured("logloss", (0, 0, 0), theirs_at=0.6, base_rate=base_rate)) == 0


def test_half_of_what_an_auc_knows_is_half_and_no_twelfth():
    found = measured("auc", (-0.07, -0.05, -0.03), theirs_at=0.6)
    assert share_of(*found).point == pytest.approx(-0.5)
    assert is_loss_above(*found, 0.49) and not is_loss_above(*found, 0.51)
    assert "0.5500 against 0.6000, -50.0% of its lead over 0.5000 by chance" in in_words(*found)


def test_a_loss_of_log_loss_is_a_share_of_what_is_below_the_best_guess():
    lead = ENTROPY - 0.4
    found = measured("logloss", (0.0, lead / 10, lead / 5), theirs_at=0.4)
    share = share_of(*found)
    assert (share.low, share.point, share.high) == pytest.approx((-0.2, -0.1, 0.0))
    assert is_loss_above(*found, 0.09) and not is_loss_above(*found, 0.11)


def test_a_list_is_worth_all_of_its_value():
    found = measured("ndcg@10", (-0.03, -0.02, -0.01), theirs_at=0.2)
    assert share_of(*found).point == pytest.approx(-0.1)
    assert is_loss_above(*found, 0.09) and not is_loss_above(*found, 0.11)
    assert "0.1800 against 0.2000, -10.0% (difference" in in_words(*found)


def test_who_is_no_better_than_chance_may_lose_nothing():
    found = measured("auc", (-0.02, -0.01, 0.0), theirs_at=0.5)
    assert share_of(*found) is None
    assert is_loss_above(*found, 0.5)
    assert "which is no better than 0.5000 by chance" in in_words(*found)
    zero = measured("ndcg@10", (0.0, 0.0, 0.0), theirs_at=1e-9)
    assert not is_loss_above(*zero, 0.0)
