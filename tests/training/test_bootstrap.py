import numpy as np
import pytest

from training.evaluation import bootstrap as module
from training.evaluation.bootstrap import (
    Bootstrap,
    Draws,
    bootstrap_means,
    compare,
    compare_fits,
    interval,
)
from training.evaluation.samples import UserMetrics


def compared(ours, theirs, *, samples=500, seed=0, confidence=0.95):
    replicates = bootstrap_means(np.stack([ours, theirs], axis=1), samples=samples, seed=seed)
    return compare(ours, theirs, replicates[:, 0], replicates[:, 1], confidence=confidence)


def test_means_of_replicates_are_those_of_drawn_users():
    # With two users a replicate holds one of them twice, or both: means 0, 1/2, 1 at 1:2:1.
    found = bootstrap_means(np.array([[0.0], [1.0]]), samples=4000, seed=1)[:, 0]
    values, counts = np.unique(found, return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert np.allclose(counts / 4000, [0.25, 0.5, 0.25], atol=0.03)


def test_every_column_sees_the_same_draws():
    values = np.random.default_rng(0).random(30)
    found = bootstrap_means(np.stack([values, values + 1], axis=1), samples=200, seed=0)
    assert np.allclose(found[:, 1] - found[:, 0], 1)


def test_chunks_do_not_change_the_draws(monkeypatch):
    values = np.random.default_rng(0).random((20, 2))
    whole = bootstrap_means(values, samples=101, seed=5)
    monkeypatch.setattr(module, "_CELLS", 60)
    assert np.allclose(bootstrap_means(values, samples=101, seed=5), whole, rtol=1e-12)


def test_another_seed_gives_other_draws():
    values = np.random.default_rng(0).random((20, 1))
    first, second = (bootstrap_means(values, samples=50, seed=seed) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_a_constant_advantage_has_an_interval_of_no_width():
    theirs = np.random.default_rng(0).random(40)
    found = compared(theirs + 0.1, theirs)
    assert found.difference.low == pytest.approx(0.1)
    assert found.difference.high == pytest.approx(0.1)
    assert found.probability_better == 1 and found.num_users == 40


def test_equal_columns_are_a_tie():
    values = np.random.default_rng(0).random(40)
    found = compared(values, values)
    assert found.difference.low == found.difference.point == found.difference.high == 0
    assert found.probability_better == 0.5


def test_the_relative_difference_is_the_ratio_of_means():
    found = compared(np.array([0.3, 0.5]), np.array([0.2, 0.3]))
    assert found.relative.point == pytest.approx(0.8 / 0.5 - 1)
    assert found.relative.low <= found.relative.point <= found.relative.high


def test_there_is_no_ratio_to_zero():
    found = compared(np.array([0.3, 0.5]), np.array([0.0, 0.3]))
    assert found.relative is None  # a replicate may hold the first user twice


def test_pairing_narrows_the_interval_of_correlated_columns():
    draw = np.random.default_rng(0)
    ease = draw.random(200)
    ours, theirs = ease + 0.02 + draw.normal(0, 0.01, 200), ease + draw.normal(0, 0.01, 200)
    found = compared(ours, theirs)
    single = bootstrap_means(ours[:, None], samples=500, seed=0)[:, 0]
    alone = interval(float(ours.mean()), single, confidence=0.95)
    assert found.difference.high - found.difference.low < (alone.high - alone.low) / 5
    assert found.difference.low > 0


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says():
    draw = np.random.default_rng(7)
    covered = 0
    for trial in range(300):
        theirs = draw.exponential(1.0, 60)
        ours = theirs + draw.normal(0.2, 1.0, 60)
        found = compared(ours, theirs, samples=300, seed=trial, confidence=0.9)
        covered += found.difference.low <= 0.2 <= found.difference.high
    assert 0.83 <= covered / 300 <= 0.95


def test_no_users_are_refused():
    with pytest.raises(ValueError, match="no users to draw from"):
        bootstrap_means(np.empty((0, 2)), samples=10, seed=0)


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="1 values are not finite"):
        bootstrap_means(np.array([[1.0], [np.nan]]), samples=10, seed=0)


def test_columns_of_other_users_are_refused():
    with pytest.raises(ValueError, match="not paired"):
        compare(np.zeros(3), np.zeros(4), np.zeros(9), np.zeros(9), confidence=0.95)


def fits_of(values_UK, how):
    users, ones = np.arange(len(values_UK)), np.ones(len(values_UK), dtype=int)
    samples = [UserMetrics(users, ones, ("hr@1",), column[:, None]) for column in values_UK.T]
    return Draws(how).fits(samples, "hr@1")


def test_fits_that_differ_widen_the_interval_over_users():
    users = np.random.default_rng(0).normal(0, 0.01, size=200)
    theirs = np.repeat(users[:, None], 2, axis=1)
    how = Bootstrap(samples=500)
    same, apart = (fits_of(theirs + np.array(by), how) for by in ([0.1, 0.1], [0.0, 0.2]))
    before = fits_of(theirs, how)
    narrow, wide = (compare_fits(ours, before, bootstrap=how) for ours in (same, apart))
    assert narrow.difference.point == pytest.approx(0.1)
    assert wide.difference.point == pytest.approx(0.1)
    assert narrow.difference.high - narrow.difference.low < 0.01
    # Of two fits a replicate draws one of them twice a half of the time.
    assert (wide.difference.low, wide.difference.high) == pytest.approx((0.0, 0.2), abs=0.01)


def test_an_interval_over_two_people_and_two_fits_is_that_of_all_sixteen_draws():
    # Person 0 scores 0 and 4, person 1 scores 0 and 12 under the two fits. Two people drawn with
    # replacement have means of 4, 8 or 12 (1/4, 1/2, 1/4) under the second fit and of 0 under the
    # first. Two fits drawn likewise: the first twice (1/4), 0; one each (1/2), 2, 4 or 6; the
    # second twice (1/4), 4, 8 or 12.
    how = Bootstrap(samples=40_000, confidence=0.9)
    fits = fits_of(np.array([[0.0, 4.0], [0.0, 12.0]]), how)
    drawn, counts = np.unique(fits.replicates(seed=1), return_counts=True)
    assert drawn.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 12.0]
    expected = np.array([4, 2, 4 + 1, 2, 2, 1]) / 16
    assert counts / counts.sum() == pytest.approx(expected, abs=0.01)
    assert fits.points_K.tolist() == [0.0, 8.0]
    bounds = fits.interval(how)
    assert (bounds.low, bounds.point, bounds.high) == (0.0, 4.0, 12.0)


def test_fits_that_go_on_from_another_are_drawn_with_it():
    draw = np.random.default_rng(0)
    before_UK = draw.normal(0, 0.01, size=(200, 3)) + np.array([0.0, 0.5, 1.0])
    how = Bootstrap(samples=300)
    before, after = fits_of(before_UK, how), fits_of(before_UK + 0.1, how)
    together = compare_fits(after, before, bootstrap=how, shared_seeds=True).difference
    alone = compare_fits(after, before, bootstrap=how).difference
    assert together.high - together.low < 1e-9 < 0.2 < alone.high - alone.low


def test_fits_of_other_users_are_refused():
    how = Bootstrap(samples=100)
    few, many = (fits_of(np.zeros((size, 2)), how) for size in (3, 4))
    with pytest.raises(ValueError, match="not paired: 3 against 4 users"):
        compare_fits(few, many, bootstrap=how)
    samples = [
        UserMetrics(np.arange(n), np.ones(n, dtype=int), ("hr@1",), np.zeros((n, 1)))
        for n in (3, 4)
    ]
    with pytest.raises(ValueError, match=r"hr@1: fits were measured on \[3, 4\] users"):
        Draws(how).fits(samples, "hr@1")
