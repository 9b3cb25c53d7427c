import numpy as np
import pytest

from training.config import TrainingConfig
from training.evaluation.compare import user_draws
from training.evaluation.ranking import Judged, auc
from training.ranking_scoreboard import ranking_scoreboard

LABELS = ("unigrf", "sasrec", "champion")


@pytest.fixture
def config():
    return TrainingConfig.model_validate(
        {
            "name": "world",
            "models": {"challenger": "unigrf", "baselines": ["sasrec"]},
            "gate": {"floor": "sasrec"},
            "evaluation": {"bootstrap_samples": 300},
        }
    )


@pytest.fixture
def judged():
    """Three who know the feedback well, less well, and not at all."""
    draw = np.random.default_rng(0)
    user = np.repeat(np.arange(50), 8)
    label = draw.random(400) < 0.5
    return {
        name: Judged(
            user, label, 1 / (1 + np.exp(-(knows * (label - 0.5) + draw.normal(size=400))))
        )
        for name, knows in zip(LABELS, (3.0, 1.0, 0.0), strict=True)
    }


def row_of(rows, ours, theirs, metric, name="all"):
    wanted = (ours, theirs, metric, name)
    return next(r for r in rows if (r["ours"], r["theirs"], r["metric"], r["slice"]) == wanted)


def test_points_are_the_metrics_and_lie_in_their_intervals(config, judged):
    facts, _ = ranking_scoreboard(config, judged, {})
    for name, own in judged.items():
        found = facts[name]["all"]
        assert found["values"]["auc"]["point"] == auc(own.probability_T, own.label_T)
        for bounds in found["values"].values():
            assert bounds["low"] <= bounds["point"] <= bounds["high"]
        assert (found["num_users"], found["num_targets"]) == (50, 400)
    assert facts["champion"]["all"]["values"]["auc"]["low"] < 0.5


def test_better_is_larger_auc_and_smaller_log_loss(config, judged):
    _, rows = ranking_scoreboard(config, judged, {})
    for metric, sign in (("auc", 1), ("gauc", 1), ("logloss", -1)):
        row = row_of(rows, "unigrf", "champion", metric)
        assert sign * row["difference"]["point"] > 0
        assert row["probability_better"] == 1.0
        assert row["difference"]["point"] == row["ours_mean"] - row["theirs_mean"]


def test_the_same_draws_are_used_for_all(config, judged):
    """A recommender against itself has no difference in any replicate."""
    twins = {"unigrf": judged["unigrf"], "sasrec": judged["unigrf"]}
    _, rows = ranking_scoreboard(config, twins, {})
    for row in rows:
        assert row["difference"] == {"low": 0.0, "point": 0.0, "high": 0.0}
        assert row["probability_better"] == 0.5


def test_a_pairs_interval_is_that_of_the_paired_replicates(config, judged):
    _, rows = ranking_scoreboard(config, judged, {})
    counts = np.concatenate([*user_draws(50, samples=300, seed=0)])
    ours, theirs = (judged[name].replicates(counts)["auc"] for name in ("unigrf", "sasrec"))
    low, high = np.quantile(ours - theirs, [0.025, 0.975])
    row = row_of(rows, "unigrf", "sasrec", "auc")
    assert (row["difference"]["low"], row["difference"]["high"]) == pytest.approx((low, high))


def test_slices_are_measured_and_empty_ones_have_no_value(config, judged):
    user = judged["unigrf"].user_T
    masks = {"light_users": user < 5, "new_items": np.zeros(400, dtype=bool)}
    facts, rows = ranking_scoreboard(config, judged, masks)
    assert facts["unigrf"]["light_users"]["num_users"] == 5
    assert row_of(rows, "unigrf", "sasrec", "auc", "light_users")["num_users"] == 5
    assert facts["unigrf"]["new_items"] == {"num_users": 0, "num_targets": 0, "values": {}}
    assert not [row for row in rows if row["slice"] == "new_items"]


def test_a_slice_of_one_label_has_a_log_loss_and_no_order(config, judged):
    masks = {"liked": judged["unigrf"].label_T}
    facts, rows = ranking_scoreboard(config, judged, masks)
    assert set(facts["unigrf"]["liked"]["values"]) == {"logloss"}
    assert {row["metric"] for row in rows if row["slice"] == "liked"} == {"logloss"}


def test_few_users_with_few_labels_still_have_an_interval(config):
    """Some draws have one label only: they say nothing about an order and are left out."""
    own = Judged(np.array([0, 0, 1]), np.array([True, False, False]), np.array([0.9, 0.1, 0.2]))
    facts, rows = ranking_scoreboard(config, {"unigrf": own, "sasrec": own}, {})
    assert np.isfinite(list(facts["unigrf"]["all"]["values"]["auc"].values())).all()
    assert rows


def test_nobody_who_ranks_is_no_board(config):
    assert ranking_scoreboard(config, {}, {"new_items": np.zeros(0, dtype=bool)}) == ({}, [])
