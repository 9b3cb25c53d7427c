"""Generations made of who took to what: their border, new items, and what comes without events."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from feature_store.store import FeatureStore
from tests.training import test_semantic_id_programs as small
from tests.training.test_semantic_id_programs import (
    MONDAY,
    NEXT_MONDAY,
    TOKENIZER,
    TUESDAY,
    ids,
    publish,
    publish_items,
    publish_vectors,
    vectors,
)
from training.config import TrainingConfig
from training.models import MODELS
from training.programs import build_semantic_ids, train_tokenizer
from training.programs.errors import ProgramError
from training.programs.interface import Task
from training.programs.training_data import day_training_data, training_data_for

WIDTH = 4
deployments, settings = small.deployments, small.settings


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def people(num_items, seed=9):
    return unit(np.random.default_rng(seed).standard_normal((200, WIDTH)))[:num_items]


def publish_people(settings, day, vectors_NC, *, num_users=1):
    number = len(vectors_NC)
    instant = datetime(2023, 12, 1, tzinfo=UTC)
    rows = {
        "day": pa.array([day] * number, pa.date32()),
        "item_index": pa.array(range(number), pa.int32()),
        "embedding": [list(map(float, row)) for row in vectors_NC],
        "num_users": [num_users] * number,
        "newest_event_time": pa.array([instant] * number, pa.timestamp("us", tz="UTC")),
    }
    publish(settings, "collaborative_vectors", day, rows)


def publish_histories(settings, day, num_items, *, num_users=8):
    """Everybody takes to every item in training, and to a few on the last days."""
    start = datetime(2023, 11, 30, tzinfo=UTC)
    long_ago = [start + timedelta(minutes=n) for n in range(num_items)]
    late = [datetime.combine(day, datetime.min.time(), UTC) - timedelta(days=8 - n) for n in (0, 1)]
    draw = np.random.default_rng(0)
    users = range(num_users)
    items = [[*range(num_items), *map(int, draw.integers(0, num_items, 2))] for _ in users]
    rows = {
        "day": pa.array([day] * num_users, pa.date32()),
        "user_id": [f"u{user}" for user in users],
        "item_indices": items,
        "strengths": [[1] * len(each) for each in items],
        "event_times": [[*long_ago, *late] for _ in users],
        "num_events": [len(each) for each in items],
    }
    publish(settings, "user_sequences", day, rows)


def task(settings, step, day, *, evaluation=None, **tokenizer):
    config = TrainingConfig(
        name="small", tokenizer={**TOKENIZER, **tokenizer}, evaluation=evaluation or {}
    )
    return Task(settings, config, day, step=step)


def train(settings, day, **changes):
    return train_tokenizer.run(task(settings, "train_tokenizer", day, **changes))


def build(settings, day, **changes):
    return build_semantic_ids.run(task(settings, "build_semantic_ids", day, **changes))


def publish_day(settings, day, num_items=60, *, known=None, seed=9, num_users=1):
    publish_items(settings, day, num_items)
    publish_vectors(settings, day, unit(vectors(num_items)))
    publish_people(settings, day, people(known or num_items, seed), num_users=num_users)
    publish_histories(settings, day, known or num_items)


def kept(settings, generation):
    rows = FeatureStore.open(settings, "small").read("semantic_ids", partition=generation)
    return np.array(rows.sort_by("item_index")["vector"].to_pylist(), dtype=np.float32)


def test_both_halves_are_read_new_items_get_theirs_from_content_and_nothing_moves(settings):
    publish_day(settings, MONDAY, known=50)
    trained = train(settings, MONDAY)
    read = trained["vectors"]
    assert (read["read"], read["items_taken_to"], read["turned_to"]) == ("both", 50, "")
    assert read["border"]["protocol"] == "rolling"
    assert read["border"]["events"] == 50
    assert set(read["worth"]) == {"text", "collaborative", "both"}
    build(settings, MONDAY)
    first = kept(settings, trained["generation"])
    assert first.shape == (60, 6 + WIDTH)
    assert np.allclose(first[:50, 6:], people(50), atol=1e-6)
    assert np.allclose(np.linalg.norm(first[50:, 6:], axis=1), 1, atol=1e-5)
    codes = ids(settings, trained["generation"])
    # On Tuesday people have taken to the others, too, and the catalogue has doubled.
    publish_day(settings, TUESDAY, 120, seed=11)
    assert train(settings, TUESDAY)["status"] == "unchanged"
    assert build(settings, TUESDAY)["new_items"] == 60
    later = ids(settings, trained["generation"])
    assert {item: later[item] for item in codes} == codes
    assert len(set(later.values())) == 120
    assert np.array_equal(kept(settings, trained["generation"])[:60], first)


def test_the_next_generation_is_turned_to_the_one_before(settings):
    publish_day(settings, MONDAY)
    first = train(settings, MONDAY)
    build(settings, MONDAY)
    turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((WIDTH, WIDTH)))
    publish_day(settings, NEXT_MONDAY)
    publish_people(settings, NEXT_MONDAY, people(60) @ turn)
    second = train(settings, NEXT_MONDAY)
    assert second["vectors"]["turned_to"] == first["generation"]
    build(settings, NEXT_MONDAY)
    before, after = kept(settings, first["generation"]), kept(settings, second["generation"])
    assert np.allclose(before, after, atol=1e-4)


def test_the_collaborative_half_can_stand_alone_and_a_change_is_another_tokenizer(settings):
    publish_day(settings, MONDAY)
    both = train(settings, MONDAY)
    alone = train(settings, MONDAY, vectors="collaborative")
    assert "asks for another tokenizer than that of" in alone["reason"]
    build(settings, MONDAY, vectors="collaborative")
    assert kept(settings, alone["generation"]).shape == (60, WIDTH)
    text = train(settings, MONDAY, vectors="text")
    assert text["vectors"]["border"] is None
    assert len({both["generation"], alone["generation"], text["generation"]}) == 3


def test_vectors_that_know_of_what_is_held_out_are_refused(settings):
    publish_day(settings, MONDAY, num_users=9)
    with pytest.raises(ProgramError, match=r"60 of 60 rows of 'collaborative_vectors' know of ev"):
        train(settings, MONDAY)


def test_without_events_content_is_read_with_an_alarm_until_there_are_some(settings):
    publish_items(settings, MONDAY, 30)
    publish_vectors(settings, MONDAY, vectors(30))
    trained = train(settings, MONDAY)
    assert trained["vectors"]["read"] == "text"
    assert "The codes are made of content alone" in trained["alarms"][-1]
    build(settings, MONDAY)
    assert train(settings, MONDAY)["status"] == "unchanged"
    publish_day(settings, TUESDAY, 30)
    assert "for want of events, and there are some now" in train(settings, TUESDAY)["reason"]


def test_a_generation_that_knows_of_what_is_held_out_now_is_followed_by_another(settings):
    publish_day(settings, MONDAY)
    assert train(settings, MONDAY)["reason"] == "there is no generation yet"
    publish_day(settings, TUESDAY)
    # A border of before today's is none of the reasons.
    assert train(settings, TUESDAY)["status"] == "unchanged"
    longer = train(settings, TUESDAY, evaluation={"holdout_days": 12})
    assert "are held out now" in longer["reason"]
    other = train(settings, TUESDAY, evaluation={"protocol": "leave_last_out"})
    assert "knows what evaluation.protocol leave_last_out holds out" in other["reason"]


def test_items_of_which_nothing_is_known_have_codes_of_their_id(settings):
    publish_day(settings, MONDAY, known=55)
    store = FeatureStore.open(settings, "small")
    rows = store.read("item_embeddings", partition="text@1").sort_by("item_index")
    digests = ["id:-" if n in (0, 58, 59) else "-" for n in range(60)]
    place = rows.column_names.index("content_digest")
    stage = store.stage("item_embeddings", day=MONDAY, job="test")
    stage.write(rows.set_column(place, "content_digest", pa.array(digests)))
    store.publish(stage)
    trained = train(settings, MONDAY)
    assert build(settings, MONDAY)["new_items_without_embedding"] == 2
    read = kept(settings, trained["generation"])
    assert not read[0, :6].any() and read[0, 6:].any()
    assert not read[58:].any()


def test_vectors_that_are_all_equal_make_a_generation(settings):
    publish_items(settings, MONDAY, 30)
    publish_vectors(settings, MONDAY, np.full((30, 6), 6**-0.5))
    publish_people(settings, MONDAY, np.full((30, WIDTH), WIDTH**-0.5))
    publish_histories(settings, MONDAY, 30)
    trained = train(settings, MONDAY)
    assert trained["quality"]["collision"]["largest_bucket"] == 30
    assert trained["alarms"]
    assert build(settings, MONDAY)["rows"] == 30
    assert len(set(ids(settings, trained["generation"]).values())) == 30


@pytest.mark.parametrize(
    ("evaluation", "known"),
    [
        ({"protocol": "leave_last_out"}, "knows what evaluation.protocol leave_last_out holds out"),
        ({"holdout_days": 12}, "are held out now"),
    ],
)
def test_nothing_is_fitted_with_semantic_ids_that_know_of_what_it_is_asked(
    settings, evaluation, known
):
    publish_day(settings, MONDAY)
    train(settings, MONDAY)
    build(settings, MONDAY)
    same = task(settings, "train_recommender", MONDAY)
    assert training_data_for(same, MODELS["tiger"], day_training_data(same)).semantic_ids.num_rows
    other = task(settings, "train_recommender", MONDAY, evaluation=evaluation)
    with pytest.raises(ProgramError, match=rf"{known}; run train_tokenizer for that day first"):
        training_data_for(other, MODELS["tiger"], day_training_data(other))
