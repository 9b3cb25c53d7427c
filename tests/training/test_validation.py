import numpy as np
import pytest

from tests import worlds
from training.data.queries import queries_of
from training.data.splits import split_leave_last_out
from training.evaluation.ranking import auc, auc_influences
from training.fit.validation import CUTOFF, popularity_gains, standard_error
from training.models.popularity.model import Popularity
from training.settings.families import PopularityConfig


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_popularitys_gains_are_those_of_the_family(exclude_seen):
    for world in (worlds.crowd(num_items=40), worlds.tribes()):
        targets = world.split.validation
        counts_V = np.bincount(world.split.train.items)
        model = Popularity(counts_V.astype(float), PopularityConfig())
        expected = []
        for queries in queries_of(targets, max_history=5, exclude_seen=exclude_seen):
            item_B1 = targets.items[len(expected) :][: len(queries), None]
            items_Bk = model.recommend(queries, CUTOFF).items_Bk
            expected += ((items_Bk == item_B1) / np.log2(np.arange(2, CUTOFF + 2))).sum(1).tolist()
        found = popularity_gains(counts_V, targets, exclude_seen=exclude_seen)
        assert found == pytest.approx(np.array(expected))
        assert found.sum() > 0


def test_an_item_that_nobody_had_in_training_is_in_no_list():
    histories = worlds.histories_of([[0, 1, 5, 2], [0, 1, 2, 1], [0, 2, 6, 1]])
    split = split_leave_last_out(histories)
    found = popularity_gains(np.bincount(split.train.items), split.validation, exclude_seen=True)
    assert split.validation.items.tolist() == [5, 2, 6]
    assert found.tolist() == [0.0, 1.0, 0.0]


def test_the_standard_error_is_that_of_drawing_people_again():
    random = np.random.default_rng(0)
    user_T = np.repeat(np.arange(400), random.integers(1, 9, 400))
    gain_T = random.random(len(user_T)) * random.random(400)[user_T]
    means = []
    for _ in range(2000):
        weight_U = np.bincount(random.integers(400, size=400), minlength=400)
        means.append((weight_U[user_T] * gain_T).sum() / weight_U[user_T].sum())
    found = standard_error(gain_T - gain_T.mean(), user_T)
    assert found == pytest.approx(np.std(means), rel=0.06)
    # As if all events were draws of their own it would be too small.
    assert gain_T.std() / np.sqrt(len(gain_T)) < 0.9 * found


def test_the_standard_error_of_auc_is_that_of_drawing_people_again():
    random = np.random.default_rng(1)
    user_T = np.repeat(np.arange(300), 4)
    score_T = (random.standard_normal(1200) + random.standard_normal(300)[user_T]).round(1)
    label_T = random.random(1200) < 1 / (1 + np.exp(-score_T))
    values = []
    for _ in range(500):
        rows = (4 * random.integers(300, size=300)[:, None] + np.arange(4)).ravel()
        values.append(auc(score_T[rows], label_T[rows]))
    influence_T = auc_influences(score_T, label_T)
    assert influence_T.sum() == pytest.approx(0, abs=1e-8)
    assert standard_error(influence_T, user_T) == pytest.approx(np.std(values), rel=0.1)


def test_one_person_has_no_standard_error():
    assert np.isnan(standard_error(np.zeros(3), np.zeros(3)))
