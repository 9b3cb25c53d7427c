from dataclasses import replace

import pytest

from tests.evaluation_records import board, comparison, entrant, evaluation
from training.evaluation.champion_alarms import champion_alarms
from training.evaluation.record import CHAMPION, PRETRAINED, REFERENCE

SAME, BETTER, WORSE = (-0.01, 0.0, 0.01), (0.0006, 0.0025, 0.0043), (-0.05, -0.04, -0.03)


def alarms(found, *, labels=("item_knn", "popularity"), budget=0.05, **changes):
    """Of a champion that others are compared with, or that is compared with the reference."""
    entrants = {label: entrant(label) for label in ("tiger", *labels, REFERENCE)}
    entrants[CHAMPION] = replace(entrant(CHAMPION, family="unigrf"), day="1998-04-19")
    rows = [
        comparison(*pair, "ndcg@10", difference, theirs_at=0.04)
        for pair, difference in found.items()
    ]
    facts = evaluation(entrants, rows, baselines=labels, **changes)
    return champion_alarms(facts, floor="popularity", budget=budget)


def test_a_champion_behind_popularity_beyond_chance_is_told_with_numbers():
    [told] = alarms({("popularity", CHAMPION): BETTER, ("item_knn", CHAMPION): SAME})
    assert told == (
        "the champion (unigrf of 1998-04-19) is worse than popularity beyond chance: popularity "
        "against champion, ndcg@10: 0.0425 against 0.0400, +6.2% (difference +0.0025, interval "
        "+0.0006 to +0.0043, 200 users)"
    )


def test_the_best_of_those_that_beat_it_is_told_and_the_others_are_named():
    more = (0.003, 0.004, 0.005)
    [told] = alarms({("popularity", CHAMPION): BETTER, ("item_knn", CHAMPION): more})
    assert "is worse than item_knn" in told and told.endswith("; popularity is better, too")


@pytest.mark.parametrize(
    "found",
    [
        {},
        {("popularity", CHAMPION): SAME, ("item_knn", CHAMPION): WORSE},
        {("tiger", CHAMPION): BETTER},  # a challenger is judged by the gate
        {(PRETRAINED, CHAMPION): BETTER},
    ],
)
def test_a_champion_that_nobody_beats_raises_no_alarm(found):
    assert alarms(found, labels=("item_knn", "popularity", PRETRAINED)) == []


def test_the_floor_judges_though_it_be_no_baseline():
    assert alarms({("popularity", CHAMPION): BETTER}, labels=())


def test_less_log_loss_beats_a_champion():
    entrants = {
        label: entrant(label, feedback=board({}, base_rate=0.5))
        for label in ("tiger", "item_knn", CHAMPION)
    }
    row = comparison("item_knn", CHAMPION, "logloss", (-0.03, -0.02, -0.01), theirs_at=0.6)
    facts = evaluation(entrants, [row], baselines=("item_knn",), primary_metric="logloss")
    assert len(champion_alarms(facts, floor="popularity", budget=None)) == 1


@pytest.mark.parametrize(
    ("difference", "budget", "count"),
    [
        ((-0.006, -0.004, -0.002), 0.05, 1),
        ((-0.009, -0.004, 0.001), 0.05, 0),  # perhaps luck
        ((-0.003, -0.001, -0.0005), 0.05, 0),  # within the budget
        ((-0.006, -0.004, -0.002), None, 0),
    ],
)
def test_a_champion_that_lost_more_than_the_budget_to_the_reference_is_told(
    difference, budget, count
):
    told = alarms({(CHAMPION, REFERENCE): difference}, budget=budget)
    assert len(told) == count
    assert all("has lost more than 5.0% to the reference" in text for text in told)


def test_there_is_no_alarm_without_a_champion():
    first = evaluation({"tiger": entrant("tiger")})
    assert champion_alarms(first, floor="popularity", budget=0.05) == []
