from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from tests import worlds
from tests.suites.recommender import NeuralSuite, hit_rate
from training import inference
from training.fit.fitting import Fitting, LoopSettings
from training.models import MODELS
from training.models.interface import PAD, Queries
from training.models.sasrec.model import Sasrec
from training.models.tiger.model import Tiger
from training.settings.families import SasrecConfig, TigerConfig


class TestSasrec(NeuralSuite):
    family = "sasrec"
    settings: ClassVar[dict] = {"width": 16, "num_layers": 2, "hidden_width": 16}

    def build(self, world, **changes):
        config = SasrecConfig(**{**self.settings, "max_history": 20, **changes})
        return Sasrec(config, world.vocabulary.num_items)

    def outputs(self, model, items_BL):
        return model.encode(items_BL)[:, :-1]


class TestSasrecOnHstu(TestSasrec):
    """As Meta's public code trains HSTU (docs/mechanics.md, HSTU)."""

    settings: ClassVar[dict] = {
        "backbone": "hstu",
        "width": 16,
        "num_layers": 2,
        "similarity": "cosine",
        "loss": "sampled",
        "negatives": "position",
        "num_negatives": 20,
    }


class TestSasrecOnLlama(TestSasrec):
    settings: ClassVar[dict] = {"backbone": "llama", "width": 16, "similarity": "cosine"}


class TestTiger(NeuralSuite):
    family = "tiger"
    settings: ClassVar[dict] = {
        "width": 16,
        "num_layers": 2,
        "beam_width": 30,
        "max_history": 20,
    }

    def build(self, world, **changes):
        vocabulary = world.vocabulary
        codes = torch.from_numpy(vocabulary.codes_VQ)
        content = torch.from_numpy(vocabulary.vectors_VD)
        config = TigerConfig(**{**self.settings, **changes})
        return Tiger(config, codes, content, vocabulary.level_sizes)

    def outputs(self, model, items_BL):
        strengths_BL, times_BL = torch.ones_like(items_BL), torch.zeros_like(items_BL)
        return model.reader(model.items, items_BL, strengths_BL, times_BL)[:, :-1]


class TestTigerOnLlama(TestTiger):
    settings: ClassVar[dict] = {**TestTiger.settings, "backbone": "llama"}


class TestTigerByCodes(TestTiger):
    settings: ClassVar[dict] = {**TestTiger.settings, "learns": "codes", "answer": "codes"}


class TestTigerByItems(TestTiger):
    settings: ClassVar[dict] = {**TestTiger.settings, "answer": "items", "num_negatives": 16}


class TestTigerOfCandidates(TestTiger):
    """As for a catalogue too large to score in whole."""

    @pytest.fixture(autouse=True)
    def _large(self, monkeypatch):
        monkeypatch.setattr("training.models.tiger.model.MOST_PREFIXES", 0)


def fit(family, world, *, max_epochs=10, learning_rate=1e-2, **settings):
    config = MODELS[family].configure(settings)
    loop = LoopSettings(
        max_epochs=max_epochs,
        tokens_per_batch=1024,
        learning_rate=learning_rate,
        max_history=20,
        warmup_steps=10,
        patience_epochs=max_epochs,
        validation_metric="loss",
    )
    return MODELS[family].fit(
        world.split, config, Fitting(loop, exclude_seen=False), world.vocabulary
    )


SMALL = {
    "sasrec": {"width": 32, "num_layers": 2, "num_heads": 1},
    "tiger": {"width": 32, "num_layers": 2, "num_heads": 1},
}


