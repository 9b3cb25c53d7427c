"""Held-out slates through evaluation, gate and report."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from feature_store.preset import PresetError
from feature_store.settings import Settings
from tests.evaluation_records import entrant, evaluation
from tests.recommender_world import (
    DAY,
    ITEM_IDS,
    NUM_ITEMS,
    NUM_KINDS,
    NUM_USERS,
    histories,
    tables_of,
)
from tests.training.test_promotion_programs import (
    _NAMES,
    another,
    config,
    evaluate,
    publish,
    publish_items,
    run_day,
)
from training.evaluation.metrics import SLATES
from training.evaluation.record import Evaluation
from training.programs.held_out import slate_questions
from training.programs.interface import Task
from training.report.sections.boards import board_section

SHOWN = 5
"""The last so many events of every user are one slate, all but the first of them liked."""


def slates(day=DAY):
    """Rows of `slates`: one for each user, of items that the history ends with."""
    rows = histories(day, seed=1)
    items = np.array(rows["item_indices"].to_pylist())[:, -SHOWN:]
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return pa.table(
        {
            "day": pa.array([day] * NUM_USERS, pa.date32()),
            "slate_id": [f"slate-{number:03d}" for number in range(NUM_USERS)],
            "user_id": rows["user_id"],
            "started_at": pa.array(
                [noon - timedelta(days=SHOWN - 1)] * NUM_USERS, pa.timestamp("us", "UTC")
            ),
            "ended_at": pa.array([noon] * NUM_USERS, pa.timestamp("us", "UTC")),
            "item_indices": pa.array(items.tolist(), pa.list_(pa.int32())),
            "strengths": pa.array([[0, 2, 2, 1, 3]] * NUM_USERS, pa.list_(pa.int32())),
            "dwell_seconds": pa.array([[1.0] * SHOWN] * NUM_USERS, pa.list_(pa.float32())),
            "source": ["gap"] * NUM_USERS,
        }
    )


def vectors(day=DAY):
    """Rows of `item_embeddings`: items of a kind are the same, items of two have nothing alike."""
    kinds = np.eye(NUM_KINDS, dtype=np.float32)[np.arange(NUM_ITEMS) % NUM_KINDS]
    return pa.table(
        {
            "item_index": pa.array(range(NUM_ITEMS), pa.int32()),
            "encoder": ["kinds@1"] * NUM_ITEMS,
            "item_id": ITEM_IDS,
            "content_digest": ["0" * 64] * NUM_ITEMS,
            "embedding": pa.array(kinds.tolist(), pa.list_(pa.float32())),
        }
    )


GATE = {"primary_metric": "slate_ndcg@5", "guard_metrics": ["hr@10", "slate_hit@5"]}


@pytest.fixture(scope="module")
def evaluated(mlflow_settings, tmp_path_factory):
    """A day with slates, evaluated and judged by them."""
    folder = tmp_path_factory.mktemp("slates")
    settings = Settings(
        home=mlflow_settings.home,
        warehouse=str(folder / "warehouse"),
        catalog_uri=f"sqlite:///{folder}/catalog.db",
        device="cpu",
    )
    own = config(f"world-{next(_NAMES)}", gate=GATE)
    task = Task(settings, own, DAY, step="evaluate_recommender")
    publish_items(tables_of(task))
    publish(tables_of(task), "user_sequences", histories(DAY, seed=1), DAY)
    publish(tables_of(task), "slates", slates(), DAY)
    publish(tables_of(task), "item_embeddings", vectors(), DAY)
    facts, verdict = run_day(task, folder / "bundles")
    return task, facts, verdict


def test_every_entrant_is_asked_for_every_slate_once(evaluated):
    _, facts, _ = evaluated
    record = Evaluation.from_json(facts)
    knn, popularity = (record.entrants[name].boards[SLATES] for name in ("item_knn", "popularity"))
    assert knn.slices["all"].num_targets == NUM_USERS
    # What a user meets is of one kind: whoever knows that shows items that are all alike.
    assert knn.facts["similarity"] == pytest.approx(1.0)
    assert popularity.facts["similarity"] < 0.6
    assert knn.facts["coverage"] > popularity.facts["coverage"]
    assert knn.facts["repeated_share"] == popularity.facts["repeated_share"] == 0.0
    ours, theirs = (found.slices["all"].metrics for found in (knn, popularity))
    assert ours["slate_ndcg@5"].low > theirs["slate_ndcg@5"].high
    # Four of the five were engaged with: no five places recall more than all of them.
    assert ours["slate_recall@5"].point <= ours["slate_hit@5"].point <= 1


def test_no_slate_is_asked_for_whose_other_items_have_taught_the_models(evaluated):
    task, _, _ = evaluated
    rows = task.tables.histories()
    assert slate_questions(task, rows) is not None
    last_out = config(task.config.name, evaluation={"protocol": "leave_last_out"})
    assert slate_questions(another(task, config=last_out), rows) is None


def test_slates_are_asked_for_before_their_first_exposure(evaluated):
    task, _, _ = evaluated
    found = task.tables.slates(task.tables.histories())
    last_known = found.histories.offsets[found.user] + found.position - 1
    assert (found.histories.times[last_known] < found.started_at).all()
    assert (found.histories.lengths[found.user] - found.position == SHOWN).all()


def test_the_gate_decides_by_slates_where_the_preset_says_so(evaluated):
    _, facts, verdict = evaluated
    assert verdict["verdict"]["decision"] == "promote"
    told = verdict["verdict"]["summary"]
    assert "item_knn against popularity, slate_ndcg@5" in told
    assert any(row["metric"] == "slate_ndcg@5" for row in facts["comparisons"])


def test_a_gate_that_asks_for_slates_needs_some(mlflow_settings, tmp_path):
    settings = Settings(
        home=mlflow_settings.home,
        warehouse=str(tmp_path / "warehouse"),
        catalog_uri=f"sqlite:///{tmp_path}/catalog.db",
        device="cpu",
    )
    task = Task(settings, config(f"world-{next(_NAMES)}", gate=GATE), DAY, step="evaluate")
    publish_items(tables_of(task))
    publish(tables_of(task), "user_sequences", histories(DAY, seed=1), DAY)
    with pytest.raises(PresetError, match=r"the gate asks for slate_hit@5, slate_ndcg@5, the"):
        run_day(task, tmp_path / "bundles")


def test_the_report_has_a_section_of_slates(evaluated):
    _, facts, _ = evaluated
    section = board_section(Evaluation.from_json(facts), SLATES)
    tables = [block for block in section.blocks if block.kind == "table"]
    assert tables[0].head[1] == "slate_ndcg@5"
    similarity = tables[0].head.index("similarity")
    shown = {row.cells[0]: row.cells[similarity] for row in tables[0].rows}
    assert sorted(shown) == ["item_knn", "popularity"]
    assert shown["item_knn"] == "1.00"
    assert board_section(evaluation({"tiger": entrant("tiger")}), SLATES) is None


def test_a_champion_is_asked_for_the_same_slates(evaluated):
    task, facts, _ = evaluated
    candidate = task.registry.find_candidate(task.day.isoformat(), "popularity")
    version = task.registry.register(candidate)
    task.registry.promote(version, day="2024-01-01", reason="of another day")
    again = evaluate(another(task))
    theirs = Evaluation.from_json(again).entrants["champion"]
    ours = Evaluation.from_json(facts).entrants["popularity"]
    assert theirs.boards[SLATES].facts == ours.boards[SLATES].facts
    assert theirs.value("slate_ndcg@5") == ours.value("slate_ndcg@5")
