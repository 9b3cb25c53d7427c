"""rankgr's phases by themselves: the second learns what the fitted first answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests import worlds
from tests.suites.recommender import hit_rate
from tests.training.test_rankgr import LOOP, SMALL, fit, model_of
from training.data.batches import BatchPlan
from training.data.queries import PAD, Queries
from training.data.splits import Targets
from training.fit.fitting import Fitting
from training.models.rankgr import apart
from training.settings.rankgr import RankgrConfig

APART = {"refinement_share": 0.2, "refines_reader": False}


@pytest.fixture(scope="module")
def world():
    return worlds.chain(num_users=40)


def last_of(train, share=0.2):
    marked = apart.last_events(train, share)
    return Targets(train, train.users[marked], train.positions[marked])


def test_each_question_is_a_row_that_ends_with_its_answer(world):
    train = world.split.train
    targets = last_of(train)
    plan = BatchPlan(max_history=6, overlap=2, positions_per_batch=70)
    batches = list(plan.batches(train, 3, only=targets))
    assert plan.num_batches(train, 3, only=targets) == len(batches) > 2
    asked = Queries.at(train, targets.user, targets.position, max_history=6, exclude_seen=True)
    answered = []
    for batch in batches:
        rows, columns = batch.is_target_BL.nonzero(as_tuple=True)
        assert rows.tolist() == list(range(len(batch.items_BL)))
        assert batch.num_targets == len(rows)
        for row, column in zip(rows, columns, strict=True):
            event = int(batch.events_BL[row, column])
            place = int(np.flatnonzero(targets.events == event)[0])
            answered.append(place)
            assert batch.items_BL[row, column] == targets.items[place]
            known = asked.items_BL[place, : asked.lengths_B[place]]
            assert batch.items_BL[row, :column].tolist() == known.tolist()
            assert (batch.items_BL[row, column + 1 :] == PAD).all()
    assert sorted(answered) == list(range(len(targets)))


def test_what_is_offered_is_what_is_answered_and_nothing_that_was_seen(world):
    train, model = world.split.train, model_of(world)
    targets = last_of(train)
    found = apart.offered(model, targets, Fitting(LOOP))
    items, log_probs = found.at(torch.from_numpy(targets.events))
    asked = Queries.at(train, targets.user, targets.position, max_history=20, exclude_seen=True)
    top = model.assess(model.read(asked), SMALL["candidates"])
    assert items.tolist() == top.items_Bk.tolist()
    np.testing.assert_allclose(log_probs[items != PAD], top.scores_Bk[top.items_Bk != PAD], 1e-5)
    assert log_probs.isfinite().all()
    assert (found.place_E >= 0).sum() == len(targets)


@pytest.mark.parametrize("phase", ["first", "second"])
def test_a_step_moves_the_phase_that_learns(world, phase):
    model, train = model_of(world), world.split.train
    targets = last_of(train)
    answers = apart.offered(model, targets, Fitting(LOOP)) if phase == "second" else None
    torch.nn.init.normal_(model.scorer.out.weight, std=0.1)
    model.learn(phase, answers)
    model.prepare(None)
    plan = BatchPlan(max_history=20, overlap=5, positions_per_batch=800)
    batch = next(plan.batches(train, 0, only=None if answers is None else targets))
    model.train()(batch).backward()
    moved = {
        name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum()
    }
    assert moved
    assert all(name.startswith("scorer.") == (phase == "second") for name in moved)


def test_the_first_phase_is_what_it_is_alone(world):
    loop = replace(LOOP, max_epochs=2)
    both, _ = fit(world, loop=loop, **APART)
    alone, _ = fit(world, loop=loop, refinement_weight=0.0)
    weights = both.state_dict()
    for name, value in alone.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert both.scorer.out.weight.abs().sum() > 0
    assert all(parameter.requires_grad for parameter in both.parameters())


def test_training_finds_how_the_world_was_made():
    world = worlds.chain(num_users=150)
    loop = replace(LOOP, max_epochs=15, validation_metric="loss", patience_epochs=15)
    model, report = fit(world, loop=loop, width=32, **APART)
    assert hit_rate(model, world.split.test, max_history=20) > world.best_hit_rate - 0.08
    losses = report.facts["refinement_loss"]
    assert losses[-1] < losses[0]
    assert len(losses) == apart.EPOCHS
    assert len(report.epochs) == 15
    assert report.facts["settings"]["max_epochs"] == 15


@pytest.mark.parametrize("part", [1, 2])
def test_a_fit_that_is_killed_in_any_part_goes_on_to_the_same_weights(world, tmp_path, part):
    class Killed(Exception):
        pass

    class Kill:
        parts = 0

        def on_start(self, *_):
            self.parts += 1

        def on_step(self, epoch, step, *_):
            if (self.parts, epoch, step) == (part, 1, 1):
                raise Killed

        def on_epoch(self, *_):
            pass

    loop = replace(LOOP, max_epochs=2, checkpoint_every_steps=1)
    undisturbed, whole = fit(world, loop=loop, checkpoints=tmp_path / "a", **APART)
    with pytest.raises(Killed):
        fit(world, loop=loop, checkpoints=tmp_path / "b", observers=(Kill(),), **APART)
    resumed, rest = fit(world, loop=loop, checkpoints=tmp_path / "b", **APART)
    for name, value in undisturbed.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert [e["validation"] for e in whole.epochs] == [e["validation"] for e in rest.epochs]


def test_a_second_phase_that_does_not_learn_by_itself_is_refused():
    with pytest.raises(ValueError, match="expected refines_reader: false, and a refinement_weight"):
        RankgrConfig(refinement_share=0.1)
    with pytest.raises(ValueError, match=r"refinement_share is 0.1, of a second phase"):
        RankgrConfig(refinement_share=0.1, refines_reader=False, refinement_weight=0.0)


def test_a_share_of_no_event_is_refused(world):
    with pytest.raises(ValueError, match=r"of 880 events of 40 people that is none: raise it, or"):
        fit(world, refinement_share=0.01, refines_reader=False)
