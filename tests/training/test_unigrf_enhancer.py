from dataclasses import replace

import numpy as np
import pytest
import torch

from tests import worlds
from training import inference
from training.data.batches import BatchPlan
from training.data.queries import Queries
from training.models.unigrf import enhancer as enhancer_module
from training.models.unigrf.contextual import contextual_scores
from training.models.unigrf.enhancer import (
    Enhancer,
    choose,
    least_favourite,
    retrieval_scores,
)
from training.models.unigrf.interleave import interleave_times, retrieval_places
from training.models.unigrf.model import Unigrf
from training.settings.unigrf import UnigrfConfig


def config(**changes):
    shape = {"num_negatives": 3, "pool": 6, "hard_negatives": 1, "favourite_share": 0.34}
    return UnigrfConfig(**{**shape, "width": 16, "num_heads": 1, "max_history": 20, **changes})


DRAWN = torch.tensor([[10, 11, 12, 13, 14, 15]])
LIKED_BY_RETRIEVAL = torch.tensor([[0.0, 1.0, 2.0, 3.0, 2.5, 0.5]])


def chosen(ranking, *, drawn=DRAWN, target=99, **changes):
    """What is chosen, as sets of items: negatives, favourites, hard."""
    found = choose(
        config(**changes),
        drawn,
        torch.tensor([target]),
        LIKED_BY_RETRIEVAL,
        torch.tensor([ranking]),
    )
    negatives = drawn[0, found.negative_NR[0]][found.counts_NR[0]].tolist()
    return sorted(negatives), drawn[found.favourite_NP].tolist(), found.hard_Nm[0].tolist()


def test_the_hard_one_is_liked_by_retrieval_and_not_by_ranking():
    """Item 13 is retrieval's best; 14 is nearly as good and ranking thinks least of it."""
    negatives, _, hard = chosen([0.5, 0.5, 0.5, 0.6, 0.1, 0.5], favourite_share=0.0)
    assert hard == [14]
    assert negatives == [10, 11, 14]  # the hard one, then those drawn first


def test_a_favourite_is_no_negative_and_is_replaced():
    negatives, favourites, hard = chosen([0.95, 0.5, 0.5, 0.97, 0.5, 0.5])
    assert favourites == [10, 13]
    assert hard == [14]
    assert negatives == [11, 12, 14]


def test_favourites_are_the_best_of_the_batch_however_high_its_scores_are():
    low = chosen([0.095, 0.05, 0.05, 0.097, 0.05, 0.05])
    assert low == chosen([0.95, 0.5, 0.5, 0.97, 0.5, 0.5])
    assert low[1] == [10, 13]
    # Scores that are all the same say nothing of anybody.
    assert chosen([0.99] * 6)[1] == []


def test_favourites_fill_up_where_nobody_else_is_left():
    ranking = [0.95, 0.96, 0.97, 0.98, 0.99, 0.5]
    negatives, favourites, _ = chosen(ranking, favourite_share=0.84)
    assert len(favourites) == 5
    assert negatives == [10, 11, 15]  # the number of negatives stays what it is


def test_switched_off_favourites_are_negatives_like_others():
    negatives, favourites, _ = chosen([0.95, 0.5, 0.5, 0.5, 0.1, 0.5], favourite_share=0.0)
    assert favourites == []
    assert negatives == [10, 11, 14]


def test_the_right_item_is_neither_negative_nor_hard_nor_favourite():
    negatives, favourites, hard = chosen([0.5, 0.5, 0.5, 0.99, 0.1, 0.5], target=14)
    assert (negatives, favourites, hard) == ([10, 11, 12], [13], [12])
    assert chosen([0.5, 0.5, 0.5, 0.97, 0.99, 0.5], target=14)[1] == [13]
    same = torch.full_like(DRAWN, 14)
    assert chosen([0.99] * 6, drawn=same, target=14) == ([], [], [-1])


def test_what_was_not_scored_is_not_hard_and_no_favourite():
    nan = float("nan")
    assert chosen([nan, nan, 0.5, nan, nan, nan])[2] == [12]
    negatives, favourites, hard = chosen([nan] * 6)
    assert (negatives, favourites, hard) == ([10, 11, 12], [], [-1])


def test_scores_of_similarities_do_not_saturate():
    logits = torch.tensor([[-19.0, 0.0, 19.0]])
    assert retrieval_scores(logits)[0].tolist() == pytest.approx([0.227, 0.5, 0.773], abs=1e-3)


def test_a_share_of_many_scores_is_taken_of_some(monkeypatch):
    scores = torch.rand(400, 50, generator=torch.Generator().manual_seed(0))
    whole = float(least_favourite(scores, 0.1))
    monkeypatch.setattr(enhancer_module, "QUANTILE_SCORES", 2000)
    assert whole == pytest.approx(0.9, abs=0.005)
    assert float(least_favourite(scores, 0.1)) == pytest.approx(0.9, abs=0.02)
    assert torch.isinf(least_favourite(torch.full((2, 2), torch.nan), 0.1))


