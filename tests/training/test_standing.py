"""Standings, and who is the reference by them."""

from dataclasses import replace

import pytest

from tests.evaluation_records import comparison, entrant, evaluation
from training.evaluation.record import CHAMPION, REFERENCE
from training.evaluation.standing import judge_of, standing_after
from training.programs.reference import by_standing, level_of
from training.registry.records import Move, Version, served, withdrawn


def against(judge, difference):
    entrants = {label: entrant(label) for label in ("tiger", CHAMPION, judge)}
    return evaluation(entrants, [comparison("tiger", judge, "ndcg@10", difference)])


@pytest.mark.parametrize(
    ("difference", "level"),
    [
        ((0.01, 0.02, 0.03), 2.2),  # 10 % more beyond chance
        ((-0.01, 0.02, 0.05), 2.0),  # perhaps luck: no gain
        ((-0.03, -0.01, 0.01), 1.9),  # a loss counts, sure or not
    ],
)
def test_a_standing_is_the_judges_times_what_was_measured(difference, level):
    for judge in (CHAMPION, REFERENCE):
        found = standing_after(against(judge, difference), "tiger", 2.0)
        assert found.level == pytest.approx(level)
        assert (found.digest, found.metric) == ("digest of tiger", "ndcg@10")


def test_the_reference_judges_where_there_is_one_and_nobody_judges_the_first():
    facts = against(REFERENCE, (0.0, 0.0, 0.0))
    assert judge_of(facts) == REFERENCE
    first = replace(facts, entrants={"tiger": entrant("tiger")})
    assert judge_of(first) is None
    assert standing_after(first, "tiger", 1.0).level == 1.0


def version(number, verdicts=()):
    found = {
        day: {"standing": {"digest": f"d{number}", "metric": metric, "level": level}}
        for day, metric, level in verdicts
    }
    return Version(
        number=number, run_id="", day="", family="tiger", digest=f"d{number}", aliases=(),
        verdicts=found,
    )  # fmt: skip


def test_the_best_is_first_and_of_equals_the_oldest():
    versions = [
        version(1),
        version(2, [("2024-01-02", "ndcg@10", 0.97)]),
        version(3, [("2024-01-03", "ndcg@10", 1.0)]),
        version(4, [("2024-01-04", "auc", 3.0)]),
        version(5, [("2024-01-05", "ndcg@10", 0.8), ("2024-01-06", "ndcg@10", 1.1)]),
    ]
    assert [one.number for one in by_standing(versions, "ndcg@10")] == [5, 1, 3, 4, 2]


def test_a_verdict_about_another_bundle_is_not_this_ones_standing():
    baseline = {"standing": {"digest": "another", "metric": "ndcg@10", "level": 2.0}}
    assert level_of(replace(version(1), verdicts={"2024-01-01": baseline}), "ndcg@10") == 1.0


def move(day, number, before=None, kind="promote"):
    return Move(
        kind=kind, day=day, from_version=before, to_version=number, digest="", reason="",
        milliseconds=0, finished=True,
    )  # fmt: skip


MOVES = [
    move("2024-01-01", 1),
    move("2024-01-10", 2, 1),
    move("2024-02-01", 3, 2),
    move("2024-02-01", 2, 3, "rollback"),
    move("2024-03-01", 4, 2),
]


@pytest.mark.parametrize(
    ("since", "until", "numbers"),
    [
        ("2024-01-01", "2024-03-02", [1, 2, 3, 4]),
        ("2024-01-11", "2024-03-02", [2, 3, 4]),  # 2 served until 3 came
        ("2024-02-15", "2024-02-20", [2]),
        ("2024-03-15", "2024-03-20", [4]),
        ("2023-12-01", "2023-12-31", []),
    ],
)
def test_who_served_in_some_days(since, until, numbers):
    assert served(MOVES, since, until) == numbers


def test_who_was_rolled_back_is_withdrawn_until_somebody_promotes_it():
    assert withdrawn(MOVES) == {3}
    assert withdrawn([*MOVES, move("2024-03-02", 3, 4)]) == set()
