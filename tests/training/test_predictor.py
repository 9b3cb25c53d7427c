import threading
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from tests import recommender_world
from tests.recommender_world import ITEM_IDS, NUM_ITEMS, NUM_KINDS, trained_bundle
from training import inference
from training.data.histories import SECOND, Histories
from training.data.splits import Targets
from training.models.interface import PAD, Queries
from training.registry import model_predictor as module
from training.registry.model_predictor import on_all_cores
from training.registry.predictor import BundlePredictor


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return BundlePredictor.of(trained_bundle(tmp_path_factory.mktemp("bundle") / "b"), device="cpu")


def histories(*item_lists, strengths=2):
    items = np.array([item for row in item_lists for item in row], dtype=np.int32)
    return Histories(
        user_ids=np.array([f"u{n}" for n in range(len(item_lists))], dtype=object),
        offsets=np.cumsum([0, *map(len, item_lists)], dtype=np.int64),
        items=items,
        strengths=np.full(len(items), strengths, np.int8),
        times=np.arange(len(items), dtype=np.int64),
    )


def assert_same(found: Queries, expected: Queries):
    for field in fields(Queries):
        assert np.array_equal(getattr(found, field.name), getattr(expected, field.name)), field


def test_known_histories_are_asked_as_they_are(predictor):
    known = Histories.from_arrow(recommender_world.histories())
    users, positions = np.array([0, 0, 3]), np.array([2, 9, 24])
    limits = {"max_history": 5, "exclude_seen": True}
    assert_same(
        predictor.ask(known).queries(users, positions, **limits),
        Queries.at(known, users, positions, **limits),
    )


def test_items_that_the_bundle_never_heard_of_are_left_out_of_context_and_exclusion(predictor):
    new = NUM_ITEMS + 5
    asked = predictor.ask(histories([1, new, 2, 3], [new, 4]))
    found = asked.queries(
        np.array([0, 0, 1]), np.array([2, 4, 1]), max_history=10, exclude_seen=True
    )
    assert found.items_BL.tolist() == [[1, PAD, PAD], [1, 2, 3], [PAD, PAD, PAD]]
    assert found.lengths_B.tolist() == [1, 3, 0]
    assert found.excluded.tolist() == [1, 1, 2, 3]
    assert found.excluded_offsets.tolist() == [0, 1, 4, 4]


def test_feedback_that_a_family_does_not_read_is_still_excluded_from_its_answers(predictor):
    strict = replace(predictor, minimum_strength=1)
    disliked = replace(histories([1, 2, 3]), strengths=np.array([2, -1, 2], np.int8))
    found = strict.ask(disliked).queries(
        np.array([0]), np.array([3]), max_history=10, exclude_seen=True
    )
    assert found.items_BL.tolist() == [[1, 3]]
    assert found.excluded.tolist() == [1, 2, 3]


def test_a_question_is_asked_when_the_original_event_happened_though_the_model_reads_it_not(
    predictor,
):
    strict = replace(predictor, minimum_strength=1)
    third_disliked = replace(
        histories([1, 2, 3, 4]),
        strengths=np.array([2, 2, -1, 2], np.int8),
        times=np.array([10, 20, 30, 40]) * SECOND,
    )
    found = strict.ask(third_disliked).queries(
        np.array([0, 0]), np.array([2, 4]), max_history=10, exclude_seen=False
    )
    assert found.asked_at_B.tolist() == [30, 40]
    assert found.times_BL.tolist() == [[10, 20, 30], [10, 20, 40]]


def test_nothing_is_excluded_where_seen_items_may_be_shown_again(predictor):
    found = predictor.ask(histories([1, 2])).queries(
        np.array([0]), np.array([2]), max_history=10, exclude_seen=False
    )
    assert found.excluded.tolist() == [] and found.excluded_offsets.tolist() == [0, 0]


def test_what_follows_is_of_the_same_kind(predictor):
    items, scores = predictor.next_ids([["item-3", "item-7", "item-11"]], 5, exclude_seen=True)
    assert {ITEM_IDS.index(item) % NUM_KINDS for item in items[0]} == {3}
    assert scores[0] == sorted(scores[0], reverse=True)


def test_unknown_ids_are_passed_over(predictor):
    plain = predictor.next_ids([["item-3"]], 5, exclude_seen=True)
    noisy = predictor.next_ids([["who", "item-3", "what"]], 5, exclude_seen=True)
    assert plain == noisy


def test_an_empty_history_is_answered_and_places_that_stay_empty_are_left_out(predictor):
    items, scores = predictor.next_ids([[], ITEM_IDS[:-2]], NUM_ITEMS, exclude_seen=True)
    assert len(items[0]) == NUM_ITEMS
    assert set(items[1]) == set(ITEM_IDS[-2:]) and len(scores[1]) == 2


def test_many_contexts_are_answered_by_several_threads_as_by_one(predictor, monkeypatch):
    world = Histories.from_arrow(recommender_world.histories(num_users=90).to_batches())
    queries = predictor.ask(world).queries(
        np.arange(90), world.lengths, max_history=10, exclude_seen=True
    )
    alone = inference.recommend(predictor.model, queries, 5)
    seen = []

    def watched(part):
        seen.append((threading.get_ident(), len(part)))
        return inference.recommend(predictor.model, part, 5)

    monkeypatch.setattr(module, "_cores", lambda: 2 * torch.get_num_threads())
    together = on_all_cores(watched, queries, device="cpu")
    assert [rows for _, rows in seen] == [45, 45]
    assert threading.get_ident() not in {thread for thread, _ in seen}
    np.testing.assert_array_equal(together.items_Bk, alone.items_Bk)
    np.testing.assert_allclose(together.scores_Bk, alone.scores_Bk, rtol=1e-5)


def test_contexts_come_in_parts_and_in_order(predictor, monkeypatch):
    known = Histories.from_arrow(recommender_world.histories())
    users, positions = np.array([0, 0, 3, 5, 7]), np.array([2, 9, 24, 1, 3])
    monkeypatch.setattr(module, "_ROWS", 2)
    targets = Targets(known, users, positions)
    parts = [*predictor.queries(known, targets.questions, exclude_seen=False)]
    assert [len(part) for part in parts] == [2, 2, 1]
    whole = predictor.ask(known).queries(
        users, positions, max_history=predictor.max_history, exclude_seen=False
    )
    # Each part is as wide as its longest context.
    rows = [row[row != PAD].tolist() for part in parts for row in part.items_BL]
    assert rows == [row[row != PAD].tolist() for row in whole.items_BL]


def test_a_model_that_cannot_rank_answers_no_feedback(predictor):
    assert predictor.answers == {"lists", "slates"} and predictor.codes_VQ is None
    known = Histories.from_arrow(recommender_world.histories())
    targets = Targets(known, np.array([0]), np.array([3]))
    queries = next(predictor.queries(known, targets.questions, exclude_seen=False))
    with pytest.raises(
        ValueError, match="answers lists and slates, not feedback: ask another model"
    ):
        predictor.rank(queries, np.array([[1]]))