class TestCounts:
    """What was chosen, and what became of it."""

    def steps(self, enhancer, events, items):
        """A step that finds `items` hard at `events`, of which the first is wanted later."""
        hard = torch.tensor(items)
        N = len(events)
        found = choose(
            config(hard_negatives=2, favourite_share=0.0),
            hard,
            torch.full((N,), 99),
            torch.zeros(N, 2),
            torch.full((N, 2), 0.5),
        )
        scored = torch.ones(N, dtype=torch.bool)
        later = torch.full((N, 4), -1)
        later[0, 0] = items[0][0]
        enhancer.note(found, hard, torch.tensor(events), scored, later)

    def test_what_comes_back_and_what_is_wanted_later_is_counted(self):
        enhancer = Enhancer(config(hard_negatives=2))
        enhancer.prepare(5)
        self.steps(enhancer, [3, 1], [[7, 8], [9, 4]])
        first = enhancer.end_epoch(lambda values: values)
        assert "hard_repeated_share" not in first  # there was nothing before
        assert first["hard_later_share"] == 0.25
        assert "favourites_later_share" not in first
        self.steps(enhancer, [3, 2], [[8, 5], [6, 1]])
        second = enhancer.end_epoch(lambda values: values)
        assert second["hard_repeated_share"] == 0.5  # item 8 of event 3; event 2 had none before

    def test_favourites_that_are_wanted_later_are_counted(self):
        enhancer = Enhancer(config())
        ranking = torch.tensor([[0.95, 0.5, 0.5, 0.97, 0.5, 0.5]])
        found = choose(config(), DRAWN, torch.tensor([99]), LIKED_BY_RETRIEVAL, ranking)
        later = torch.tensor([[13, 12, -1, -1]])
        enhancer.note(found, DRAWN, None, torch.ones(1, dtype=torch.bool), later)
        counted = enhancer.end_epoch(lambda values: values)
        assert counted["favourites_later_share"] == 0.5  # of items 10 and 13 the latter
        assert counted["favourites_share"] == pytest.approx(2 / 6)

    def test_of_many_events_some_are_looked_at_again(self, monkeypatch):
        monkeypatch.setattr(enhancer_module, "PROBED_EVENTS", 4)
        enhancer = Enhancer(config(hard_negatives=2))
        enhancer.prepare(1000)
        assert enhancer.state()["hard"].shape == (4, 2)
        for _ in range(2):
            self.steps(enhancer, [250, 3], [[7, 8], [9, 4]])
        assert enhancer.end_epoch(lambda values: values)["hard_repeated_share"] == 1.0

    def test_what_is_remembered_goes_on_elsewhere(self):
        one, other = (Enhancer(config(hard_negatives=2)) for _ in range(2))
        one.prepare(5)
        self.steps(one, [3, 1], [[7, 8], [9, 4]])
        other.restore({name: value.clone() for name, value in one.state().items()})
        self.steps(one, [3, 1], [[7, 5], [9, 4]])
        self.steps(other, [3, 1], [[7, 5], [9, 4]])
        assert one.end_epoch(lambda v: v) == other.end_epoch(lambda v: v)


@pytest.mark.parametrize("backbone", ["hstu", "llama"])
def test_contextual_scores_are_those_of_serving(backbone):
    world = worlds.taste(num_users=12)
    train = world.split.train
    plan = BatchPlan(max_history=21, overlap=5, positions_per_batch=2000)
    batch = next(plan.batches(train, 0))
    torch.manual_seed(0)
    model = Unigrf(config(backbone=backbone, max_history=21, scored_positions=30), 30).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    drawn_NP = torch.randint(30, (int(batch.is_target_BL.sum()), 6))
    with torch.no_grad():
        x_BTD = model.embed(batch.items_BL, batch.strengths_BL)[:, :-1]
        x_BTD, memory = model.backbone.remember(x_BTD, interleave_times(batch.times_BL))
        logits_NP = torch.randn(drawn_NP.shape)
        found_NP = contextual_scores(model, drawn_NP, logits_NP, batch, memory)
    events = batch.events_BL[batch.is_target_BL].numpy()
    queries = Queries.at(
        train, train.users[events], train.positions[events], max_history=21, exclude_seen=False
    )
    np.testing.assert_allclose(
        found_NP.numpy(), inference.rank(model, queries, drawn_NP.numpy()), rtol=1e-4, atol=1e-6
    )
    assert retrieval_places(x_BTD).shape[1] == batch.items_BL.shape[1]


def test_only_the_best_by_retrieval_at_some_positions_are_scored():
    world = worlds.taste(num_users=6)
    batch = next(BatchPlan(20, 5, 2000).batches(world.split.train, 0))
    # A row without a target has no position to be scored at.
    batch = replace(
        batch, is_target_BL=batch.is_target_BL & (torch.arange(len(batch.items_BL)) > 0)[:, None]
    )
    model = Unigrf(config(scored_positions=2, scored_candidates=4), 30)
    N = int(batch.is_target_BL.sum())
    drawn_NP, logits_NP = torch.randint(30, (N, 6)), torch.randn(N, 6)
    with torch.no_grad():
        x_BTD = model.embed(batch.items_BL, batch.strengths_BL)[:, :-1]
        _, memory = model.backbone.remember(x_BTD, interleave_times(batch.times_BL))
        found_NP = contextual_scores(model, drawn_NP, logits_NP, batch, memory)
    scored_NP = ~found_NP.isnan()
    assert scored_NP.any(1).sum() == batch.is_target_BL.sum(1).clamp(max=2).sum()
    row = int(scored_NP.any(1).nonzero()[0])
    best = logits_NP[row].topk(4).indices
    assert set(scored_NP[row].nonzero()[:, 0].tolist()) == set(best.tolist())
