import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests import worlds
from training.data.preferences import pair_batch, pair_batches
from training.data.slate_batches import SlatePlan, slate_queries
from training.fit.fitting import Fitting, LoopSettings, Observer
from training.losses.preference import dpo_loss, orpo_loss, simpo_loss
from training.models import MODELS
from training.models.higr.model import Higr
from training.models.slate import alignment
from training.models.slate.alignment import (
    Aligned,
    AlignmentConfig,
    align,
    collapse,
    invalid_share,
    pair_log_probs,
    reference_log_probs,
)

METHODS = ("orpo", "dpo", "simpo")
LOOP = LoopSettings(
    max_epochs=2,
    tokens_per_batch=1024,
    learning_rate=1e-3,
    warmup_steps=5,
    max_history=20,
    validation_metric="loss",
)


@pytest.fixture(scope="module")
def world():
    return worlds.continued(num_users=150)


@pytest.fixture(scope="module")
def pairs(world):
    parts = world.slates
    return worlds.pairs_of(parts.train), worlds.pairs_of(parts.validation, seed=1)


@pytest.fixture(scope="module", params=["higr", "flat_slate"])
def pretrained(request, world):
    family = MODELS[request.param]
    config = family.configure({"width": 16, "num_heads": 1, "order": "exposed", "beam_width": 4})
    loop = replace(LOOP, max_epochs=12, learning_rate=1e-2)
    return family.fit(world.split, config, Fitting(loop), world.vocabulary, world.data)[0]


def aligned(pretrained, world, pairs, *, loop=LOOP, model=None, how=None, **settings):
    model = copy.deepcopy(pretrained) if model is None else model
    config = AlignmentConfig(**settings)
    fitting = Fitting(loop, exclude_seen=False, **(how or {}))
    return align(model, world.slates, worlds.together(*pairs), config, fitting, world.vocabulary)


