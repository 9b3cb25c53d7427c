import numpy as np
import pytest

from training.evaluation.boards.interface import Measured
from training.evaluation.bootstrap import Bootstrap, bootstrap_means, compare, user_draws
from training.evaluation.ranking import Predictions, auc
from training.evaluation.record import Interval, Slice
from training.evaluation.samples import UserMetrics
from training.evaluation.scoring import score, score_boards, who_faces_whom

NAMES = ("hr@10", "ndcg@10", "mrr", "sid_mrr")
LEVELS = {"tiger": 0.5, "item_knn": 0.4, "popularity": 0.1, "champion": 0.45}
PAIRS = who_faces_whom("tiger", ["item_knn", "popularity"], "popularity", LEVELS)
HOW = Bootstrap(samples=100)


def means(level, num_users=40):
    values = np.random.default_rng(0).random((num_users, len(NAMES))) * 0.1 + level
    return UserMetrics(np.arange(num_users), np.full(num_users, 2), NAMES, values)


def nobody():
    empty = np.empty(0, dtype=int)
    return UserMetrics(empty, empty, NAMES, np.empty((0, len(NAMES))))


def measured(**samples):
    return Measured(samples, (), rows=None)


@pytest.fixture
def lists():
    return {
        label: measured(all=means(level), light_users=means(level, 9), new_items=nobody())
        for label, level in LEVELS.items()
    }


@pytest.fixture
def judged():
    """Three who know the feedback well, less well, and not at all."""
    draw = np.random.default_rng(0)
    user = np.repeat(np.arange(50), 8)
    label = draw.random(400) < 0.5
    return {
        name: Predictions(
            user, label, 1 / (1 + np.exp(-(knows * (label - 0.5) + draw.normal(size=400))))
        )
        for name, knows in (("unigrf", 3.0), ("sasrec", 1.0), ("champion", 0.0))
    }


RANKERS = who_faces_whom("unigrf", ["sasrec"], "sasrec", ["unigrf", "sasrec", "champion"])


def of_all(judged, **masks):
    return {
        label: measured(all=own, **{name: own.where(mask) for name, mask in masks.items()})
        for label, own in judged.items()
    }


def row_of(rows, ours, theirs, metric, name="all"):
    wanted = (ours, theirs, metric, name)
    return next(r for r in rows if (r.ours, r.theirs, r.metric, r.slice) == wanted)


def test_who_faces_whom_is_what_the_gate_may_ask_for():
    assert set(PAIRS) == {
        ("tiger", "item_knn"),
        ("tiger", "popularity"),
        ("tiger", "champion"),
        ("item_knn", "champion"),
        ("item_knn", "popularity"),
        ("popularity", "champion"),
    }


def test_the_reference_is_faced_by_all_who_may_serve():
    labels = [*LEVELS, "reference"]
    pairs = who_faces_whom("tiger", ["item_knn", "popularity"], "popularity", labels)
    faced = {"tiger", "item_knn", "popularity", "champion"}
    assert set(pairs) - set(PAIRS) == {(label, "reference") for label in faced}


def test_a_row_is_the_comparison_of_the_two_columns(lists):
    _, rows = score(lists, PAIRS, HOW)
    assert {(row.ours, row.theirs) for row in rows} == set(PAIRS)
    ours, theirs = (means(LEVELS[label]).values_UM[:, 1] for label in ("tiger", "champion"))
    replicates = bootstrap_means(np.stack([ours, theirs], axis=1), samples=100, seed=0)
    expected = compare(ours, theirs, replicates[:, 0], replicates[:, 1], confidence=0.95)
    row = row_of(rows, "tiger", "champion", "ndcg@10")
    assert (row.difference, row.relative) == (expected.difference, expected.relative)
    assert (row.our_value, row.num_users) == (expected.our_value, 40)


def test_metrics_of_semantic_ids_are_shown_and_not_compared_unless_they_decide(lists):
    slices, rows = score(lists, PAIRS, HOW)
    assert "sid_mrr" in slices["tiger"]["all"].metrics
    assert "sid_mrr" not in {row.metric for row in rows}
    _, rows = score(lists, PAIRS, HOW, decisive={"sid_mrr"})
    assert "sid_mrr" in {row.metric for row in rows}


def test_a_slice_of_nobody_has_a_size_and_no_metrics(lists):
    slices, rows = score(lists, PAIRS, HOW)
    assert slices["tiger"]["new_items"] == Slice(0, 0)
    assert {row.slice for row in rows} == {"all", "light_users"}


