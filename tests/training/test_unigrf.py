from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from tests import worlds
from tests.suites.recommender import NeuralSuite, hit_rate
from training import inference
from training.data.batches import BatchPlan
from training.data.queries import query_times
from training.evaluation.ranking import auc
from training.fit.fitting import Fitting, LoopSettings
from training.models import MODELS
from training.models.interface import PAD, Queries, queries_of
from training.models.unigrf.interleave import interleave_times, ranking_places, retrieval_places
from training.models.unigrf.model import Unigrf
from training.settings.unigrf import UnigrfConfig

SMALL = {
    "width": 16,
    "num_layers": 2,
    "num_heads": 1,
    "num_negatives": 16,
    "pool": 24,
    "hard_negatives": 2,
}


def built(num_items=30, **changes):
    torch.manual_seed(0)
    return Unigrf(UnigrfConfig(**{**SMALL, "max_history": 20, **changes}), num_items)


class UnigrfSuite(NeuralSuite):
    family = "unigrf"
    backbone = ""

    @property
    def settings(self):
        return {**SMALL, "backbone": self.backbone}

    def build(self, world, **changes):
        config = UnigrfConfig(**{**self.settings, "max_history": 20, **changes})
        return Unigrf(config, world.vocabulary.num_items)

    def outputs(self, model, items_BL):
        strengths_BL, times_BL = torch.zeros_like(items_BL), torch.zeros_like(items_BL)
        x_BTD = model.embed(items_BL, strengths_BL)[:, :-1]
        return retrieval_places(model.backbone(x_BTD, interleave_times(times_BL)))

    def test_a_feedback_is_not_seen_where_it_is_predicted(self, model, batch):
        def said(strengths_BL):
            x_BTD = model.embed(batch.items_BL, strengths_BL)[:, :-1]
            return ranking_places(model.backbone(x_BTD, interleave_times(batch.times_BL)))

        liked_BL = torch.zeros_like(batch.strengths_BL)
        before = said(liked_BL.clone())
        liked_BL[:, 5] = 2
        after = said(liked_BL)
        torch.testing.assert_close(after[:, :6], before[:, :6])
        assert not torch.allclose(after[:, 6:], before[:, 6:])


class TestUnigrfOnHstu(UnigrfSuite):
    backbone = "hstu"


class TestUnigrfOnLlama(UnigrfSuite):
    backbone = "llama"


def fit(world, *, max_epochs=12, fitting=(), **settings):
    config = MODELS["unigrf"].configure({**SMALL, "width": 32, "dropout": 0.0, **settings})
    loop = LoopSettings(
        max_epochs=max_epochs,
        tokens_per_batch=2048,
        learning_rate=1e-2,
        max_history=20,
        warmup_steps=10,
        patience_epochs=max_epochs,
        validation_metric="loss",
    )
    loop = replace(loop, **dict(fitting))
    return MODELS["unigrf"].fit(
        world.split, config, Fitting(loop, exclude_seen=False), world.vocabulary
    )


def auc_of(model, targets, max_history=20):
    """AUC of what the model says of the targets' feedback."""
    questions = queries_of(targets, max_history=max_history, exclude_seen=False)
    said, row = [], 0
    for queries in questions:
        said.append(
            inference.rank(model, queries, targets.items[row : row + len(queries), None])[:, 0]
        )
        row += len(queries)
    return auc(np.concatenate(said), targets.histories.strengths[targets.events] >= 2)


@pytest.fixture(scope="module")
def world():
    return worlds.taste()


@pytest.fixture(scope="module", params=["hstu", "llama"])
def learnt(request, world):
    return fit(world, backbone=request.param)


def test_training_finds_what_comes_next_and_who_likes_it(learnt, world):
    model, report = learnt
    assert hit_rate(model, world.split.test, max_history=20) > world.best_hit_rate - 0.08
    assert auc_of(model, world.split.test) > 0.9
    assert report.facts["positive_share"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    "changes",
    [
        {"similarity": "inner", "temperature": 1.0},
        {"num_negatives": 0},
        {"weighter": "off", "hard_negatives": 0, "favourite_share": 0.0},
        {"feedback_input": "strength", "learned_positions": False},
    ],
    ids=str,
)
def test_every_choice_learns_both_tasks(changes, world):
    model, _ = fit(world, **changes)
    assert hit_rate(model, world.split.test, max_history=20) > 0.5
    assert auc_of(model, world.split.test) > 0.9


