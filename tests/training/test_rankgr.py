"""rankgr: what is compared, what guards it, and that it finds what worlds hold."""

import copy
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from tests import worlds
from tests.suites.recommender import NeuralSuite, hit_rate
from training import inference
from training.data.batches import Batch, BatchPlan
from training.data.preference_lists import PreferenceLists
from training.data.queries import PAD, queries_of
from training.fit.fitting import Fitting, LoopSettings
from training.models import MODELS
from training.models.rankgr.contexts import EventLists, contexts_of
from training.models.rankgr.fit import BothPhases
from training.models.rankgr.model import Rankgr
from training.settings.rankgr import RankgrConfig

SMALL = {"width": 16, "num_layers": 2, "candidates": 8, "max_history": 20, "beam_width": 30}


class TestRankgr(NeuralSuite):
    family = "rankgr"
    settings: ClassVar[dict] = SMALL

    def build(self, world, **changes):
        vocabulary = world.vocabulary
        codes = torch.from_numpy(vocabulary.codes_VQ)
        content = torch.from_numpy(vocabulary.vectors_VD)
        config = RankgrConfig(**{**self.settings, **changes})
        model = Rankgr(config, codes, content, vocabulary.level_sizes)
        if model.scorer is not None:  # whose last layer begins at zero
            torch.nn.init.normal_(model.scorer.out.weight, std=0.1)
        return model

    def outputs(self, model, items_BL):
        strengths_BL, times_BL = torch.ones_like(items_BL), torch.zeros_like(items_BL)
        return model.reader(model.items, items_BL, strengths_BL, times_BL)[:, :-1]


class TestFirstPhaseAlone(TestRankgr):
    settings: ClassVar[dict] = {
        **SMALL,
        "refinement_weight": 0.0,
        "each_prefix": True,
        "reference": "average",
    }


def batch_of(rows, targets=None):
    """Rows of items, all of them targets, numbered one after the other."""
    items = torch.tensor(rows)
    marks = items != PAD if targets is None else torch.tensor(targets)
    first = torch.arange(len(rows)) * items.shape[1]
    zeros = torch.zeros_like(items)
    return Batch(items, zeros.to(torch.int8), zeros, marks, int(marks.sum()), first)


def lists_of(lists, num_events, *, num_items=40, unknown=()):
    """Lists of (event, items, tiers), one event each."""
    lengths = [len(items) for _, items, _ in lists]
    nothing = np.zeros(len(lists), np.int64)
    rows = PreferenceLists(
        nothing,
        nothing,
        nothing,
        np.concatenate([[0], np.cumsum(lengths)]),
        np.array([item for _, items, _ in lists for item in items], np.int32),
        np.array([tier for *_, tiers in lists for tier in tiers], np.int8),
    )
    list_E = np.full(num_events, -1)
    for number, (event, *_) in enumerate(lists):
        list_E[event] = number
    known_V = np.ones(num_items, bool)
    known_V[list(unknown)] = False
    return EventLists.of(rows, list_E, known_V)


def compared(contexts):
    """Items and their tiers of the first context, those that are compared."""
    pairs = zip(contexts.items_GC[0].tolist(), contexts.tiers_GC[0].tolist(), strict=True)
    return [(item, tier) for item, tier in pairs if tier]


def test_what_came_next_stands_above_own_candidates_and_later_items_are_not_compared():
    batch = batch_of([[1, 2, 3, 4]])
    own = torch.tensor([[3, 9, 4, 8]])
    contexts = contexts_of(batch, torch.tensor([0]), torch.tensor([2]), own, None)
    assert compared(contexts) == [(3, 1), (3, 1), (9, 4), (8, 4)]
    assert contexts.tiers_without_repeats[0].tolist() == [1, 0, 4, 0, 4]


def test_a_list_says_the_tiers_and_each_item_stands_once():
    batch = batch_of([[1, 2, 3, 4]])
    lists = lists_of([(2, [5, 3, 9, 1, 30, 7], [1, 2, 3, 1, 3, 4])], 4, unknown=[30])
    own = torch.tensor([[9, 8]])
    contexts = contexts_of(batch, torch.tensor([0]), torch.tensor([2]), own, lists)
    # 3 came next, in the second tier; 9 is an own candidate that was shown; 1 was seen before; 30
    # has no codes.
    assert compared(contexts) == [(3, 2), (9, 3), (8, 4), (5, 1), (7, 4)]


def test_an_event_without_a_list_beside_one_that_has_it():
    batch = batch_of([[1, 2, 3, 4]])
    lists = lists_of([(3, [4, 6], [1, 3])], 4)
    own = torch.tensor([[9], [9]])
    contexts = contexts_of(batch, torch.tensor([0, 0]), torch.tensor([1, 3]), own, lists)
    assert contexts.tiers_GC.tolist() == [[1, 4, 0, 0], [1, 4, 0, 3]]


