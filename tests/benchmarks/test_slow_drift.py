"""A chain of challengers that are each a little worse is bounded; one of equals is not hindered."""

import numpy as np
import pytest

from benchmarks.slow_drift import STEPS, Chain, measure, simulated
from feature_store.settings import Settings
from tests.evaluation_records import comparison, entrant, evaluation
from training.config import Gate
from training.evaluation.gate import decide
from training.evaluation.record import CHAMPION, REFERENCE
from training.programs.reference import by_standing

GATE = Gate(guard_metrics=())


def measured_chain(steps, *, has_reference):
    """Values of the champions when each challenger is measured 4 % below the one before it."""
    values = [0.2]
    for _ in range(steps):
        value, judges = values[-1] * 0.96, {CHAMPION: values[-1]}
        if has_reference and len(values) > 1:
            judges[REFERENCE] = values[0]
        rows = [
            comparison("tiger", judge, "ndcg@10", difference(value - theirs), theirs_at=theirs)
            for judge, theirs in judges.items()
        ]
        entrants = {label: entrant(label) for label in ("tiger", *judges)}
        if decide(evaluation(entrants, rows, baselines=()), GATE).promoted:
            values.append(value)
    return values


def difference(point):
    """An interval that just reaches 0."""
    return 2 * point - 0.0001, point, 0.0001


def test_thirty_steps_of_four_percent_were_all_promoted_and_now_one_is():
    before = measured_chain(30, has_reference=False)
    assert len(before) == 31 and before[-1] / before[0] < 0.3
    now = measured_chain(30, has_reference=True)
    assert [round(value / 0.2, 2) for value in now] == [1.0, 0.96]


def test_the_reference_bounds_a_loss_of_one_percent_a_step():
    alone = simulated(-0.01, 2, 60, None)
    bounded = simulated(-0.01, 2, 60, GATE)
    assert alone["lost"] > 0.3
    assert bounded["lost"] < 0.2


def test_equal_challengers_are_promoted_almost_as_often():
    refused = [simulated(0.0, 2, 60, gate)["refused"] for gate in (None, GATE)]
    assert refused[1] - refused[0] < 0.15


def test_a_better_challenger_is_not_hindered_and_becomes_the_reference():
    chain = Chain(np.random.default_rng(0), GATE)
    for night in range(4):
        chain.night(night, 0.3)
    assert len(chain.moves) == 5
    best = by_standing(chain.versions.values(), "ndcg@10")[0].number
    assert best == chain.moves[-1].to_version


def test_the_quick_measure_has_all_parts(tmp_path):
    found = measure(Settings(home=tmp_path), quick=True)
    assert (found["name"], found["unit"]) == ("slow_drift", "share lost")
    assert set(found["parts"]) == set(STEPS)
    assert found["ours"] == pytest.approx(found["parts"]["1% worse"]["with the reference"]["lost"])
