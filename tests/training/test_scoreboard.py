import json

import numpy as np
import pytest

from feature_store.preset import PresetError
from training.config import TrainingConfig
from training.evaluation.compare import bootstrap_means, compare
from training.evaluation.retrieval import UserMetrics
from training.gate import Evidence, decide
from training.scoreboard import headline, in_words, require_answerable, scoreboard

NAMES = ("hr@10", "ndcg@10", "mrr", "sid_mrr")


def config(**sections):
    return TrainingConfig.model_validate(
        {
            "name": "world",
            "models": {"challenger": "tiger", "baselines": ["item_knn", "popularity"]},
            "evaluation": {"cutoffs": [10], "bootstrap_samples": 100},
            **sections,
        }
    )


def measured(level, num_users=40, seed=0):
    values = np.random.default_rng(seed).random((num_users, len(NAMES))) * 0.1 + level
    return UserMetrics(np.arange(num_users), np.full(num_users, 2), NAMES, values)


def nobody():
    empty = np.empty(0, dtype=int)
    return UserMetrics(empty, empty, NAMES, np.empty((0, len(NAMES))))


LEVELS = {"tiger": 0.5, "item_knn": 0.4, "popularity": 0.1, "champion": 0.45}


@pytest.fixture
def board():
    found = {
        label: {"all": measured(level), "light_users": measured(level, 9), "new_items": nobody()}
        for label, level in LEVELS.items()
    }
    facts = {
        label: {
            "family": label,
            "digest": label,
            "illegal_share": 0.0,
            "repeated_share": 0.0,
            "contradictions": [],
        }
        for label in LEVELS
    }
    return scoreboard(config(), found, facts)


def test_who_faces_whom_is_what_the_gate_may_ask_for(board):
    pairs = {(row["ours"], row["theirs"]) for row in board["comparisons"]}
    assert pairs == {
        ("tiger", "item_knn"),
        ("tiger", "popularity"),
        ("tiger", "champion"),
        ("item_knn", "champion"),
        ("item_knn", "popularity"),
        ("popularity", "champion"),
    }


def test_a_row_is_the_comparison_of_the_two_columns(board):
    ours, theirs = (measured(LEVELS[label]).values_UM[:, 1] for label in ("tiger", "champion"))
    replicates = bootstrap_means(np.stack([ours, theirs], axis=1), samples=100, seed=0)
    expected = compare(ours, theirs, replicates[:, 0], replicates[:, 1], confidence=0.95)
    (row,) = (
        row
        for row in board["comparisons"]
        if (row["ours"], row["theirs"], row["slice"], row["metric"])
        == ("tiger", "champion", "all", "ndcg@10")
    )
    assert row["difference"]["low"] == pytest.approx(expected.difference.low)
    assert row["difference"]["high"] == pytest.approx(expected.difference.high)
    assert row["ours_mean"] == pytest.approx(expected.ours)
    assert row["num_users"] == 40


def test_metrics_of_semantic_ids_are_shown_and_not_compared_unless_asked_for(board):
    assert "sid_mrr" in board["entrants"]["tiger"]["metrics"]["all"]["values"]
    assert "sid_mrr" not in {row["metric"] for row in board["comparisons"]}
    asked = config(gate={"guard_metrics": ["sid_mrr"]})
    found = {label: {"all": measured(level)} for label, level in LEVELS.items()}
    rows = scoreboard(asked, found, {label: {} for label in LEVELS})["comparisons"]
    assert "sid_mrr" in {row["metric"] for row in rows}


def test_a_slice_of_nobody_has_a_size_and_no_values(board):
    assert board["entrants"]["tiger"]["metrics"]["new_items"] == {
        "num_users": 0,
        "num_targets": 0,
        "values": {},
    }
    assert {row["slice"] for row in board["comparisons"]} == {"all", "light_users"}


def test_the_facts_survive_json_and_are_evidence_for_the_gate(board):
    again = json.loads(json.dumps(board))
    verdict = decide(Evidence.from_facts(again), config().gate)
    assert (verdict.decision, verdict.promoted) == ("promote", "tiger")
    assert (again["num_users"], again["num_targets"]) == (40, 80)


def test_the_headline_is_the_means_of_all_targets(board):
    means = headline(board)
    assert means["tiger.ndcg@10"] == pytest.approx(measured(0.5).values_UM[:, 1].mean())
    told = in_words(board, "ndcg@10")
    assert told.startswith(f"ndcg@10 on 40 users: tiger {means['tiger.ndcg@10']:.4f}, item_knn ")


def test_a_metric_that_nobody_measures_is_refused_before_and_after_measuring():
    with pytest.raises(PresetError, match=r"the gate asks for hr@20, the evaluation meas"):
        require_answerable(config(gate={"guard_metrics": ["hr@20"]}))
    asked = config(gate={"guard_metrics": ["expanded_mrr"]})
    require_answerable(asked)
    with pytest.raises(PresetError, match=r"the gate asks for expanded_mrr, the"):
        require_answerable(asked, NAMES)


def test_a_floor_that_is_not_evaluated_is_refused():
    with pytest.raises(PresetError, match=r"gate.floor is 'sasrec', which is not evaluated"):
        require_answerable(config(gate={"floor": "sasrec"}))