def test_each_epoch_tells_both_tasks_apart(learnt):
    _, report = learnt
    first, last = report.epochs[0], report.epochs[-1]
    assert last["loss_retrieval"] < first["loss_retrieval"]
    assert last["loss_ranking"] < first["loss_ranking"]
    assert last["validation_auc"] > 0.9
    assert last["share_retrieval"] + last["share_ranking"] == pytest.approx(1)
    for name in ("favourites_share", "hard_repeated_share", "hard_later_share"):
        assert 0 <= last[name] <= 1


def test_one_task_alone_learns_that_task(world):
    retrieval, _ = fit(world, tasks="retrieval")
    assert hit_rate(retrieval, world.split.test, max_history=20) > 0.8
    assert retrieval.answers == {"lists", "slates"}
    ranking, report = fit(
        world, max_epochs=6, tasks="ranking", fitting={"validation_metric": "auc"}
    )
    assert auc_of(ranking, world.split.test) > 0.9
    assert report.facts["best_validation"] == max(e["validation_auc"] for e in report.epochs)


def test_a_fit_may_not_stop_by_what_it_does_not_learn(world):
    with pytest.raises(ValueError, match="tasks=ranking can't stop by ndcg@10; set training"):
        fit(world, tasks="ranking", fitting={"validation_metric": "ndcg@10"})
    with pytest.raises(ValueError, match=r"tasks=retrieval can't stop by auc; .* ndcg@10 or loss"):
        fit(world, tasks="retrieval", fitting={"validation_metric": "auc"})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"temperature": 0.0}, "temperature is 0.0, expected above 0"),
        ({"weighter_temperature": -1.0}, "weighter_temperature is -1.0, expected above 0"),
        ({"num_negatives": -1}, r"num_negatives is -1, expected 0 \(full softmax\) or more"),
        ({"hard_negatives": 17}, "hard_negatives is 17, expected 0 to num_negatives = 16"),
        ({"pool": 8}, "pool is 8, expected num_negatives = 16 or more"),
        (
            {"scored_candidates": 1},
            "scored_candidates is 1, expected hard_negatives = 2 or more",
        ),
    ],
)
def test_a_shape_that_makes_no_sense_is_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        built(**changes)


def test_the_loss_is_the_weighted_sum_of_both_tasks():
    world = worlds.taste(num_users=20)
    plan = BatchPlan(max_history=20, overlap=5, positions_per_batch=400)
    batch = next(plan.batches(world.split.train, 0))
    model = built(dropout=0.0, ranking_scale=6.0)
    torch.manual_seed(1)
    weighted = model.train()(batch)
    sums = model.weighter.state()["sums"]
    # Nothing is known of the losses' objective yet: each has its scale.
    assert float(weighted.detach()) == pytest.approx(float(sums[0] + 6.0 * sums[1]), rel=1e-5)
    assert sums[2] == batch.num_targets


def test_hard_negatives_make_the_loss_larger_than_random_ones():
    world = worlds.taste(num_users=60)
    batch = next(BatchPlan(20, 5, 1200).batches(world.split.train, 0))
    losses = {}
    for hard in (0, 8):
        model = built(num_items=30, dropout=0.0, hard_negatives=hard, favourite_share=0.0, pool=64)
        torch.manual_seed(1)
        model.train()(batch)
        state = model.weighter.state()["sums"]
        losses[hard] = float(state[0])
    assert losses[8] > 1.05 * losses[0]


