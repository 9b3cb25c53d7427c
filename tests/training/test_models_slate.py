from typing import ClassVar

import numpy as np
import pytest
import torch

from tests import worlds
from tests.suites.slate_model import SlateSuite
from training.data.slate_batches import slate_queries
from training.data.vocabulary import Vocabulary
from training.evaluation.slate import recommended_slates, slate_metrics
from training.fit.fitting import Fitting, LoopSettings, Observer
from training.models import MODELS
from training.models.flat_slate.model import FlatSlate
from training.models.higr.model import Higr
from training.settings.families import FlatSlateConfig
from training.settings.higr import HigrConfig

SMALL = {"width": 16, "num_heads": 1, "beam_width": 4}


class TestHigr(SlateSuite):
    family = "higr"
    model_class = Higr
    settings: ClassVar[dict] = {**SMALL, "planner_layers": 2}


class TestHigrThatImagines(TestHigr):
    settings: ClassVar[dict] = {**TestHigr.settings, "planner_feedback": "latent"}
    sees_items = False


class TestHigrOnHstu(TestHigr):
    settings: ClassVar[dict] = {**TestHigr.settings, "backbone": "hstu", "num_negatives": 8}


class TestHigrThatImaginesOnHstu(TestHigrOnHstu):
    settings: ClassVar[dict] = {**TestHigrOnHstu.settings, "planner_feedback": "latent"}
    sees_items = False


class TestHigrByCodes(TestHigr):
    settings: ClassVar[dict] = {**TestHigr.settings, "learns": "codes"}


class TestHigrByItems(TestHigr):
    settings: ClassVar[dict] = {**TestHigr.settings, "learns": "items"}


class TestFlatSlate(SlateSuite):
    family = "flat_slate"
    model_class = FlatSlate
    settings: ClassVar[dict] = {**SMALL, "num_layers": 2}


class TestFlatSlateOnHstu(TestFlatSlate):
    settings: ClassVar[dict] = {**TestFlatSlate.settings, "backbone": "hstu"}


def fit(family, world, *, max_epochs=8, **settings):
    loop = LoopSettings(
        max_epochs=max_epochs,
        tokens_per_batch=1024,
        learning_rate=1e-2,
        warmup_steps=10,
        max_history=20,
        patience_epochs=max_epochs,
        validation_metric="loss",
    )
    config = MODELS[family].configure({"width": 32, "num_heads": 1, "dropout": 0.0, **settings})
    fitting = Fitting(loop, exclude_seen=False)
    return MODELS[family].fit(world.split, config, fitting, world.vocabulary, world.data)


@pytest.mark.parametrize(
    ("family", "short_of_best", "settings"),
    [
        ("higr", 0.1, {}),
        # Never told what was chosen, it has to add the place to the context by itself.
        ("higr", 0.25, {"planner_feedback": "latent"}),
        ("higr", 0.1, {"learns": "codes"}),
        ("higr", 0.1, {"learns": "items"}),
        ("flat_slate", 0.1, {}),
    ],
    ids=["higr", "latent", "codes", "items", "flat"],
)
def test_training_finds_how_the_world_goes_on(family, short_of_best, settings):
    world = worlds.continued(num_slates=8)
    model, report = fit(family, world, order="exposed", **settings)
    test = world.slates.test
    slates_SM = recommended_slates(model, test, 4, max_history=20, exclude_seen=False)
    first = (slates_SM[:, 0] == test.items[test.offsets[:-1]]).mean()
    assert first > world.best_hit_rate - short_of_best
    # Each later item follows with the same certainty: recall is the mean of 0.9^1 … 0.9^4.
    assert slate_metrics(slates_SM, test, (4,))["recall@4"].mean() > 0.77 - short_of_best
    assert report.epochs[-1]["loss"] < 0.6 * report.epochs[0]["loss"]
    assert report.facts["train_slates_left_out"] == 0


@pytest.mark.parametrize("feedback", ["item", "latent"])
def test_a_place_holds_the_item_that_codes_and_cosines_like_best(feedback):
    world = worlds.continued(num_users=20)
    shape = {"max_epochs": 2, "planner_feedback": feedback, "normalisation": "all"}
    model, _ = fit("higr", world, **shape)
    model.requires_grad_(False)
    queries = next(slate_queries(world.slates.test, max_history=20, exclude_seen=True, rows=8))
    batch, seen_BE = model.questions(queries), torch.from_numpy(queries.excluded_BE)
    items_Bk, _ = model.say(model.remember(batch), 5, seen_BE)
    plan_BkD = model.plan(batch, items_Bk[:, None])[:, 0]
    codes_alone = []
    every_V = torch.arange(30)
    for row, place in np.ndindex(*items_Bk.shape):
        plan_VD = plan_BkD[row, place].expand(30, -1)
        by_codes_V = model.decoder.log_probs(plan_VD, model.items.codes(every_V), model.items).sum(
            1
        )
        worth_V = by_codes_V + model.weighed(plan_BkD[row, place], every_V)
        taken = torch.cat([seen_BE[row][seen_BE[row] >= 0], items_Bk[row, :place]])
        worth_V[taken], by_codes_V[taken] = -torch.inf, -torch.inf
        assert items_Bk[row, place] == worth_V.argmax()
        codes_alone.append(items_Bk[row, place] == by_codes_V.argmax())
    assert not all(codes_alone)


