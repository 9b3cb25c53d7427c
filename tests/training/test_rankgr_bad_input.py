"""rankgr given what it can't learn from, or can't answer: each has its stated answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests import worlds
from tests.training.test_rankgr import batch_of, gradients, lists_of, model_of
from training import inference
from training.data.queries import PAD, Queries
from training.models.tiger import model as tiger

NUM_ITEMS = 30
EVERYTHING = np.arange(NUM_ITEMS, dtype=np.int32)


@pytest.fixture(scope="module")
def world():
    return worlds.chain(num_users=20, num_items=NUM_ITEMS)


@pytest.fixture(params=["exact", "beam"])
def answered(request, monkeypatch):
    """Both ways to a list: all prefixes, and a constrained beam."""
    if request.param == "beam":
        monkeypatch.setattr(tiger, "MOST_PREFIXES", 0)


def queries_of(*, excluded, unlisted=()):
    """A row for each of these lists of items that may not be answered, after events 1, 2, 3."""
    rows = len(excluded)
    return Queries(
        items_BL=np.tile(np.array([1, 2, 3], np.int32), (rows, 1)),
        strengths_BL=np.ones((rows, 3), np.int8),
        times_BL=np.tile(np.arange(3), (rows, 1)),
        asked_at_B=np.full(rows, 3),
        lengths_B=np.full(rows, 3),
        excluded=np.concatenate([np.array(items, np.int32) for items in excluded]),
        excluded_offsets=np.cumsum([0, *map(len, excluded)]),
        unlisted=np.array(unlisted, np.int32),
    )


def fixed(model):
    """The model, with a second phase that changes the order."""
    torch.nn.init.normal_(model.scorer.out.weight, std=0.3)
    return model.eval()


def step_of(model, batch, lists):
    """Loss and gradients of a step."""
    model.prepare(lists)
    loss = model.train()(batch)
    model.zero_grad()
    return loss.item(), gradients(model, batch)


def test_a_context_of_one_tier_teaches_nothing(world):
    # Everything that could be a candidate comes later in the row: what came next has no rival.
    batch = batch_of([EVERYTHING.tolist()], [[place == 0 for place in range(NUM_ITEMS)]])
    shape = {"dropout": 0.0, "max_history": NUM_ITEMS}
    model = fixed(model_of(world, preference_weight=1.0, **shape))
    alone = model_of(world, preference_weight=0.0, refinement_weight=0.0, **shape)
    lists = lists_of([(0, [0, 5, 6], [1, 1, 1])], NUM_ITEMS)
    loss, of_step = step_of(model, batch, lists)
    expected, of_next = step_of(alone, batch, None)
    assert loss == pytest.approx(expected)
    assert of_step["scorer.out.weight"] == 0
    for name, value in of_next.items():
        assert of_step[name] == pytest.approx(value, rel=1e-4), name


@pytest.mark.parametrize(
    "items", [[], [31, 32]], ids=["no items", "only items without a semantic ID"]
)
def test_an_empty_list_compares_what_a_context_without_one_does(world, items):
    batch = batch_of([[1, 2, 3, 4], [5, 6, 7, 8]])
    empty = lists_of([(1, items, [1] * len(items))], 8, unknown=[31, 32])
    model = fixed(model_of(world, dropout=0.0, preference_weight=1.0))
    torch.manual_seed(0)
    loss, of_step = step_of(model, batch, empty)
    torch.manual_seed(0)
    expected, _ = step_of(model, batch, None)
    assert loss == pytest.approx(expected)
    assert all(np.isfinite(list(of_step.values())))


def test_rows_without_a_target_have_no_loss(world):
    """A process of several has such a row where a step has fewer rows than processes."""
    batch = batch_of([[1, 2, 3]], [[False] * 3])
    model = fixed(model_of(world, preference_weight=1.0, each_prefix=True))
    loss, of_step = step_of(model, batch, lists_of([(1, [2, 9], [1, 3])], 3))
    assert loss == 0
    assert set(of_step.values()) == {0}


@pytest.mark.usefixtures("answered")
def test_an_item_without_a_semantic_id_is_no_candidate(world):
    codes_VQ = world.vocabulary.codes_VQ.copy()
    codes_VQ[[4, 7]] = -1
    partial = replace(world, vocabulary=replace(world.vocabulary, codes_VQ=codes_VQ))
    model = fixed(model_of(partial, candidates=NUM_ITEMS))
    lists = inference.recommend(model, queries_of(excluded=[[], [1, 2, 3]]), NUM_ITEMS).items_Bk
    offered = [set(items.tolist()) - {PAD} for items in lists]
    known = set(EVERYTHING.tolist()) - {4, 7}
    assert offered == [known, known - {1, 2, 3}]
    batch = batch_of([[1, 2, 3, 5]])
    with torch.no_grad():
        y_BLD = model.expected(batch)
        row, column = torch.tensor([0]), torch.tensor([2])
        own, _ = model._own_candidates(batch, row, column, y_BLD[row, column])
    assert set(own[0].tolist()) - {PAD} == known - {1, 2}


@pytest.mark.usefixtures("answered")
def test_more_candidates_than_items_are_all_that_there_are(world):
    few, many = (fixed(model_of(world, candidates=count)) for count in (NUM_ITEMS, 100 * NUM_ITEMS))
    many.load_state_dict(few.state_dict())
    queries = queries_of(excluded=[[], [1, 2, 3]])
    one, other = (inference.recommend(model, queries, 10) for model in (few, many))
    assert (one.items_Bk == other.items_Bk).all()
    assert (one.items_Bk != PAD).all()
    np.testing.assert_allclose(one.scores_Bk, other.scores_Bk, rtol=1e-5)


@pytest.mark.usefixtures("answered")
def test_a_beam_that_can_go_nowhere_offers_nothing_and_its_neighbour_something(world):
    model = fixed(model_of(world))
    top = inference.recommend(model, queries_of(excluded=[EVERYTHING, EVERYTHING[:-2]]), 5)
    assert (top.items_Bk[0] == PAD).all()
    assert np.isneginf(top.scores_Bk[0]).all()
    assert set(top.items_Bk[1].tolist()) == {PAD, NUM_ITEMS - 1, NUM_ITEMS - 2}
    assert np.isfinite(top.scores_Bk[1, :2]).all()
    unlisted = inference.recommend(model, queries_of(excluded=[[]], unlisted=EVERYTHING), 5)
    assert (unlisted.items_Bk == PAD).all()
