from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from tests import worlds
from tests.suites.recommender import RecommenderSuite, hit_rate
from training import inference
from training.data.splits import DAY
from training.fit.fitting import Fitting
from training.models.interface import PAD, Queries
from training.models.item_knn import model as item_knn
from training.models.popularity import model as popularity
from training.models.popularity.fit import fit as fit_popularity

# The package's `fit` is the function of this module, so that its name gives no module.
item_knn_fit = import_module("training.models.item_knn.fit")


class TestPopularity(RecommenderSuite):
    family = "popularity"


class TestItemKnn(RecommenderSuite):
    family = "item_knn"


def everything(world):
    """Queries of all test targets."""
    test = world.split.test
    return Queries.at(test.histories, test.user, test.position, max_history=50, exclude_seen=True)


def test_popularity_is_the_answer_where_everybody_wants_the_same():
    world = worlds.crowd()
    model, _ = fit_popularity(
        world.split, popularity.PopularityConfig(), Fitting(), world.vocabulary
    )
    assert hit_rate(model, world.split.test) == pytest.approx(world.best_hit_rate, abs=0.06)


def test_old_events_count_less_by_their_half_life():
    split = worlds.crowd(num_users=3).split
    train = worlds.histories_of([[0, 0, 0], [1, 1]])
    times = np.array([0, 0, 0, 2 * DAY, 2 * DAY])
    split = replace(split, train=replace(train, times=times))
    scores = popularity.popularity_scores(split, 3, half_life_days=1.0)
    assert scores.tolist() == [0.75, 2.0, 0.0]


def test_equal_counts_are_ordered_by_item():
    model = popularity.Popularity(np.array([1.0, 5.0, 1.0, 1.0]), popularity.PopularityConfig())
    histories = worlds.histories_of([[2]])
    queries = Queries.at(histories, np.array([0]), np.array([1]), max_history=5, exclude_seen=True)
    assert inference.recommend(model, queries, 4).items_Bk.tolist() == [[1, 0, 3, PAD]]


def test_popularity_in_chunks_is_popularity_at_once(monkeypatch):
    world = worlds.crowd()
    model, _ = fit_popularity(
        world.split, popularity.PopularityConfig(), Fitting(), world.vocabulary
    )
    whole = inference.recommend(model, everything(world), 7)
    monkeypatch.setattr(popularity, "CHUNK_CELLS", 100)
    np.testing.assert_array_equal(
        whole.items_Bk, inference.recommend(model, everything(world), 7).items_Bk
    )


def slow_similarity(sequences, num_items, shrinkage):
    """Cosine of items by a loop over pairs of sets."""
    people = [{u for u, s in enumerate(sequences) if i in s} for i in range(num_items)]
    result = np.zeros((num_items, num_items))
    for i in range(num_items):
        for j in range(num_items):
            if i != j:
                size = np.sqrt(len(people[i]) * len(people[j]))
                result[i, j] = len(people[i] & people[j]) / (size + shrinkage)
    return result


@pytest.mark.parametrize("cells", [8_000_000, 64])
def test_item_knn_agrees_with_a_slow_reference_in_chunks_of_any_size(monkeypatch, cells):
    monkeypatch.setattr(item_knn, "CHUNK_CELLS", cells)
    monkeypatch.setattr(item_knn_fit, "CHUNK_CELLS", cells)
    world = worlds.tribes(num_users=40)
    config = item_knn.ItemKnnConfig(neighbours=36, shrinkage=2.0, recency_decay=0.5)
    model, _ = item_knn_fit.fit(world.split, config, Fitting(), world.vocabulary)
    train = world.split.train
    sequences = [
        train.items[start:stop].tolist()
        for start, stop in zip(train.offsets[:-1], train.offsets[1:], strict=True)
    ]
    similarity = slow_similarity(sequences, 36, 2.0)
    queries = everything(world)
    answer = inference.recommend(model, queries, 36)
    for row, length in enumerate(queries.lengths_B):
        scores = model.popularity_V.astype(float).copy()
        for age in range(length):
            scores += 0.5**age * similarity[queries.items_BL[row, length - 1 - age]]
        offered = answer.items_Bk[row] != PAD
        np.testing.assert_allclose(
            answer.scores_Bk[row, offered], scores[answer.items_Bk[row, offered]], rtol=1e-5
        )


def test_item_knn_finds_the_tribe_that_popularity_cannot_see():
    world = worlds.tribes()
    knn, _ = item_knn_fit.fit(world.split, item_knn.ItemKnnConfig(), Fitting(), world.vocabulary)
    floor, _ = fit_popularity(
        world.split, popularity.PopularityConfig(), Fitting(), world.vocabulary
    )
    left = 12 - 7  # items of the tribe that the user has not met
    assert hit_rate(knn, world.split.test, k=left, exclude_seen=True) == 1.0
    assert hit_rate(floor, world.split.test, k=left, exclude_seen=True) < 0.6


def test_only_the_most_recent_items_of_a_heavy_user_make_pairs():
    split = worlds.crowd(num_users=3).split
    split = replace(split, train=worlds.histories_of([[0, 1, 2]]))
    config = item_knn.ItemKnnConfig(neighbours=3, shrinkage=0.0, max_user_items=2)
    model, _ = item_knn_fit.fit(split, config, Fitting(), worlds.Vocabulary(3))
    assert model.similarities_Vn.sum(1).tolist() == [0.0, 1.0, 1.0]