def test_points_are_the_metrics_and_lie_in_their_intervals(judged):
    slices, _ = score(of_all(judged), RANKERS, HOW)
    for name, own in judged.items():
        found = slices[name]["all"]
        assert found.metrics["auc"].point == auc(own.probability_T, own.label_T)
        assert all(b.low <= b.point <= b.high for b in found.metrics.values())
        assert (found.num_users, found.num_targets) == (50, 400)
    assert slices["champion"]["all"].metrics["auc"].low < 0.5
    assert slices["unigrf"]["all"].facts["base_rate"] == judged["unigrf"].label_T.mean()


def test_better_is_larger_auc_and_smaller_log_loss(judged):
    _, rows = score(of_all(judged), RANKERS, HOW)
    for metric, sign in (("auc", 1), ("gauc", 1), ("logloss", -1)):
        row = row_of(rows, "unigrf", "champion", metric)
        assert sign * row.difference.point > 0
        assert row.gain.low > 0
        assert row.probability_better == 1.0
        assert row.difference.point == row.our_value - row.their_value


def test_the_same_draws_are_used_for_all(judged):
    """A recommender against itself has no difference in any replicate."""
    twins = {"unigrf": judged["unigrf"], "sasrec": judged["unigrf"]}
    _, rows = score(of_all(twins), RANKERS, HOW)
    assert rows
    for row in rows:
        assert row.difference == Interval(0.0, 0.0, 0.0)
        assert row.probability_better == 0.5


def test_a_pairs_interval_is_that_of_the_paired_replicates(judged):
    _, rows = score(of_all(judged), RANKERS, Bootstrap(samples=300))
    counts = np.concatenate([*user_draws(50, samples=300, seed=0)])
    ours, theirs = (judged[name].replicates(counts)["auc"] for name in ("unigrf", "sasrec"))
    low, high = np.quantile(ours - theirs, [0.025, 0.975])
    row = row_of(rows, "unigrf", "sasrec", "auc")
    assert (row.difference.low, row.difference.high) == pytest.approx((low, high))


def test_slices_of_events_are_measured_and_empty_ones_have_no_metric(judged):
    masks = {
        "light_users": judged["unigrf"].user_T < 5,
        "new_items": np.zeros(400, dtype=bool),
    }
    slices, rows = score(of_all(judged, **masks), RANKERS, HOW)
    assert slices["unigrf"]["light_users"].num_users == 5
    assert row_of(rows, "unigrf", "sasrec", "auc", "light_users").num_users == 5
    assert slices["unigrf"]["new_items"] == Slice(0, 0)
    assert not [row for row in rows if row.slice == "new_items"]


def test_a_slice_of_one_label_has_a_log_loss_and_no_order(judged):
    slices, rows = score(of_all(judged, liked=judged["unigrf"].label_T), RANKERS, HOW)
    assert set(slices["unigrf"]["liked"].metrics) == {"logloss", "ece"}
    assert {row.metric for row in rows if row.slice == "liked"} == {"logloss", "ece"}


def test_few_users_with_few_labels_still_have_an_interval():
    """Some draws have one label only: they say nothing about an order and are left out."""
    own = Predictions(
        np.array([0, 0, 1]), np.array([True, False, False]), np.array([0.9, 0.1, 0.2])
    )
    slices, rows = score(of_all({"unigrf": own, "sasrec": own}), RANKERS, HOW)
    bounds = slices["unigrf"]["all"].metrics["auc"]
    assert np.isfinite([bounds.low, bounds.point, bounds.high]).all()
    assert rows


def test_an_entrant_that_does_not_answer_a_board_has_no_row_of_it(judged):
    ranks, lists_only = of_all(judged)["unigrf"], measured(all=means(0.3, 50))
    answers = {
        "unigrf": {"lists": lists_only, "feedback": ranks},
        "sasrec": {"lists": lists_only},
    }
    rows, comparisons = score_boards(answers, ("lists", "feedback"), RANKERS, HOW)
    assert (list(rows["unigrf"]), list(rows["sasrec"])) == (["lists", "feedback"], ["lists"])
    assert {row.metric for row in comparisons} == {"hr@10", "ndcg@10", "mrr"}
    assert score({}, RANKERS, HOW) == ({}, [])