@pytest.mark.parametrize(
    ("family", "backbone"),
    [
        ("sasrec", "attention"),
        ("sasrec", "hstu"),
        ("sasrec", "llama"),
        ("tiger", "llama"),
        ("tiger", "hstu"),
    ],
)
@pytest.mark.parametrize("world", [worlds.chain(), worlds.echo()], ids=["chain", "echo"])
def test_training_finds_how_the_world_was_made(family, backbone, world):
    epochs = {"sasrec": 20, "tiger": 40}[family]
    rate = 5e-3 if (family, backbone) == ("tiger", "hstu") else 1e-2
    how = {"max_epochs": epochs, "learning_rate": rate, "backbone": backbone, "dropout": 0.0}
    model, report = fit(family, world, **SMALL[family], **how)
    found = hit_rate(model, world.split.test, max_history=20)
    assert found > world.best_hit_rate - 0.08
    assert report.epochs[-1]["loss"] < 0.5 * report.epochs[0]["loss"]


@pytest.mark.parametrize(
    "settings",
    [
        {"negatives": "batch"},
        {"negatives": "position"},
        {"negatives": "position", "similarity": "cosine", "backbone": "hstu"},
    ],
    ids=["batch", "position", "cosine"],
)
def test_the_sampled_loss_finds_the_chain_too(settings):
    world = worlds.chain()
    sampled = {"loss": "sampled", "num_negatives": 16, "dropout": 0.0}
    model, _ = fit("sasrec", world, max_epochs=20, **SMALL["sasrec"], **sampled, **settings)
    assert hit_rate(model, world.split.test, max_history=20) > world.best_hit_rate - 0.08


@pytest.mark.parametrize("similarity", ["inner", "cosine"])
def test_sasrec_scores_are_products_with_the_items(similarity):
    world = worlds.chain(num_users=30)
    torch.manual_seed(0)
    model = Sasrec(SasrecConfig(width=16, similarity=similarity, max_history=20), 30).eval()
    test = world.split.test
    queries = Queries.at(
        test.histories, test.user, test.position, max_history=20, exclude_seen=False
    )
    answer = inference.recommend(model, queries, 30)
    for row in range(len(test)):
        items = torch.from_numpy(queries.items_BL[row : row + 1]).long()
        with torch.no_grad():
            x_D, items_VD = model.encode(items)[0, -1], model.items_VD
            scores = items_VD @ x_D
            if similarity == "cosine":
                scores /= items_VD.norm(dim=1) * x_D.norm() * 0.05
        np.testing.assert_allclose(
            answer.scores_Bk[row], scores[answer.items_Bk[row].astype(int)], rtol=1e-4, atol=1e-5
        )


def test_sasrec_on_hstu_knows_when_it_is_asked():
    """Two histories alike but for the hour of the question; attention can't tell them apart."""
    histories = worlds.histories_of([[1, 2, 3], [1, 2, 3]])
    user, position = np.array([0, 1]), np.array([3, 3])
    asked_at = np.array([10, 10**6])
    queries = Queries.at(
        histories, user, position, max_history=20, exclude_seen=False, asked_at=asked_at
    )
    for backbone, knows in (("hstu", True), ("llama", False), ("attention", False)):
        torch.manual_seed(0)
        model = Sasrec(SasrecConfig(backbone=backbone, width=16, max_history=20), 30)
        for parameter in model.blocks.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        scores_Bk = inference.recommend(model, queries, 30).scores_Bk
        assert (scores_Bk[0] != scores_Bk[1]).any() == knows, backbone


@pytest.mark.parametrize(
    ("family", "setting", "found"),
    [("sasrec", "negatives", "none"), ("tiger", "backbone", "attention")],
)
def test_a_choice_that_is_not_offered_is_refused(family, setting, found):
    with pytest.raises(ValueError, match=f"{family}.{setting} is '{found}', expected one of "):
        MODELS[family].configure({setting: found})


def slow_scores(model, items, strengths, times):
    """Of every item log p(codes) + η log p(item) by a pass of its own, one code after another."""
    with torch.no_grad():
        row = (torch.tensor([values], dtype=torch.int64) for values in (items, strengths, times))
        y_D = model.reader(model.items, *row)[0, -1]
        cosines_V = torch.nn.functional.cosine_similarity(model.head.expected(y_D), model.items())
        by_item_V = (cosines_V / model.config.temperature).log_softmax(0)
        scores = []
        for codes_Q, by_item in zip(model.codes_VQ.long(), by_item_V, strict=True):
            by_code = (
                model.decoder.logits(y_D, codes_Q[:level], model.items).log_softmax(0)[code]
                for level, code in enumerate(codes_Q)
            )
            scores.append(float(sum(by_code) + model.config.item_weight * by_item))
    return np.array(scores)