def test_a_slate_of_any_length_is_said():
    world = worlds.continued(num_users=20)
    model, _ = fit("higr", world, max_epochs=1)
    slates_SM = recommended_slates(
        model, world.slates.test, 100, max_history=20, exclude_seen=False
    )
    assert (np.sort(slates_SM, axis=1)[:, 70:] == np.arange(30)).all()
    assert (slates_SM[:, 30:] == -1).all()


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("shape", "rival"),
    [
        ({}, {}),
        ({"planner_feedback": "latent"}, {}),
        ({"learns": "codes"}, {}),
        ({"planner_layers": 14}, {"num_layers": 14}),
        # The decoder grows with the square of the width, heads do not.
        ({"width": 128}, {"width": 128, "hidden_width": 376}),
    ],
)
def test_the_flat_decoder_has_as_many_weights(shape, rival):
    codes, content = worlds.codes_of(1000, (16, 16, 16)), torch.ones(1000, 8)
    sizes = (128, 128, 128)
    ours = count(Higr(HigrConfig(**shape), torch.from_numpy(codes), content, sizes))
    flat = FlatSlateConfig(**rival)
    theirs = count(FlatSlate(flat, torch.from_numpy(codes), content, sizes))
    assert abs(ours / theirs - 1) < 0.05


def test_a_split_without_slates_is_refused():
    world = worlds.chain(num_users=5)
    with pytest.raises(ValueError, match="learns slates, and there are none; run build_slates"):
        fit("higr", world)


def test_slates_of_which_nothing_was_engaged_with_are_refused():
    world = worlds.continued(num_users=5)
    with pytest.raises(ValueError, match=r"none of 5 training slates has an item .* of 2 or more"):
        fit("flat_slate", world, minimum_strength=2)


def test_slates_are_learnt_without_the_items_that_have_no_code():
    world = worlds.continued(num_users=30)
    codes_VQ = world.vocabulary.codes_VQ.copy()
    codes_VQ[5] = -1
    vocabulary = worlds.replace(world.vocabulary, codes_VQ=codes_VQ)
    _, report = fit("higr", worlds.replace(world, vocabulary=vocabulary), max_epochs=1)
    lost = int((world.slates.train.items == 5).sum())
    assert lost > 0
    assert report.facts["train_slate_items_without_code"] == lost
    assert report.epochs[0]["targets"] == len(world.slates.train.items) - lost


def test_a_slate_can_not_be_stopped_by_auc():
    world = worlds.continued(num_users=5)
    config = MODELS["higr"].configure({"width": 8, "num_heads": 1})
    fitting = Fitting(LoopSettings(max_epochs=1, validation_metric="auc"))
    with pytest.raises(ValueError, match=r"a slate has no AUC to stop by; set .*higr"):
        MODELS["higr"].fit(world.split, config, fitting, world.vocabulary, world.data)


def test_shapes_that_are_nothing_are_refused():
    with pytest.raises(
        ValueError, match="planner_layers is 0; beam_width is -1, expected at least"
    ):
        HigrConfig(planner_layers=0, beam_width=-1)


def test_a_fit_that_was_cut_off_goes_on_to_the_same_weights(tmp_path):
    world = worlds.continued(num_users=40)
    config = MODELS["higr"].configure({"width": 16, "num_heads": 1})

    class Cut(Exception):
        pass

    class Cutting(Observer):
        def on_step(self, epoch, step, num_steps, loss):
            if (epoch, step) == (1, 4):
                raise Cut

    def fitted(**how):
        loop = LoopSettings(
            max_epochs=2, tokens_per_batch=300, max_history=20, checkpoint_every_steps=1
        )
        fitting = Fitting(loop, **how)
        return MODELS["higr"].fit(world.split, config, fitting, world.vocabulary, world.data)

    whole, _ = fitted()
    with pytest.raises(Cut):
        fitted(checkpoints=tmp_path, observers=(Cutting(),))
    resumed, report = fitted(checkpoints=tmp_path)
    assert report.facts["resumed_from"]["epoch"] == 1
    for name, value in whole.state_dict().items():
        assert (resumed.state_dict()[name] == value).all(), name


@pytest.mark.parametrize("feedback", ["item", "latent"])
def test_a_catalogue_of_three_items_under_large_codebooks_can_be_learnt(feedback):
    world = worlds.continued(num_users=20, num_items=3, slate_size=2, length=4)
    codes_VQ = np.array([[0, 63], [0, 1], [63, 0]], dtype=np.int32)
    vocabulary = Vocabulary(3, codes_VQ, "world", np.eye(3, dtype=np.float32))
    world = worlds.replace(world, vocabulary=vocabulary)
    model, report = fit("higr", world, max_epochs=1, planner_feedback=feedback)
    assert report.facts["level_sizes"] == [64, 64]
    slates_SM = recommended_slates(model, world.slates.test, 5, max_history=9, exclude_seen=False)
    assert (np.sort(slates_SM[:, :3], axis=1) == [0, 1, 2]).all()
    assert (slates_SM[:, 3:] == -1).all()
