"""What every family that says whole slates must do; a test class inherits this."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests import worlds
from tests.suites.recommender import RecommenderSuite
from training import inference
from training.data.slate_batches import SlatePlan, slate_queries
from training.models import MODELS
from training.models.slate.fit import learnable


class SlateSuite(RecommenderSuite):
    """Inherit and set `family`, `settings`, and `sees_items` if a place knows those before it."""

    model_class: type
    sees_items = True

    @pytest.fixture(scope="class")
    def world(self):
        return worlds.continued(num_users=60)

    def build(self, world, **changes):
        """An untrained model."""
        config = MODELS[self.family].configure({**self.settings, "max_history": 20, **changes})
        codes_VQ = torch.from_numpy(world.vocabulary.codes_VQ)
        torch.manual_seed(0)
        return self.model_class(
            config,
            codes_VQ,
            torch.from_numpy(world.vocabulary.vectors_VD),
            world.vocabulary.level_sizes,
        )

    @pytest.fixture(scope="class")
    def model(self, world):
        """With weights large enough for everything to matter."""
        model = self.build(world).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)
        return model

    @pytest.fixture(scope="class")
    def batch(self, world, model):
        """Queries of 2 to 20 events and slates of 1 to 4 items."""
        slates = learnable(world.slates, model.config, world.vocabulary.codes_VQ).train
        keep = np.random.default_rng(0).random(len(slates.items)) < 0.7
        keep[slates.offsets[:-1]] = True
        slates = slates.keeping_items(keep)
        slates = replace(slates, position=2 + np.arange(len(slates)) % 17)
        plan = SlatePlan(max_history=20, positions_per_batch=200, positions_per_item=2)
        return next(plan.batches(slates, 0))

    @torch.no_grad()
    def test_slates_that_share_a_history_are_said_as_if_each_had_its_own(self, model, world):
        slates = learnable(world.slates, model.config, world.vocabulary.codes_VQ).train
        slates = slates.where(np.repeat(np.arange(len(slates)), 3))
        place = 3 + np.arange(len(slates)) % 17
        starts = slates.histories.times[slates.histories.offsets[slates.user] + place]
        slates = replace(slates, position=place, started_at=starts)
        plan = SlatePlan(max_history=20, positions_per_batch=10**6, positions_per_item=2)
        shared = replace(plan, least_history=5)
        found = []
        for each in (plan, shared):
            ((rows, _),) = each.groups(slates, 0)
            batch = next(each.batches(slates, 0))
            assert batch.is_alone == (each is plan)
            found.append((batch, rows, model.token_log_probs(batch)))
        alone, together = (log_probs[np.argsort(rows)] for _, rows, log_probs in found)
        assert len(found[1][0].items_HL) < len(found[0][0].items_HL)
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)

    @torch.no_grad()
    def test_a_place_sees_the_items_before_it_only(self, model, batch):
        row = int(batch.is_target_BM.sum(1).argmax())
        before = model.token_log_probs(batch)[row].sum(-1)
        for place in range(batch.slate_BM.shape[1]):
            slate_BM = batch.slate_BM.clone()
            slate_BM[row, place] = (slate_BM[row, place] + 7) % 30
            after = model.token_log_probs(replace(batch, slate_BM=slate_BM))[row].sum(-1)
            torch.testing.assert_close(after[:place], before[:place], rtol=1e-4, atol=1e-4)
            same = torch.isclose(after[place + 1 :], before[place + 1 :], rtol=1e-4, atol=1e-4)
            assert not same.any() if self.sees_items else same.all()

    @torch.no_grad()
    def test_padding_of_contexts_and_slates_changes_no_probability(self, model, batch):
        def wider(values, fill):
            return torch.nn.functional.pad(values, (0, 3), value=fill)

        padded = replace(
            batch,
            items_HL=wider(batch.items_HL, -1),
            strengths_HL=wider(batch.strengths_HL, 0),
            times_HL=torch.cat([batch.times_HL, batch.asked_at_B[:, None].expand(-1, 3)], 1),
            slate_BM=wider(batch.slate_BM, -1),
        )
        short, long = model.token_log_probs(batch), model.token_log_probs(padded)
        torch.testing.assert_close(long[:, :-3], short, rtol=1e-4, atol=1e-4)
        assert not long[:, -3:].any()
        assert not short[~batch.is_target_BM].any()
        assert (short[batch.is_target_BM] < 0).all()

    @torch.no_grad()
    def test_what_is_said_has_the_probability_that_training_gives_it(self, model, batch):
        torch.manual_seed(0)
        seen_BE = torch.randint(0, 30, (len(batch.slate_BM), 5))
        model.config = replace(model.config, normalisation="all")
        items_Bk, scores_Bk = model.say(model.remember(batch), 6, seen_BE)
        model.config = replace(model.config, normalisation="legal")
        assert not (items_Bk[:, :, None] == seen_BE[:, None]).any()
        learnt = model.token_log_probs(replace(batch, slate_BM=items_Bk)).sum(-1)
        torch.testing.assert_close(scores_Bk, learnt, rtol=1e-4, atol=1e-4)

    @torch.no_grad()
    def test_scores_are_of_the_slate_so_far(self, model, world):
        queries = self._questions(world)
        batch = model.questions(queries)
        seen_BE = torch.from_numpy(queries.excluded_BE)
        items_Bk, scores_Bk = model.say(model.remember(batch), 5, seen_BE)
        answer = inference.recommend(model, queries, 5)
        np.testing.assert_array_equal(answer.items_Bk, items_Bk)
        np.testing.assert_allclose(answer.scores_Bk, scores_Bk.cumsum(1), rtol=1e-4, atol=1e-5)

    @torch.no_grad()
    def test_items_without_codes_are_neither_read_nor_said(self, model, world):
        codes_VQ = torch.from_numpy(world.vocabulary.codes_VQ.copy())
        codes_VQ[10:] = -1
        partial = self.build(world).eval()
        partial.load_state_dict(model.state_dict())
        partial.codes_VQ.copy_(codes_VQ)
        queries = self._questions(world)
        answer = inference.recommend(partial, queries, 12)
        for row, items in enumerate(answer.items_Bk.tolist()):
            first, last = queries.excluded_offsets[row : row + 2]
            left = set(range(10)) - set(queries.excluded[first:last].tolist())
            assert {item for item in items if item >= 0} == left
        known = queries.of_known(np.arange(30) < 10)
        np.testing.assert_array_equal(
            answer.items_Bk, inference.recommend(partial, known, 12).items_Bk
        )

    def test_what_is_loaded_into_a_model_stays_in_it(self, world):
        before_VQ = world.vocabulary.codes_VQ.copy()
        model = self.build(world)
        model.load_state_dict({**model.state_dict(), "items.codes_VQ": model.codes_VQ - 1})
        np.testing.assert_array_equal(world.vocabulary.codes_VQ, before_VQ)

    def test_one_batch_can_be_learnt_by_heart(self, world, batch):
        model = self.build(world, dropout=0.0).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
        of_rows = [name for name, value in vars(batch).items() if torch.is_tensor(value)]
        rows = replace(batch, **{name: getattr(batch, name)[:4] for name in of_rows})
        losses = []
        for _ in range(250):
            loss = model(rows)
            losses.append(float(loss.detach()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert losses[-1] < 0.1 * losses[0]

    def test_every_parameter_learns(self, world, batch):
        model = self.build(world)
        model(batch).backward()
        silent = [
            name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()
        ]
        assert silent == []

    def _questions(self, world):
        slates = world.slates.test
        return next(slate_queries(slates, max_history=20, exclude_seen=True, rows=8))
