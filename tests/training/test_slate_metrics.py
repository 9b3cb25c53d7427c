import math

import numpy as np
import pytest

from tests import worlds
from training.evaluation.slate import (
    coverage,
    intra_list_similarity,
    per_user,
    recommended_slates,
    repeats,
    slate_metrics,
)
from training.models.interface import PAD
from training.models.popularity.model import Popularity
from training.settings.families import PopularityConfig

HISTORIES = worlds.histories_of([[1], [2], [3]])


def engaged(*items, **strengths):
    return worlds.slates_of(list(items), HISTORIES, starts=[0] * len(items), **strengths)


def test_a_slate_by_hand():
    found = slate_metrics(np.array([[3, 8, 1]]), engaged([1, 8, 9]), (1, 2, 3))
    assert found["hit@1"].tolist() == [0.0]
    assert found["hit@2"].tolist() == found["hit@3"].tolist() == [1.0]
    assert found["recall@2"].tolist() == [1 / 3]
    assert found["recall@3"].tolist() == [2 / 3]
    gain = 1 / math.log2(3) + 1 / 2
    assert found["ndcg@3"][0] == pytest.approx(gain / (1 + gain))
    assert found["ndcg@2"][0] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))


def test_a_graded_gain_by_hand():
    wanted = engaged([1, 8, 9, 5], strengths=[[1, 3, 1, -1]])
    found = slate_metrics(np.array([[3, 8, 1]]), wanted, (1, 2, 3))
    gain, best = 8 / math.log2(3) + 2 / 2, 8 + 2 / math.log2(3) + 2 / 2
    assert found["gndcg@1"].tolist() == [0.0]
    assert found["gndcg@2"][0] == pytest.approx(8 / math.log2(3) / (8 + 2 / math.log2(3)))
    assert found["gndcg@3"][0] == pytest.approx(gain / best)


def test_stronger_feedback_first_is_what_a_graded_gain_rewards():
    shown = engaged([4, 6, 7], [4, 6, 7], [4, 6, 7], strengths=[[2, 3, 2]] * 3)
    found = slate_metrics(np.array([[6, 4, 7], [6, 7, 4], [4, 6, 7]]), shown, (3,))
    assert found["ndcg@3"].tolist() == pytest.approx([1.0] * 3)
    assert found["gndcg@3"][:2].tolist() == pytest.approx([1.0] * 2)
    assert found["gndcg@3"][2] < 0.9


def test_the_right_items_first_are_perfect_however_few_they_are():
    said = np.array([[4, 0, 1, 2, 3], [5, 6, 7, 8, 9]])
    found = slate_metrics(said, engaged([4], [9, 8, 7, 6, 5, 4]), (5,))
    assert found["ndcg@5"].tolist() == pytest.approx([1.0, 1.0])
    assert found["recall@5"].tolist() == [1.0, 5 / 6]


def test_empty_places_are_no_hits_and_slates_are_not_mixed_up():
    said = np.array([[7, PAD], [1, 2], [PAD, PAD]])
    found = slate_metrics(said, engaged([1, 2], [7, 2], [0]), (2,))
    assert found["recall@2"].tolist() == [0.0, 0.5, 0.0]


def test_an_item_shown_twice_is_wanted_once():
    twice = engaged([1, 1, 2], strengths=[[1, 3, 2]])
    found = slate_metrics(np.array([[1, 2]]), twice, (2,))
    assert found["recall@2"].tolist() == found["ndcg@2"].tolist() == [1.0]
    assert found["gndcg@2"].tolist() == [1.0]


def test_what_can_not_be_measured_is_refused():
    with pytest.raises(ValueError, match="1 slates were said, 2 were shown"):
        slate_metrics(np.array([[1, 2]]), engaged([1], [2]), (1,))
    with pytest.raises(ValueError, match=r"cutoffs \[5\] look beyond 2 places"):
        slate_metrics(np.array([[1, 2]]), engaged([1]), (5,))
    with pytest.raises(ValueError, match="1 slates were not engaged with: there is no right item"):
        slate_metrics(np.array([[1, 2], [1, 2]]), engaged([1], []), (1,))


def test_no_slates_have_no_values():
    found = slate_metrics(np.empty((0, 5), dtype=np.int32), engaged(), (5,))
    assert found["ndcg@5"].shape == found["gndcg@5"].shape == (0,)


def test_similarity_within_slates_by_hand():
    vectors = np.array([[2.0, 0], [0, 3], [1, 1], [0, 0]])
    said = np.array([[0, 1, 2], [0, PAD, PAD], [0, 3, 1], [0, 2, PAD], [0, 99, 1]])
    found = intra_list_similarity(said, vectors)
    half = math.sqrt(0.5)
    expected = [2 * half / 3, math.nan, 0.0, half, 0.0]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_coverage_and_repeats():
    said = np.array([[0, 1, 1], [1, 2, PAD], [0, 0, 0]])
    assert coverage(said, 10) == 0.3
    assert repeats(said) == 3 / 8
    assert repeats(np.empty((0, 3), dtype=np.int32)) == 0.0


def test_users_are_means_of_their_slates():
    values = {"hit": np.array([1.0, 0.0, 1.0]), "similarity": np.array([np.nan, 0.5, np.nan])}
    users, means = per_user(values, np.array([7, 3, 7]))
    assert users.tolist() == [3, 7]
    assert means["hit"].tolist() == [0.0, 1.0]
    np.testing.assert_array_equal(means["similarity"], [0.5, np.nan])


def test_any_family_is_asked_for_slates():
    histories = worlds.histories_of([[4, 4], [1]])
    slates = worlds.slates_of([[4, 5], [2, 3]], histories, starts=[2, 0])
    model = Popularity(np.array([0.0, 5, 4, 3, 9, 1]), PopularityConfig())
    said = recommended_slates(model, slates, 3, max_history=5, exclude_seen=True)
    assert said.tolist() == [[1, 2, 3], [4, 1, 2]]
    assert recommended_slates(
        model, slates.where([]), 3, max_history=5, exclude_seen=True
    ).shape == (0, 3)
