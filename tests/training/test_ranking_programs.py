"""A challenger that ranks, through evaluation, gate, table and report."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from feature_store.preset import PresetError
from feature_store.settings import Settings
from tests.recommender_world import DAY, NUM_KINDS, NUM_USERS, histories, tables_of
from tests.recommender_world import trained_bundle as train
from tests.training.test_promotion_programs import (
    _NAMES,
    another,
    config,
    evaluate,
    promote,
    publish,
    publish_items,
    recommended,
)
from training.evaluation.metrics import FEEDBACK
from training.evaluation.record import Evaluation, Slice
from training.fit.fitting import LoopSettings
from training.programs.interface import Task
from training.report.sections.boards import board_section

LOOP = LoopSettings(
    max_epochs=25,
    patience_epochs=25,
    tokens_per_batch=2048,
    learning_rate=1e-2,
    warmup_steps=5,
    max_history=20,
)
SHAPE = {
    "width": 32,
    "num_layers": 2,
    "num_heads": 1,
    "num_negatives": 32,
    "pool": 48,
    "dropout": 0.0,
}


def with_ranking(name, **sections):
    return config(
        name,
        models={"challenger": "unigrf", "baselines": ["item_knn", "popularity"]},
        **sections,
    )


@pytest.fixture(scope="module")
def evaluated(mlflow_settings, tmp_path_factory):
    """A day on which half of the items are liked, evaluated."""
    folder = tmp_path_factory.mktemp("ranked")
    settings = Settings(
        home=mlflow_settings.home,
        warehouse=str(folder / "warehouse"),
        catalog_uri=f"sqlite:///{folder}/catalog.db",
        device="cpu",
    )
    guarded = {"primary_metric": "auc", "guard_metrics": ["hr@10", "logloss"]}
    name = f"world-{next(_NAMES)}"
    task = Task(settings, with_ranking(name, gate=guarded), DAY, step="evaluate_recommender")
    publish_items(tables_of(task))
    publish(tables_of(task), "user_sequences", histories(DAY, 1, opinions=True), DAY)
    content = task.store.content_hash("user_sequences", partition=DAY)
    inputs = {"user_sequences": {"snapshot_id": 1, "content_hash": content}}
    for family in ("unigrf", "item_knn", "popularity"):
        own = {"settings": SHAPE, "loop": LOOP} if family == "unigrf" else {}
        bundle = train(folder / family, family, inputs=inputs, seed=1, opinions=True, **own)
        with task.registry.run(day=DAY.isoformat(), step="train_recommender", family=family) as run:
            run.log_candidate(bundle)
    return task, evaluate(task)


def test_feedback_is_measured_of_whoever_can_rank_and_of_nobody_else(evaluated):
    _, facts = evaluated
    record = Evaluation.from_json(facts)
    assert FEEDBACK not in record.entrants["item_knn"].boards
    slices = record.entrants["unigrf"].boards[FEEDBACK].slices
    every = slices["all"]
    assert every.num_targets == 7 * NUM_USERS
    auc = every.metrics["auc"]
    assert 0.8 < auc.low < auc.point < auc.high <= 1
    assert every.metrics["logloss"].point < np.log(2)
    assert every.facts["base_rate"] == pytest.approx(0.5, abs=0.1)
    assert 0 < every.facts["gauc_covered_share"] <= 1
    assert slices["new_users"] == Slice(0, 0)


def test_every_answer_is_kept_beside_the_feedback(evaluated):
    task, facts = evaluated
    path = task.registry._client.download_artifacts(facts["run_id"], "feedback.parquet")
    rows = pq.read_table(path)
    assert rows["label"].unique().to_pylist() == ["unigrf"]
    assert rows.num_rows == 7 * NUM_USERS
    said, liked = rows["probability"].to_numpy(), rows["strength"].to_numpy() >= 2
    assert said[liked].mean() > 0.6 > 0.4 > said[~liked].mean()
    metrics = task.registry._client.get_run(facts["run_id"]).data.metrics
    record = Evaluation.from_json(facts)
    assert metrics["unigrf.auc"] == record.entrants["unigrf"].value("auc").point


def test_the_gate_decides_by_feedback_where_the_preset_says_so(evaluated):
    task, facts = evaluated
    assert facts["message"].startswith(f"auc on {NUM_USERS:,} users: unigrf 0.")
    found = promote(task)
    assert found["decision"] == "promote"
    reasons = {reason["rule"]: reason["detail"] for reason in found["verdict"]["reasons"]}
    assert reasons["baseline"] == "popularity can't rank: it is not compared on auc"
    assert "popularity can't rank; unigrf's auc is 0." in reasons["floor"]


def test_the_table_is_in_the_order_that_the_preset_asks_for(evaluated):
    task, _ = evaluated
    promote(task)
    by_retrieval, first = recommended(task)
    assert by_retrieval["is_ranked"] is False
    wanted = {"num_items": 5, "ranked_candidates": 30}
    ranked_config = with_ranking(task.config.name, recommendations=wanted)
    by_liking, second = recommended(another(task, config=ranked_config))
    assert by_liking["is_ranked"] is True
    assert all(0 < score < 1 for row in second for score in row["scores"])
    assert all(row["scores"] == sorted(row["scores"], reverse=True) for row in second)
    liked = {
        which: np.mean([index // NUM_KINDS % 2 for row in rows for index in row["item_indices"]])
        for which, rows in (("retrieval", first), ("ranking", second))
    }
    assert liked["ranking"] > liked["retrieval"] + 0.2


def test_a_challenger_that_cannot_rank_is_not_judged_by_feedback(evaluated):
    task, _ = evaluated
    wrong = config(
        task.config.name,
        models={"challenger": "item_knn", "baselines": ["popularity"]},
        gate={"primary_metric": "auc"},
    )
    with pytest.raises(PresetError, match=r"the gate asks for auc, the evaluation measures"):
        evaluate(another(task, config=wrong))


def test_the_report_has_a_section_of_feedback(evaluated):
    _, facts = evaluated
    section = board_section(Evaluation.from_json(facts), FEEDBACK)
    tables = [block for block in section.blocks if block.kind == "table"]
    assert tables[0].head[:4] == ["entrant", "auc", "interval", "gauc"]
    assert [row.cells[0] for row in tables[0].rows] == ["unigrf"]
    assert tables[0].rows[0].cells[1].startswith("0.")
    silent = {**facts, "entrants": {"item_knn": facts["entrants"]["item_knn"]}}
    assert board_section(Evaluation.from_json(silent), FEEDBACK) is None