def model_of(world, **settings):
    torch.manual_seed(0)
    config = RankgrConfig(**{**SMALL, **settings})
    codes = torch.from_numpy(world.vocabulary.codes_VQ)
    content = torch.from_numpy(world.vocabulary.vectors_VD)
    return Rankgr(config, codes, content, world.vocabulary.level_sizes)


@pytest.fixture(scope="module")
def world():
    return worlds.chain(num_users=60)


@pytest.fixture(scope="module")
def batch(world):
    plan = BatchPlan(max_history=20, overlap=5, positions_per_batch=800)
    return next(plan.batches(world.split.train, 0))


def test_own_candidates_are_the_nearest_that_were_not_seen(world, batch):
    model = model_of(world).eval()
    with torch.no_grad():
        y_BLD = model.expected(batch)
        row, column = torch.tensor([0, 3]), torch.tensor([0, 9])
        own, _ = model._own_candidates(batch, row, column, y_BLD[row, column])
        near = model.head.logits(y_BLD[row, column], model.items)
    for place, (r, c) in enumerate([(0, 0), (3, 9)]):
        seen = set(batch.items_BL[r, :c].tolist()) - {int(batch.items_BL[r, c])}
        ranked = [i for i in near[place].argsort(descending=True).tolist() if i not in seen]
        assert own[place].tolist() == ranked[:8]


def test_an_untrained_second_phase_keeps_the_order_of_the_first(world):
    model = model_of(world).eval()
    [queries, *_] = queries_of(world.split.test, max_history=20, exclude_seen=True)
    state = model.read(queries)
    first = model.assess(state, 8).items_Bk
    assert (model.recommend(state, 5).items_Bk == first[:, :5]).all()
    with torch.no_grad():
        model.scorer.trust.fill_(-1.0)
    is_full = (first != PAD).all(1)
    assert is_full.sum() > 5
    assert (model.recommend(state, 8).items_Bk == first[:, ::-1])[is_full].all()


@torch.inference_mode()
def test_candidates_are_scored_the_same_in_any_company(world):
    model = model_of(world).eval()
    torch.nn.init.normal_(model.scorer.out.weight)
    [queries, *_] = queries_of(world.split.test, max_history=20, exclude_seen=True)
    state = model.read(queries.rows(0, 4))
    items = torch.arange(12).expand(4, -1)
    scores = [
        model.scorer(
            state.memory,
            state.is_read_BT,
            state.expected.y_BD,
            model.items.of(part),
            torch.zeros(part.shape),
        )
        for part in (items, items[:, :5], items[:, 5:])
    ]
    torch.testing.assert_close(scores[0], torch.cat(scores[1:], 1))


def test_a_list_of_more_places_than_candidates_looks_at_as_many(world):
    model = model_of(world).eval()
    [queries, *_] = queries_of(world.split.test, max_history=20, exclude_seen=True)
    lists = inference.recommend(model, queries, 200).items_Bk
    assert lists.shape[1] == 200
    offered = (lists != PAD).sum(1)
    seen = np.split(queries.excluded, queries.excluded_offsets[1:-1])
    num_items = world.vocabulary.num_items
    assert offered.tolist() == [num_items - len(set(items)) for items in seen]


def gradients(model, batch):
    """Sums of absolute gradients of a step, by the name of each parameter."""
    torch.manual_seed(1)
    model.train()(batch).backward()
    return {
        name: float(0 if p.grad is None else p.grad.abs().sum())
        for name, p in model.named_parameters()
    }


def test_gradients_of_the_second_phase_reach_the_reader_only_where_they_may(world, batch):
    def reader(**settings):
        model = model_of(world, dropout=0.0, preference_weight=0.0, **settings)
        if model.scorer is not None:
            fixed = torch.Generator().manual_seed(0)
            torch.nn.init.normal_(model.scorer.out.weight, generator=fixed)
        found = gradients(model, batch)
        return found["reader.start_D"], found.get("scorer.out.weight")

    alone, _ = reader(refinement_weight=0.0)
    detached, learnt = reader(refines_reader=False)
    joint, _ = reader(refines_reader=True)
    assert learnt > 0
    assert detached == pytest.approx(alone, rel=1e-5)
    assert joint != pytest.approx(alone, rel=1e-3)


def test_preferences_make_better_tiers_likelier(world, batch):
    """Steps of the list loss alone widen what lies between tiers."""
    model = model_of(world, dropout=0.0, preference_weight=1.0, refinement_weight=0.0).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    accuracies = []
    for _ in range(30):
        torch.manual_seed(0)
        model._list_losses(batch, model.expected(batch)).backward()
        optimizer.step()
        optimizer.zero_grad()
        accuracies.append(model.end_epoch(lambda sums: sums)["accuracy_1_4"])
    assert accuracies[-1] > accuracies[0] + 0.3


def test_a_reference_that_is_the_model_gives_rewards_of_zero(world, batch):
    model = model_of(world, dropout=0.0, preference_weight=1.0, reference="start",
                     refinement_weight=0.0)  # fmt: skip
    model.prepare(None)
    torch.manual_seed(0)
    model.train()
    loss = model._list_losses(batch, model.expected(batch)).item()
    torch.manual_seed(0)
    own = model.config.candidates
    # All rewards are 0: one above n others is log(1 + n).
    assert np.log(own / 2) < loss < np.log(own + 2)
    assert not any("reference" in name for name in model.state_dict())


