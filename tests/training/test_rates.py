"""rates: what it counts, what it says, and what it is not asked."""

from dataclasses import replace

import numpy as np
import pytest

from tests import worlds
from training import inference
from training.data.queries import queries_of
from training.data.splits import split_leave_last_out, split_random
from training.data.vocabulary import Vocabulary
from training.evaluation.ranking import auc
from training.fit.fitting import Fitting
from training.models import MODELS, weights
from training.models.interface import PAD

FAMILY = MODELS["rates"]


def fitted(items, strengths, **settings):
    histories = worlds.histories_of(items, strengths=strengths)
    split = split_leave_last_out(histories)
    model, report = FAMILY.fit(
        split, FAMILY.configure(settings), Fitting(), Vocabulary(histories.items.max() + 1), {}
    )
    return model, report, split


def test_items_and_people_move_the_odds_by_what_they_have_above_all():
    # In training: item 0 liked by both, item 1 by nobody; four events of which two are positive.
    model, report, _ = fitted([[0, 1, 0, 0], [0, 1, 1, 1]], [[2, 0, 2, 2], [2, 0, 0, 0]])
    assert report.facts["positive_share"] == 0.5
    asked = worlds.histories_of([[0, 0, 0], [1, 1, 1]], strengths=[[2, 2, 0], [0, 0, 0]])
    split = split_leave_last_out(asked)
    [queries] = queries_of(split.test, max_history=5, exclude_seen=False)
    said_BC = inference.rank(model, queries, np.array([[0, 1, 7, PAD], [0, 1, 7, PAD]]))
    odds = lambda share: share / (1 - share)  # noqa: E731
    item = [odds(7 / 12), odds(5 / 12)]  # (2 + 10 * 0.5) / (2 + 10), and (0 + 5) / 12
    person = [odds(7 / 12), odds(5 / 12)]
    expected = [[i * p / (1 + i * p) for i in item] for p in person]
    np.testing.assert_allclose(said_BC[:, :2], expected, rtol=1e-6)
    assert said_BC[:, 2].tolist() == [0.5, 0.5]  # beyond the catalogue: the share of all
    assert np.isnan(said_BC[:, 3]).all()


def test_it_orders_what_people_think_and_is_kept(tmp_path):
    draw = np.random.default_rng(0)
    items = draw.integers(0, 10, (80, 12))
    strengths = np.where((items % 2 == 0) ^ (draw.random(items.shape) < 0.25), 2, 0)
    model, _, split = fitted(items.tolist(), strengths.tolist())
    weights.save(model, tmp_path)
    loaded = weights.load(tmp_path, FAMILY)
    test = split.test
    [queries] = queries_of(test, max_history=50, exclude_seen=False)
    said_B1 = inference.rank(loaded, queries, test.items[:, None])
    np.testing.assert_array_equal(said_B1, inference.rank(model, queries, test.items[:, None]))
    assert auc(said_B1[:, 0], test.histories.strengths[test.events] >= 2) > 0.65
    with pytest.raises(inference.Unanswerable, match="this rates answers feedback, not lists"):
        inference.recommend(loaded, queries, 5)


@pytest.mark.parametrize("strength", [0, 3])
def test_a_log_of_one_kind_of_feedback_says_so_of_everything(strength):
    model, _, split = fitted([[0, 1, 2, 3]] * 3, [[strength] * 4] * 3)
    [queries] = queries_of(split.test, max_history=5, exclude_seen=False)
    said_B1 = inference.rank(model, queries, split.test.items[:, None])
    assert np.isfinite(said_B1).all()
    assert (abs(said_B1 - (strength == 3)) < 0.01).all()


def test_a_random_split_holds_out_a_fifth_of_either_kind_of_everybody():
    draw = np.random.default_rng(3)
    items = draw.integers(0, 50, (60, 40))
    strengths = np.where(draw.random(items.shape) < 0.4, 2, 0)
    histories = worlds.histories_of(items.tolist(), strengths=strengths.tolist())
    split = split_random(histories, positive_strength=2)
    sizes = [split.train.num_events, len(split.validation), len(split.test)]
    assert sum(sizes) == histories.num_events
    assert np.allclose(np.array(sizes) / histories.num_events, [0.7, 0.1, 0.2], atol=0.02)
    for targets in (split.validation, split.test):
        is_positive = histories.strengths[targets.events] >= 2
        for kind in (is_positive, ~is_positive):
            assert len(np.unique(targets.user[kind])) == 60
    held = np.concatenate([split.validation.events, split.test.events])
    assert len(np.unique(held)) == len(held)


def test_chance_is_of_the_event_and_not_of_its_place():
    draw = np.random.default_rng(4)
    items = draw.integers(0, 50, (30, 20)).tolist()
    strengths = np.where(draw.random((30, 20)) < 0.5, 2, 0).tolist()
    here = worlds.histories_of(items, strengths=strengths)
    there = replace(
        worlds.histories_of(items[::-1], strengths=strengths[::-1]),
        user_ids=here.user_ids[::-1].copy(),
    )

    def tested(histories):
        test = split_random(histories, positive_strength=2).test
        users = histories.user_ids[test.user]
        return set(zip(users, test.items.tolist(), test.times.tolist(), strict=True))

    assert len(tested(here)) > 100
    assert tested(here) == tested(there)
