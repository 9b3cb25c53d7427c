import numpy as np
import pytest

from training.evaluation.ranking import (
    Predictions,
    auc,
    bins_of,
    calibration_curve,
    calibration_error,
    log_loss,
    normalised_entropy,
    user_auc,
)


def slow_auc(score, label):
    """Every pair by hand."""
    won = [1.0 if p > n else 0.5 if p == n else 0.0 for p in score[label] for n in score[~label]]
    return float(np.mean(won)) if won else float("nan")


@pytest.fixture
def predictions():
    """Forty users with 1 to 9 events, probabilities with ties; some users have one label."""
    draw = np.random.default_rng(0)
    user = np.repeat(np.arange(40) * 3, draw.integers(1, 10, 40))
    probability = draw.integers(0, 12, len(user)) / 12
    label = draw.random(len(user)) < 0.2 + 0.6 * probability
    return Predictions(user, label, probability)


def test_auc_is_the_share_of_pairs_in_order_ties_half(predictions):
    found = auc(predictions.probability_T, predictions.label_T)
    assert found == pytest.approx(slow_auc(predictions.probability_T, predictions.label_T))
    assert 0.5 < found < 1


def test_auc_knows_only_the_order(predictions):
    squeezed = predictions.probability_T**3 * 0.01
    assert auc(squeezed, predictions.label_T) == auc(predictions.probability_T, predictions.label_T)
    turned = auc(-predictions.probability_T, predictions.label_T)
    assert turned == pytest.approx(1 - auc(predictions.probability_T, predictions.label_T))


def test_auc_of_one_label_is_not_a_number():
    assert np.isnan(auc(np.array([0.1, 0.2]), np.array([True, True])))
    assert np.isnan(auc(np.array([0.1]), np.array([False])))


def test_auc_of_each_user_is_that_users_own(predictions):
    found = user_auc(predictions.row_T, predictions.probability_T, predictions.label_T)
    slow = {}
    for row in range(predictions.num_users):
        own = predictions.row_T == row
        value = slow_auc(predictions.probability_T[own], predictions.label_T[own])
        if not np.isnan(value):
            slow[row] = (value, int(own.sum()))
    assert found.row.tolist() == list(slow)
    np.testing.assert_allclose(found.auc, [value for value, _ in slow.values()])
    assert found.num_events.tolist() == [count for _, count in slow.values()]
    assert len(slow) < predictions.num_users  # some users have one label only


def test_gauc_weighs_users_by_their_events_and_says_whom_it_covers(predictions):
    found = predictions.by_user
    expected = (found.auc * found.num_events).sum() / found.num_events.sum()
    assert predictions.points()["gauc"] == pytest.approx(expected)
    assert predictions.facts()["gauc_covered_share"] == found.num_events.sum() / len(predictions)


def test_logloss_of_the_base_rate_is_its_entropy():
    label = np.array([True, True, True, False])
    assert normalised_entropy(np.full(4, 0.75), label) == pytest.approx(1.0)
    assert np.isnan(normalised_entropy(np.full(2, 0.5), np.array([True, True])))


def test_logloss_averages_within_users_first():
    predictions = Predictions(
        np.array([1, 1, 2]), np.array([True, False, True]), np.array([0.5, 0.5, 1.0])
    )
    assert predictions.points()["logloss"] == pytest.approx(np.log(2) / 2, abs=1e-6)


def test_a_wrong_certainty_is_dear_but_finite():
    worst = log_loss(np.array([0.0, 1.0]), np.array([True, False]))
    assert np.isfinite(worst).all()
    assert (worst > 10).all()


def test_calibration_error_is_none_where_shares_come_true_and_large_where_not():
    said = np.repeat([0.25, 0.75], 400)
    came_true = np.tile([True, False, False, False], 100).tolist()
    came_true += np.tile([True, True, True, False], 100).tolist()
    came_true = np.array(came_true)
    bin_T = bins_of(said, 20)
    assert np.unique(bin_T).tolist() == [0, 10]
    assert calibration_error(said, came_true, bin_T) == pytest.approx(0, abs=1e-12)
    assert calibration_error(1 - said, came_true, bin_T) == pytest.approx(0.5)


def test_a_constant_at_the_base_rate_is_calibrated_in_whatever_order_events_come():
    label = np.repeat([True, False], [30, 70])
    predictions = Predictions(np.arange(100), label, np.full(100, 0.3))
    assert predictions.points()["ece"] == pytest.approx(0, abs=1e-12)


def test_a_replicate_of_ece_is_that_of_the_users_drawn_in_the_bins_of_all(predictions):
    counts = np.random.default_rng(2).integers(0, 4, (5, predictions.num_users)).astype(float)
    found = predictions.replicates(counts)["ece"]
    bin_T = bins_of(predictions.probability_T, 20)
    for place, row in enumerate(counts):
        again = np.repeat(np.arange(len(predictions)), row[predictions.row_T].astype(int))
        probability, label = predictions.probability_T[again], predictions.label_T[again]
        assert found[place] == pytest.approx(calibration_error(probability, label, bin_T[again]))


def test_the_curve_holds_every_event_once_and_rises_with_what_was_said(predictions):
    curve = calibration_curve(predictions, 10)
    assert sum(each.events for each in curve) == len(predictions)
    said = [each.said for each in curve]
    assert said == sorted(said) and 5 < len(curve) <= 10  # equal ones stay together
    happened = sum(each.happened * each.events for each in curve)
    assert happened == pytest.approx(predictions.label_T.sum())
    assert calibration_curve(predictions.where(np.zeros(len(predictions), bool)), 10) == ()


def test_a_replicate_counts_a_users_events_as_often_as_the_user_is_drawn(predictions):
    counts = np.random.default_rng(1).integers(0, 4, (5, predictions.num_users)).astype(float)
    found = predictions.replicates(counts)
    for place, row in enumerate(counts):
        times = row[predictions.row_T].astype(int)
        again = np.repeat(np.arange(len(predictions)), times)
        probability, label = predictions.probability_T[again], predictions.label_T[again]
        assert found["auc"][place] == pytest.approx(slow_auc(probability, label))
    assert predictions.points()["auc"] == pytest.approx(
        slow_auc(predictions.probability_T, predictions.label_T)
    )


def test_what_one_label_does_not_define_is_left_out():
    predictions = Predictions(np.array([0, 1]), np.array([True, True]), np.array([0.5, 0.9]))
    assert set(predictions.points()) == {"logloss", "ece"}
    assert "ne" not in predictions.facts()


def test_slices_keep_their_users_apart(predictions):
    part = predictions.where(predictions.user_T > 60)
    assert part.num_users == 19
    assert part.points()["auc"] == pytest.approx(slow_auc(part.probability_T, part.label_T))