def test_what_mining_reads_gets_no_gradient_from_it():
    """The head is taught by feedback alone: its gradient is the same with and without mining."""
    world = worlds.taste(num_users=20)
    batch = next(BatchPlan(20, 5, 400).batches(world.split.train, 0))
    gradients = []
    for hard in (0, 4):
        model = built(dropout=0.0, hard_negatives=hard)
        torch.manual_seed(1)
        model.train()(batch).backward()
        gradients.append([p.grad for p in model.head.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_ranking_that_rests_moves_its_head_alone():
    world = worlds.taste(num_users=20)
    batch = next(BatchPlan(20, 5, 400).batches(world.split.train, 0))
    gradients = []
    for scale in (1.0, 50.0):
        model = built(dropout=0.0, ranking_scale=scale)
        for validation_auc in (0.8, 0.7, 0.7):
            model.rest.note(validation_auc, 0.01, 2)
        torch.manual_seed(1)
        model.train()(batch).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    one, other = gradients
    for name, gradient in one.items():
        if name.startswith("head."):
            torch.testing.assert_close(50 * gradient, other[name], rtol=1e-4, atol=1e-4)
        else:
            torch.testing.assert_close(gradient, other[name])


def test_the_evaluation_loss_is_the_same_whatever_was_drawn_before():
    world = worlds.taste(num_users=20)
    batch = next(BatchPlan(20, 5, 400).batches(world.split.train, 0))
    model = built().eval()
    first = model(batch)
    torch.rand(7)
    assert model(batch) == first


class TestRank:
    """Ranking: equal to reading history and candidate anew, whatever the company."""

    settings: ClassVar[dict] = {"num_layers": 2, "num_heads": 2}

    @pytest.fixture(scope="class", params=["hstu", "llama"])
    def model(self, request):
        model = built(backbone=request.param, **self.settings).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        return model

    @pytest.fixture(scope="class")
    def queries(self):
        """Queries of 0 to 20 events, asked an hour after the last one."""
        world = worlds.taste(num_users=30)
        user = np.arange(21)
        histories = world.split.test.histories
        times = histories.times + histories.positions**3 * 60_000_000
        histories = replace(histories, times=times)
        asked_at = query_times(histories, user, user) + 3600
        return Queries.at(
            histories,
            user,
            user,
            max_history=20,
            exclude_seen=True,
            asked_at=asked_at,
        )

    def naive(self, model, queries, row, item):
        """p(b = 1) by a full pass over history ‖ candidate."""
        length = queries.lengths_B[row]
        items = [*queries.items_BL[row, :length].tolist(), item]
        strengths = [*queries.strengths_BL[row, :length].tolist(), 0]
        times = [*queries.times_BL[row, :length].tolist(), queries.asked_at_B[row]]
        if length == 0:
            times = [queries.asked_at_B[row]]
        with torch.no_grad():
            x_BTD = model.embed(torch.tensor([items]), torch.tensor([strengths]))[:, :-1]
            x_BTD = model.backbone(x_BTD, interleave_times(torch.tensor([times])))
            return float(model.ranking_logits(x_BTD[0, -1]).sigmoid())

    def test_candidates_score_as_history_and_candidate_read_anew(self, model, queries):
        items_BC = np.random.default_rng(0).integers(0, 30, (21, 5))
        found = inference.rank(model, queries, items_BC)
        slow = [
            [self.naive(model, queries, row, item) for item in items_BC[row]] for row in range(21)
        ]
        np.testing.assert_allclose(found, slow, rtol=1e-4, atol=1e-6)
        assert found.std() > 0.05

    def test_company_and_micro_batches_change_nothing(self, model, queries, monkeypatch):
        items_BC = np.tile(np.arange(30), (21, 1))
        together = inference.rank(model, queries, items_BC)
        monkeypatch.setattr("training.models.unigrf.answers.MICRO_BATCH", 7)
        np.testing.assert_allclose(inference.rank(model, queries, items_BC), together, rtol=1e-4)
        alone = inference.rank(model, queries.rows(9, 10), items_BC[9:10, ::3])
        np.testing.assert_allclose(alone, together[9:10, ::3], rtol=1e-4)

    def test_chunks_of_rows_change_nothing(self, model, queries, monkeypatch):
        items_BC = np.tile(np.arange(30), (21, 1))
        together = (
            inference.rank(model, queries, items_BC),
            inference.recommend_ranked(model, queries, 5, 12),
        )
        monkeypatch.setattr("training.models.unigrf.answers.CHUNK_CELLS", 6000)
        np.testing.assert_allclose(inference.rank(model, queries, items_BC), together[0], rtol=1e-4)
        again = inference.recommend_ranked(model, queries, 5, 12)
        np.testing.assert_allclose(again.scores_Bk, together[1].scores_Bk, rtol=1e-4)

    def test_the_ranked_list_is_the_offered_items_by_probability(self, model, queries):
        offered = inference.recommend(model, queries, 12)
        ranked = inference.recommend_ranked(model, queries, 5, 12)
        liked_BC = inference.rank(model, queries, offered.items_Bk)
        for row in range(21):
            order = np.argsort(-liked_BC[row], kind="stable")[:5]
            np.testing.assert_allclose(ranked.scores_Bk[row], liked_BC[row, order], rtol=1e-5)
            assert set(ranked.items_Bk[row]) <= set(offered.items_Bk[row])
        assert (np.diff(ranked.scores_Bk, axis=1) <= 0).all()
        assert (ranked.items_Bk != offered.items_Bk[:, :5]).any()

    def test_both_answers_from_one_reading_are_those_of_two(self, model, queries):
        items_BC = np.tile(np.arange(3), (21, 1))
        top, score_BC = inference.recommend_and_rank(model, queries, 6, items_BC)
        np.testing.assert_array_equal(top.items_Bk, inference.recommend(model, queries, 6).items_Bk)
        np.testing.assert_allclose(score_BC, inference.rank(model, queries, items_BC), rtol=1e-4)

    def test_more_candidates_than_items_rank_all_that_may_be_answered(self, model, queries):
        ranked = inference.recommend_ranked(model, queries, 40, 400)
        for row, items in enumerate(ranked.items_Bk):
            first, last = queries.excluded_offsets[row : row + 2]
            left = 30 - len(set(queries.excluded[first:last].tolist()))
            assert len(set(items[:left])) == left
            assert (items[left:] == PAD).all()
            assert np.isneginf(ranked.scores_Bk[row, left:]).all()
        assert inference.rank(model, queries, np.tile(np.arange(30), (21, 3))).shape == (21, 90)

    def test_an_unknown_candidate_gets_the_base_rate_and_none_gets_no_number(self, model, queries):
        found = inference.rank(model, queries, np.tile([3, 30, 999, PAD], (21, 1)))
        assert (found[:, 1:3] == float(model.base_rate)).all()
        assert np.isnan(found[:, 3]).all()
        np.testing.assert_allclose(
            found[:, :1], inference.rank(model, queries, np.full((21, 1), 3)), rtol=1e-4
        )

    def test_no_context_gets_no_probability(self, model, queries):
        nobody = queries.rows(0, 0)
        assert inference.rank(model, nobody, np.empty((0, 4), dtype=int)).shape == (0, 4)
        assert inference.rank(model, queries, np.empty((21, 0), dtype=int)).shape == (21, 0)
        assert inference.recommend_ranked(model, nobody, 4, 8).items_Bk.shape == (0, 4)

    def test_wrong_questions_are_refused(self, model, queries):
        with pytest.raises(ValueError, match="3 rows of candidates for 21 queries"):
            inference.rank(model, queries, np.zeros((3, 2), dtype=int))
        retrieval, ranking = built(tasks="retrieval"), built(tasks="ranking")
        items_BC = np.zeros((21, 2), dtype=int)
        refused = "this unigrf answers lists and slates, not feedback: ask another model, or train"
        with pytest.raises(inference.Unanswerable, match=refused):
            inference.rank(retrieval, queries, items_BC)
        with pytest.raises(inference.Unanswerable, match=refused):
            inference.recommend_ranked(retrieval, queries, 3, 6)
        with pytest.raises(inference.Unanswerable, match="unigrf answers feedback, not lists: ask"):
            inference.recommend(ranking, queries, 3)
        with pytest.raises(inference.Unanswerable, match="unigrf answers feedback, not lists: ask"):
            inference.recommend_and_rank(ranking, queries, 3, items_BC)
        assert ranking.answers == {"feedback"}

    def test_what_was_trained_or_loaded_is_searched_anew(self, model, queries):
        other = built(backbone=model.config.backbone, **self.settings)
        before = inference.recommend(other, queries, 5)
        other.load_state_dict(model.state_dict())
        after = inference.recommend(other, queries, 5)
        np.testing.assert_array_equal(
            after.items_Bk, inference.recommend(model, queries, 5).items_Bk
        )
        assert (after.items_Bk != before.items_Bk).any()
        optimizer = torch.optim.AdamW(other.parameters(), lr=1.0, fused=True)
        batch = next(BatchPlan(20, 5, 400).batches(worlds.taste(num_users=20).split.train, 0))
        other.train()(batch).backward()
        optimizer.step()
        trained = inference.recommend(other, queries, 5)
        other.index.clear()
        np.testing.assert_array_equal(
            trained.items_Bk, inference.recommend(other, queries, 5).items_Bk
        )
        assert (trained.items_Bk != after.items_Bk).any()