@pytest.mark.parametrize("method", METHODS)
def test_the_better_slates_become_likelier_than_the_worse(method, pretrained, world, pairs):
    model, report = aligned(pretrained, world, pairs, method=method, preference_weight=1.0)
    before, after = report.facts["before"], report.epochs[-1]
    margins = [found["chosen_log_prob"] - found["rejected_log_prob"] for found in (before, after)]
    assert margins[1] > margins[0]
    # Of pairs that did not train: a few may turn either way.
    assert after["preference_accuracy"] > before["preference_accuracy"] - 0.05
    assert report.facts["collapsed"] == ""
    assert report.facts["train_pairs"] == {"interest": 75, "ranking": 75}
    assert report.facts["watched_pairs"] == 150
    watched = {"perplexity", "invalid_share", "intra_list_similarity", "coverage", "repeats"}
    assert watched <= set(before) & set(after)
    assert any((model.state_dict()[n] != v).any() for n, v in pretrained.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_the_loss_of_a_pair_is_the_chosen_slates_and_the_preference(method, pretrained, pairs):
    batch = pair_batch(pairs[0], np.arange(4), np.arange(4), max_history=20)
    model = copy.deepcopy(pretrained).eval()
    references_P2 = -torch.rand(len(pairs[0]), 2) * 9
    config = AlignmentConfig(method=method, preference_weight=0.3)
    loss = Aligned(model, config, references_P2)(batch)
    sums = [
        model.token_log_probs(replace(batch.queries, slate_BM=batch.slate_B2M[:, which])).sum(
            (1, 2)
        )
        for which in range(2)
    ]
    means = [each / (4 * 3) for each in sums]
    preference = {
        "orpo": lambda: orpo_loss(*means),
        "dpo": lambda: dpo_loss(*sums, *references_P2[:4].unbind(1), beta=0.1),
        "simpo": lambda: simpo_loss(*means, beta=2.0, margin=0.5),
    }[method]()
    torch.testing.assert_close(loss, (-means[0] + 0.3 * preference).sum(), rtol=1e-4, atol=1e-4)


def test_without_weight_only_the_chosen_slates_are_learnt(pretrained, pairs):
    model = copy.deepcopy(pretrained)
    batch = pair_batch(pairs[0], np.arange(4), np.arange(4), max_history=20)
    config = AlignmentConfig(preference_weight=0.0)
    other = replace(batch, slate_B2M=batch.slate_B2M[:, [0, 0]])
    losses = [Aligned(model.eval(), config, None)(each) for each in (batch, other)]
    torch.testing.assert_close(losses[0], losses[1])


@torch.no_grad()
def test_references_are_kept_under_the_pairs_numbers(pretrained, pairs):
    plan = SlatePlan(max_history=20, positions_per_batch=300, positions_per_item=2)
    references_P2 = reference_log_probs(pretrained, pairs[0], plan)
    for batch in pair_batches(pairs[0], plan, 7):
        found, count_B = pair_log_probs(pretrained.eval(), batch)
        torch.testing.assert_close(references_P2[batch.pair_B], found, rtol=1e-4, atol=1e-4)
        assert (count_B == 12).all()


def test_references_are_computed_once_and_only_for_dpo(pretrained, world, pairs, monkeypatch):
    calls = []

    def counted(*args):
        calls.append(args)
        return reference_log_probs(*args)

    monkeypatch.setattr(alignment, "reference_log_probs", counted)
    aligned(pretrained, world, pairs, method="dpo")
    assert len(calls) == 1
    aligned(pretrained, world, pairs, method="simpo")
    assert len(calls) == 1


def test_a_collapse_stops_with_its_reason_and_leaves_the_pretrained_weights(
    pretrained, world, pairs
):
    wild = replace(LOOP, learning_rate=0.5, max_epochs=5, gradient_clip_factor=100.0)
    model, report = aligned(pretrained, world, pairs, loop=wild, preference_weight=50.0)
    assert len(report.epochs) == 1
    assert report.facts["stopped_because"] == report.facts["collapsed"]
    assert "perplexity went from" in report.facts["collapsed"]
    assert report.facts["best_epoch"] == 0
    for name, value in pretrained.state_dict().items():
        assert (model.state_dict()[name] == value).all(), name


def test_an_alignment_that_was_cut_off_goes_on_to_the_same_weights(
    pretrained, world, pairs, tmp_path
):
    class Cut(Exception):
        pass

    class Cutting(Observer):
        def on_step(self, epoch, step, num_steps, loss):
            if (epoch, step) == (1, 2):
                raise Cut

    loop = replace(LOOP, checkpoint_every_steps=1)
    whole, _ = aligned(pretrained, world, pairs, loop=loop, method="dpo")
    with pytest.raises(Cut):
        cut = {"checkpoints": tmp_path, "observers": (Cutting(),)}
        aligned(pretrained, world, pairs, loop=loop, method="dpo", how=cut)
    resumed, report = aligned(
        pretrained, world, pairs, loop=loop, method="dpo", how={"checkpoints": tmp_path}
    )
    assert report.facts["resumed_from"]["epoch"] == 1
    for name, value in whole.state_dict().items():
        assert (resumed.state_dict()[name] == value).all(), name
    # Of other weights the checkpoint is none.
    other = copy.deepcopy(pretrained)
    other.reader.start_D.data.add_(1.0)
    _, report = aligned(
        pretrained, world, pairs, loop=loop, model=other, method="dpo",
        how={"checkpoints": tmp_path},
    )  # fmt: skip
    assert report.facts["resumed_from"] is None


def test_pairs_of_no_training_slate_are_refused(pretrained, world, pairs):
    with pytest.raises(ValueError, match=r"none of 150 pairs is of a training slate"):
        align(
            copy.deepcopy(pretrained),
            world.slates,
            pairs[1],
            AlignmentConfig(),
            Fitting(LOOP),
            world.vocabulary,
        )


def test_every_loss_is_named_as_it_goes_beyond_its_bound():
    config, before = AlignmentConfig(), {
        "chosen_log_prob": -1.0, "perplexity": 10.0, "invalid_share": 0.1,
        "intra_list_similarity": 0.5, "coverage": 0.4, "repeats": 0.0,
    }  # fmt: skip
    assert collapse(before, before, config) == []
    just = {
        "chosen_log_prob": -1.5, "perplexity": 15.0, "invalid_share": 0.3,
        "intra_list_similarity": 0.6, "coverage": 0.2, "repeats": 0.2,
    }  # fmt: skip
    beyond = {
        "chosen_log_prob": -1.51, "perplexity": 15.1, "invalid_share": 0.301,
        "intra_list_similarity": 0.61, "coverage": 0.19, "repeats": 0.21,
    }  # fmt: skip
    assert collapse(before, {**just, "invalid_share": 0.299}, config) == []
    for name, value in beyond.items():
        found = collapse(before, {**before, name: value}, config)
        assert [sentence.split()[0] for sentence in found] == [name]
    assert collapse(before, {**before, "perplexity": float("nan")}, config)
    assert collapse({}, beyond, config) == []


def test_free_beams_that_find_no_item_are_counted(world):
    config = MODELS["higr"].configure({"width": 16, "num_heads": 1, "beam_width": 64})
    codes_VQ = torch.from_numpy(world.vocabulary.codes_VQ)
    model = Higr(config, codes_VQ, torch.ones(len(codes_VQ), 8), (4, 4, 4)).eval()
    queries = next(slate_queries(world.slates.test, max_history=9,
                                          exclude_seen=False, rows=3))  # fmt: skip
    # All 64 semantic IDs that could be are found; 30 of them are.
    share = invalid_share(model, model.read(queries).read)
    assert share == pytest.approx(34 / 64)


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match=r"preference_weight is -1, expected 0 or above"):
        AlignmentConfig(preference_weight=-1)