def test_a_reference_that_follows_moves_and_one_that_does_not_stays(world, batch):
    for reference, moves in (("average", True), ("start", False)):
        model = model_of(world, reference=reference)
        model.prepare(None)
        before = copy.deepcopy(model._reference.state())
        with torch.no_grad():
            model.reader.start_D.add_(1.0)
        model.train()(batch)
        step = model._reference.state()["reader.start_D"] - before["reader.start_D"]
        assert step.mean().item() == pytest.approx(0.005 if moves else 0.0, abs=1e-6)


LOOP = LoopSettings(
    max_epochs=3, tokens_per_batch=1024, learning_rate=1e-2, max_history=20, warmup_steps=5
)


def fit(world, *, checkpoints=None, observers=(), lists=None, loop=LOOP, **settings):
    fitting = Fitting(loop, exclude_seen=False, checkpoints=checkpoints, observers=observers)
    family = MODELS["rankgr"]
    data = {} if lists is None else {"preference_lists": lists}
    config = family.configure({**SMALL, "dropout": 0.0, **settings})
    return family.fit(world.split, config, fitting, world.vocabulary, data)


def test_training_finds_how_the_world_was_made():
    world = worlds.chain(num_users=150)
    loop = replace(LOOP, max_epochs=25, validation_metric="loss", patience_epochs=25)
    model, report = fit(world, loop=loop, width=32)
    assert hit_rate(model, world.split.test, max_history=20) > world.best_hit_rate - 0.08
    assert report.facts["candidate_recall"] > 0.9
    assert report.facts["alarms"] == []
    assert report.epochs[-1]["accuracy_1_4"] > 0.8


def test_a_killed_fit_goes_on_to_the_same_weights(world, tmp_path):
    class Killed(Exception):
        pass

    class Kill:
        def on_start(self, *_):
            pass

        def on_step(self, epoch, step, *_):
            if (epoch, step) == (1, 3):
                raise Killed

        def on_epoch(self, *_):
            pass

    loop = replace(LOOP, checkpoint_every_steps=1)
    undisturbed, whole = fit(world, loop=loop, reference="average", checkpoints=tmp_path / "a")
    with pytest.raises(Killed):
        fit(world, loop=loop, reference="average", checkpoints=tmp_path / "b", observers=(Kill(),))
    resumed, rest = fit(world, loop=loop, reference="average", checkpoints=tmp_path / "b")
    assert rest.facts["resumed_from"] is not None
    for name, value in undisturbed.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    watched = ("chosen_log_prob", "accuracy_1_4", "perplexity", "validation")
    for one, other in zip(whole.epochs, rest.epochs, strict=True):
        assert [one[name] for name in watched] == [other[name] for name in watched]


def test_preferences_that_speak_against_what_comes_next_end_the_fit_with_the_reason(world):
    train = world.split.train
    other = (train.items + 1) % world.vocabulary.num_items
    lists = PreferenceLists(
        user=train.users,
        started_at=train.times,
        ended_at=train.times,
        offsets=2 * np.arange(train.num_events + 1),
        items=np.stack([other, train.items], 1).ravel(),
        tiers=np.tile(np.array([1, 3], np.int8), train.num_events),
    )
    loop = replace(LOOP, max_epochs=8, tokens_per_batch=128, patience_epochs=8)
    _, report = fit(world, lists=lists, loop=loop, preference_weight=600.0, preference_scale=0.05,
                    refinement_weight=0.0)  # fmt: skip
    assert "perplexity of a code went from" in report.facts["stopped_because"]
    assert "lower preference_weight" in report.facts["stopped_because"]
    assert report.epochs[-1]["accuracy_1_3"] > 0.7


def test_the_objection_is_about_the_best_epoch(world):
    objective = BothPhases(world.split, LOOP, 1)
    assert objective.objection([{"perplexity": 8.0}, {"perplexity": 15.9}]) == ""
    assert objective.objection([{"perplexity": 8.0}, {"perplexity": 16.1}]).startswith("perplexity")
    assert objective.objection([{}]) == ""


def test_a_second_phase_that_makes_lists_worse_is_an_alarm():
    from training.models.rankgr.fit import _alarms

    assert _alarms({"assessed": 0.5, "refined": 0.4, "refined_error": 0.01})[0].startswith(
        "refined scoring takes NDCG@10 from 0.5000 to 0.4000"
    )
    assert _alarms({"assessed": 0.5, "refined": 0.49, "refined_error": 0.01}) == []
    assert _alarms({}) == []


def test_fewer_items_than_candidates(world):
    model, _ = fit(world, loop=replace(LOOP, max_epochs=1), candidates=500)
    [queries, *_] = queries_of(world.split.test, max_history=20, exclude_seen=True)
    assert (inference.recommend(model, queries, 10).items_Bk[:, 0] != PAD).all()
