"""GAUC of people by their history, and the gap, with the draws of the whole board."""

import numpy as np
import pytest

from tests import worlds
from training.evaluation.ranking import Predictions
from training.experiments.cells import read_strata, rows_of, sample_of, write_measured
from training.experiments.strata import METRICS, gauc_by_history


@pytest.fixture
def answers():
    """Three light people, two middle ones, one frequent: 40 events of each are asked about."""
    draw = np.random.default_rng(0)
    label = draw.random(240) < 0.5
    said = np.where(draw.random(240) < 0.7, label, ~label) * 0.5 + draw.random(240) * 0.4
    return Predictions(np.repeat(np.arange(6), 40), label, said)


@pytest.fixture
def found(answers):
    lengths = [0, 3, 20, 21, 50, 51]
    return gauc_by_history(answers, worlds.histories_of([[0] * n for n in lengths]), 20)


def test_each_group_has_the_gauc_of_its_people(answers, found):
    points = found.points()
    assert tuple(points) == METRICS
    groups = {"gauc_light": [0, 1, 2], "gauc_middle": [3, 4], "gauc_frequent": [5]}
    for name, users in groups.items():
        own = answers.where(np.isin(answers.user_T, users))
        assert points[name] == pytest.approx(own.points()["gauc"])
    assert points["cold_gap"] == pytest.approx(points["gauc_frequent"] - points["gauc_light"])
    assert found.point("cold_gap") == points["cold_gap"]


def test_a_draw_of_people_is_one_of_every_group(found):
    drawn = found.replicates(np.array([[1.0, 0, 0, 2, 0, 3], [0, 2, 1, 0, 1, 0]]))
    assert drawn["cold_gap"][0] == pytest.approx(drawn["gauc_frequent"][0] - drawn["gauc_light"][0])
    assert np.isnan(drawn["gauc_frequent"][1]) and np.isnan(drawn["cold_gap"][1])


def test_it_is_kept_beside_the_board_and_read_back(answers, found, tmp_path):
    write_measured(tmp_path, answers, {}, found)
    assert read_strata(tmp_path).points() == found.points()
    assert sample_of(rows_of(found)).points() == found.points()
    assert read_strata(tmp_path / "nowhere") is None
