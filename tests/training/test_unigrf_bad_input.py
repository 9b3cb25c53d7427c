"""What unigrf does with users, batches and questions that are not as they should be."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests import worlds
from training import inference
from training.data.batches import BatchPlan
from training.data.histories import Histories
from training.data.splits import split_leave_last_out
from training.data.vocabulary import Vocabulary
from training.evaluation.ranking import Predictions
from training.fit import loop
from training.fit.checkpoint import FILE_NAME
from training.fit.fitting import Fitting, LoopSettings
from training.models import MODELS
from training.models.interface import PAD, Queries
from training.models.unigrf.model import Unigrf
from training.settings.unigrf import UnigrfConfig

SHAPE = {
    "width": 16,
    "num_layers": 1,
    "num_heads": 1,
    "num_negatives": 8,
    "pool": 12,
    "hard_negatives": 2,
}
LOOP = LoopSettings(max_epochs=2, tokens_per_batch=400, max_history=10, checkpoint_every_steps=2)


def split_of(sequences, strengths):
    return split_leave_last_out(worlds.histories_of(sequences, strengths=strengths))


def fit(split, num_items=12, loop_settings=LOOP, **changes):
    config = MODELS["unigrf"].configure({**SHAPE, **changes})
    return MODELS["unigrf"].fit(
        split, config, Fitting(loop_settings, exclude_seen=False), Vocabulary(num_items)
    )


def finite(model):
    return all(value.isfinite().all() for value in model.state_dict().values())


def asked(histories, position, max_history=10):
    user = np.arange(histories.num_users)
    return Queries.at(
        histories, user, np.array(position), max_history=max_history, exclude_seen=False
    )


def test_users_with_one_event_are_trained_on_and_answered():
    split = split_of([[n % 12] for n in range(40)], [[n % 3] for n in range(40)])
    assert len(split.test) == 0
    model, report = fit(split)
    assert finite(model)
    assert all("validation" not in epoch for epoch in report.epochs)
    queries = asked(split.train, [1] * 40)
    answer = inference.recommend_ranked(model, queries, 5, 8)
    assert (answer.items_Bk != PAD).all()
    assert ((answer.scores_Bk > 0) & (answer.scores_Bk < 1)).all()


@pytest.mark.parametrize(("strength", "share"), [(-1, 0.0), (3, 1.0)])
def test_feedback_of_one_kind_only_is_learnt_as_such(strength, share):
    generator = np.random.default_rng(0)
    sequences = generator.integers(0, 12, (60, 8)).tolist()
    settings = replace(
        LOOP, max_epochs=25, learning_rate=1e-2, warmup_steps=2, validation_metric="auc"
    )
    split = split_of(sequences, [[strength] * 8] * 60)
    model, report = fit(split, loop_settings=settings)
    assert finite(model)
    assert report.facts["positive_share"] == share
    # There is no order to be right about; the loss says how near the answers are.
    assert all("validation_auc" not in epoch for epoch in report.epochs)
    assert report.epochs[-1]["validation_logloss"] < report.epochs[0]["validation_logloss"]
    said = inference.rank(model, asked(split.train, [4] * 60), np.full((60, 3), 5))
    assert abs(said - share).max() < 0.1


def test_auc_of_feedback_of_one_kind_is_not_invented():
    judged = Predictions(np.zeros(4, dtype=int), np.ones(4, dtype=bool), np.full(4, 0.5))
    assert "auc" not in judged.points()


def test_a_fit_that_stops_by_auc_goes_on_to_its_last_epoch_where_there_is_none():
    sequences = [[n % 12, (n + 1) % 12, (n + 2) % 12, (n + 3) % 12] for n in range(30)]
    settings = replace(LOOP, max_epochs=3, patience_epochs=1, validation_metric="auc")
    _, report = fit(split_of(sequences, [[2] * 4] * 30), loop_settings=settings)
    assert report.facts["best_epoch"] == 3


@pytest.mark.parametrize("settings", [{}, {"num_negatives": 0}], ids=str)
def test_a_batch_without_a_target_moves_nothing(settings):
    world = worlds.taste(num_users=10)
    batch = next(BatchPlan(10, 3, 300).batches(world.split.train, 0))
    nobody = replace(batch, is_target_BL=torch.zeros_like(batch.is_target_BL), num_targets=0)
    torch.manual_seed(0)
    model = Unigrf(UnigrfConfig(**{**SHAPE, "max_history": 10, **settings}), 30).train()
    loss = model(nobody)
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
    assert torch.isfinite(model(batch))


def test_a_catalogue_smaller_than_the_draw_is_learnt():
    sequences = np.random.default_rng(0).integers(0, 3, (40, 8)).tolist()
    model, _ = fit(split_of(sequences, [[0, 2] * 4] * 40), num_items=3)
    assert finite(model)
    queries = asked(worlds.histories_of(sequences), [8] * 40)
    answer = inference.recommend_ranked(model, queries, 6, 50)
    assert (answer.items_Bk[:, :3] != PAD).all()
    assert (answer.items_Bk[:, 3:] == PAD).all()


def test_a_catalogue_of_one_item_leaves_nothing_to_choose_and_breaks_nothing():
    model, _ = fit(split_of([[0] * 6] * 20, [[0, 2] * 3] * 20), num_items=1)
    assert finite(model)


class Diverging(Unigrf):
    """Loses its mind at the fifth batch."""

    calls = 0

    def forward(self, batch):
        self.calls += self.training
        loss = super().forward(batch)
        return loss * torch.nan if self.calls == 5 else loss


def test_a_loss_that_is_no_number_stops_names_the_batch_and_keeps_the_last_checkpoint(tmp_path):
    world = worlds.taste(num_users=80)
    settings = replace(LOOP, max_epochs=3)
    shape = UnigrfConfig(**{**SHAPE, "max_history": 10})
    torch.manual_seed(0)
    broken = Diverging(shape, 30)
    broken.enhancer.prepare(world.split.train.num_events)
    fitting = Fitting(settings, checkpoints=tmp_path)
    with pytest.raises(
        loop.TrainingDiverged,
        match=r"loss is nan at epoch 1, step 5: a batch of \[\d+, \d+\].*checkpoint in .* from b",
    ):
        loop.fit_model(broken, world.split, fitting)
    kept = load_file(tmp_path / FILE_NAME)
    assert all(v.isfinite().all() for k, v in kept.items() if not k.startswith("training.weighter"))
    # The sound model goes on from there.
    torch.manual_seed(0)
    sound = Unigrf(shape, 30)
    sound.enhancer.prepare(world.split.train.num_events)
    report = loop.fit_model(sound, world.split, fitting)
    assert report.facts["resumed_from"] == {"epoch": 0, "step": 4}
    assert finite(sound)


def test_a_history_without_feedback_of_ours_is_still_a_context():
    """Histories of bare ids, as MLflow gives them, have no times: all are at second 0."""
    bare = Histories(
        user_ids=np.array(["u"], dtype=object),
        offsets=np.array([0, 3]),
        items=np.array([1, 2, 3], dtype=np.int32),
        strengths=np.full(3, 3, dtype=np.int8),
        times=np.zeros(3, dtype=np.int64),
    )
    torch.manual_seed(0)
    model = Unigrf(UnigrfConfig(**{**SHAPE, "max_history": 10}), 30).eval()
    answer = inference.recommend(model, asked(bare, [3]), 5)
    assert (answer.items_Bk != PAD).all()
    assert np.isfinite(answer.scores_Bk).all()