@pytest.mark.parametrize("most_prefixes", [4096, 0], ids=["whole", "candidates"])
@pytest.mark.parametrize("backbone", ["llama", "hstu"])
def test_tiger_scores_items_as_a_pass_for_each_does(backbone, most_prefixes, monkeypatch):
    monkeypatch.setattr("training.models.tiger.model.MOST_PREFIXES", most_prefixes)
    world = worlds.chain(num_users=12)
    torch.manual_seed(0)
    config = TigerConfig(backbone=backbone, width=16, beam_width=64, max_history=20)
    vocabulary = world.vocabulary
    codes, content = map(torch.from_numpy, (vocabulary.codes_VQ, vocabulary.vectors_VD))
    model = Tiger(config, codes, content, vocabulary.level_sizes).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    user = np.arange(8)
    queries = Queries.at(world.split.test.histories, user, user, max_history=20, exclude_seen=False)
    answer = inference.recommend(model, queries, 30)
    for row in range(8):
        length = queries.lengths_B[row]
        items = queries.items_BL[row, :length].tolist()
        strengths = queries.strengths_BL[row, :length].tolist()
        times = [*queries.times_BL[row, :length], queries.asked_at_B[row]]
        slow = slow_scores(model, items, strengths, times)
        assert sorted(answer.items_Bk[row].tolist()) == list(range(30))
        np.testing.assert_allclose(answer.scores_Bk[row], slow[answer.items_Bk[row]], rtol=1e-3)


def without_codes(world, missing):
    codes = world.vocabulary.codes_VQ.copy()
    codes[missing] = -1
    return type(world)(world.split, replace(world.vocabulary, codes_VQ=codes), world.best_hit_rate)


def test_items_without_a_semantic_id_are_passed_over_and_counted():
    world = without_codes(worlds.chain(num_users=60), [3, 4])
    model, report = fit("tiger", world, max_epochs=1, width=16)
    train, validation = world.split.train, world.split.validation
    assert report.facts["train_events_without_code"] == np.isin(train.items, [3, 4]).sum() > 0
    assert report.facts["validation_targets_without_code"] == (
        np.isin(validation.items, [3, 4]).sum()
    )
    one = worlds.histories_of([[5, 3, 6, 4], [5, 6]])
    queries = Queries.at(
        one, np.array([0, 1]), np.array([4, 2]), max_history=20, exclude_seen=False
    )
    answer = inference.recommend(model, queries, 30)
    assert answer.items_Bk[0].tolist() == answer.items_Bk[1].tolist()
    assert set(answer.items_Bk[0].tolist()) == set(range(30)) - {3, 4} | {PAD}


def test_items_that_share_an_id_come_next_to_each_other_in_order():
    world = worlds.chain(num_users=60)
    codes = world.vocabulary.codes_VQ.copy()
    codes[7] = codes[5]
    shared = type(world)(world.split, replace(world.vocabulary, codes_VQ=codes), 0.0)
    model, _ = fit("tiger", shared, max_epochs=1, width=16, learns="codes", answer="codes")
    user = np.array([0])
    queries = Queries.at(world.split.test.histories, user, user, max_history=20, exclude_seen=False)
    items = inference.recommend(model, queries, 30).items_Bk[0].tolist()
    assert items.index(7) == items.index(5) + 1


def test_tiger_without_semantic_ids_is_refused():
    world = worlds.chain(num_users=60)
    bare = type(world)(world.split, type(world.vocabulary)(30), 0.0)
    with pytest.raises(ValueError, match="this vocabulary has no semantic IDs"):
        fit("tiger", bare, max_epochs=1)
