"""sample_beams over the small world: the challenger's lists in the place of the day's slates."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from feature_store.arrow import arrow_schema
from feature_store.tables import CATALOG
from tests.recommender_world import DAY, EVENTS, NUM_ITEMS, NUM_USERS, histories, tables_of
from tests.training.test_train_recommender import (
    bundle_of,
    config,
    publish,
    publish_world,
    settings,  # noqa: F401
)
from training.config import TrainingConfig
from training.data.histories import Histories
from training.programs import build_semantic_ids, sample_beams, train_recommender, train_tokenizer
from training.programs.interface import Task
from training.registry.predictor import BundlePredictor

NOON = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
ASKS = {"preference_lists": {"pseudo_exposures_from": "beams", "beam_items": 8, "seed": 3}}
LATE = 20
"""Users whose slate began while weights may still know of it."""


def slates(number=NUM_USERS):
    """One of each user at the time of the last event; of some users ten days before."""
    start = [NOON - timedelta(days=10 if user < LATE else 0) for user in range(number)]
    return {
        "day": [DAY] * number,
        "slate_id": [f"s{user}" for user in range(number)],
        "user_id": [f"user-{user:03d}" for user in range(number)],
        "started_at": start,
        "ended_at": [one + timedelta(minutes=5) for one in start],
        "item_indices": [[user % NUM_ITEMS, (user + 1) % NUM_ITEMS] for user in range(number)],
        "strengths": [[2, 0]] * number,
        "dwell_seconds": [[1.0, 1.0]] * number,
        "source": ["gap"] * number,
    }


def run(task, program, **changes):
    step = program.__name__.rsplit(".", 1)[-1]
    return program.run(replace(task, step=step, **changes))


@pytest.fixture(scope="module")
def task(settings):  # noqa: F811
    made = config("beams", **ASKS)
    task = Task(settings, made, DAY, step="sample_beams", families=("tiger",))
    publish_world(tables_of(task))
    for program in (train_tokenizer, build_semantic_ids, train_recommender):
        run(task, program)
    publish(tables_of(task), "slates", slates())
    return task


def beams_of(task):
    return tables_of(task).read("sampled_beams", partition=DAY).to_pylist()


def test_a_preset_that_asks_for_no_beams_has_none(task):
    plain = TrainingConfig.model_validate({**task.config.model_dump(), "preference_lists": {}})
    facts = run(task, sample_beams, config=plain)
    assert facts["status"] == "unchanged" and "the preset asks for no beams" in facts["message"]


def test_a_beam_is_what_the_model_says_when_the_slate_begins(task):
    facts = run(task, sample_beams)
    bundle = bundle_of(task, "tiger")
    assert facts["rows"] == NUM_USERS - LATE == len(beams_of(task))
    assert facts["slates_that_weights_may_know_of"] == LATE
    assert facts["slates_of_users_without_history"] == 0
    assert facts["weights_until"] == (NOON - timedelta(days=6, hours=12)).isoformat()

    # The events before the last one alone, asked when it happened.
    known = Histories.from_arrow(histories()).where(
        np.tile(np.arange(EVENTS) < EVENTS - 1, NUM_USERS)
    )
    predictor = BundlePredictor.of(bundle, device="cpu")
    asked_at = np.full(NUM_USERS, int(NOON.timestamp()))
    top = predictor.next_items(known, 8, exclude_seen=True, asked_at=asked_at)
    rows = {row["user_id"]: row for row in beams_of(task)}
    for user in range(LATE, NUM_USERS):
        row = rows[f"user-{user:03d}"]
        assert row["item_indices"] == top.items_Bk[user].tolist()
        assert np.allclose(row["scores"], top.scores_Bk[user], atol=1e-5)
        assert row["context_until"] == NOON and row["bundle_digest"] == bundle.digest
        assert (row["model_family"], row["generation"]) == ("tiger", bundle.origin.generation)


def test_what_happens_from_the_slate_on_changes_no_beam(task):
    before = run(task, sample_beams)["content_hash"]
    rows = histories()
    items = np.array(rows["item_indices"].to_pylist())
    items[:, -1] = (items[:, -1] + 1) % NUM_ITEMS
    place = rows.schema.get_field_index("item_indices")
    changed = rows.set_column(place, "item_indices", pa.array(items.tolist(), pa.list_(pa.int32())))
    schema = arrow_schema(CATALOG["user_sequences"])
    publish(
        tables_of(task), "user_sequences", changed.select(schema.names).cast(schema).to_pydict()
    )
    again = run(task, sample_beams)
    assert (again["status"], again["content_hash"]) == ("unchanged", before)


def test_slates_of_users_without_history_are_counted(task):
    publish(tables_of(task), "slates", slates(NUM_USERS + 3))
    facts = run(task, sample_beams)
    assert facts["rows"] == NUM_USERS - LATE and facts["slates_of_users_without_history"] == 3


def test_the_champion_is_asked_unless_it_is_of_a_later_day(task, monkeypatch):
    found = task.registry.find_candidate(DAY.isoformat(), "tiger")
    champion = task.registry.register(found)
    task.registry.promote(champion, day=DAY.isoformat(), reason="by hand")
    monkeypatch.setattr(type(task.registry), "find_candidate", lambda *_: None)
    assert sample_beams.model_for_beams(task).digest == champion.digest
    fetch = type(task.registry).fetch

    def of_later(self, holder):
        bundle = fetch(self, holder)
        later = (DAY + timedelta(days=1)).isoformat()
        return replace(bundle, origin=replace(bundle.origin, day=later))

    monkeypatch.setattr(type(task.registry), "fetch", of_later)
    assert sample_beams.model_for_beams(task) is None


def test_a_day_without_slates_has_no_beams(task):
    facts = run(task, sample_beams, day=DAY - timedelta(days=1))
    assert facts["message"] == "no beams: no slates of 2024-03-30"


def test_a_model_of_another_generation_is_not_asked(task):
    run(task, sample_beams)
    kept = beams_of(task)
    tokenizer = task.config.tokenizer.model_copy(update={"codebook_size": 16})
    other = task.config.model_copy(update={"tokenizer": tokenizer})
    run(task, train_tokenizer, config=other)
    facts = run(task, sample_beams, config=other)
    assert facts["status"] == "unchanged"
    assert "neither the champion nor the day's challenger reads the current" in facts["message"]
    assert beams_of(task) == kept
