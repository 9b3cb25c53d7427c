"""What every family of recommenders must do; a test class inherits this and says which it is."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from tests import worlds
from training import inference
from training.data.batches import Batch, BatchPlan
from training.fit.fitting import Fitting, LoopSettings
from training.models import weights
from training.models.families import family_of
from training.models.interface import PAD, Queries, TopK, queries_of


def hit_rate(model, targets, *, k=1, exclude_seen=False, max_history=50):
    """Share of targets whose item is among the k answers."""
    questions = queries_of(targets, max_history=max_history, exclude_seen=exclude_seen)
    found = np.concatenate(
        [inference.recommend(model, queries, k).items_Bk for queries in questions]
    )
    return float((found == targets.items[:, None]).any(1).mean())


def first_columns(batch, width, *, padding=0):
    """The batch's first `width` positions, with `padding` more that hold no event."""

    def cut(values_BL, fill=0):
        return torch.nn.functional.pad(values_BL[:, :width], (0, padding), value=fill)

    return Batch(
        cut(batch.items_BL, PAD),
        cut(batch.strengths_BL),
        cut(batch.times_BL),
        cut(batch.is_target_BL),
        batch.num_targets,
    )


class RecommenderSuite:
    """Inherit and set `family`; `settings` make the model small enough for a test."""

    family = ""
    settings: ClassVar[dict] = {}
    fitting = Fitting(LoopSettings(max_epochs=2, tokens_per_batch=2048, max_history=20))
    relative_tolerance = 1e-4

    def fit(self, world, **changes):
        family = family_of(self.family)
        config = family.configure({**self.settings, **changes})
        return family.fit(world.split, config, self.fitting, world.vocabulary, world.data)[0]

    @pytest.fixture(scope="class")
    def world(self):
        return worlds.chain(num_users=60)

    @pytest.fixture(scope="class")
    def fitted(self, world):
        return self.fit(world)

    @pytest.fixture(scope="class")
    def queries(self, world):
        """Queries of 0 to 20 known events, seen items excluded."""
        user = np.arange(21)
        return Queries.at(world.split.test.histories, user, user, max_history=20, exclude_seen=True)

    def same(self, one, other):
        """Equal lists, but for neighbours whose scores differ by rounding only."""
        np.testing.assert_allclose(
            one.scores_Bk, other.scores_Bk, rtol=self.relative_tolerance, atol=1e-5
        )
        apart = np.abs(np.diff(one.scores_Bk, axis=1)) > 1e-3
        clear = np.pad(apart, ((0, 0), (1, 0)), constant_values=True)
        clear &= np.pad(apart, ((0, 0), (0, 1)), constant_values=True)
        assert (one.items_Bk == other.items_Bk)[clear].all()

    def test_a_list_holds_distinct_items_best_first(self, fitted, queries):
        answer = inference.recommend(fitted, queries, 8)
        assert answer.items_Bk.shape == answer.scores_Bk.shape == (21, 8)
        assert answer.items_Bk.dtype == np.int32
        assert answer.scores_Bk.dtype == np.float32
        assert (np.diff(answer.scores_Bk, axis=1) <= 0).all()
        assert all(len(set(row)) == 8 for row in answer.items_Bk.tolist())

    def test_people_without_any_event_are_answered_as_beside_others(self, fitted, world):
        def ask(*positions):
            count = len(positions)
            return Queries.at(
                world.split.test.histories, np.arange(count), np.array(positions),
                max_history=20, exclude_seen=True, asked_at=np.full(count, 86_400),
            )  # fmt: skip

        alone = inference.recommend(fitted, ask(0, 0), 4)
        assert (alone.items_Bk != PAD).all() and alone.items_Bk.shape == (2, 4)
        beside = inference.recommend(fitted, ask(0, 0, 5), 4)
        self.same(alone, TopK(beside.items_Bk[:2], beside.scores_Bk[:2]))

    def test_no_excluded_item_is_answered(self, fitted, queries):
        answer = inference.recommend(fitted, queries, 8)
        for row, items in enumerate(answer.items_Bk):
            first, last = queries.excluded_offsets[row : row + 2]
            assert not set(items.tolist()) & set(queries.excluded[first:last].tolist())

    def test_no_unlisted_item_is_answered_and_a_list_is_filled_with_others(
        self, fitted, queries, world
    ):
        before = inference.recommend(fitted, queries, 4)
        unlisted = np.unique(before.items_Bk[:, 0])[:3]
        asked = replace(queries, unlisted=unlisted.astype(np.int32))
        answer = inference.recommend(fitted, asked, 4)
        assert not np.isin(answer.items_Bk, unlisted).any()
        offered = world.vocabulary.num_items - len(unlisted) - np.diff(queries.excluded_offsets)
        assert ((answer.items_Bk != PAD).sum(1) == np.minimum(4, offered)).all()
        self.same(inference.recommend(fitted, queries, 4), before)
        everything = np.arange(world.vocabulary.num_items, dtype=np.int32)
        assert (
            inference.recommend(fitted, replace(queries, unlisted=everything), 4).items_Bk == PAD
        ).all()

    def test_a_list_longer_than_the_catalogue_ends_in_no_items(self, fitted, queries, world):
        answer = inference.recommend(fitted, queries, 40)
        for row, items in enumerate(answer.items_Bk):
            first, last = queries.excluded_offsets[row : row + 2]
            left = world.vocabulary.num_items - len(set(queries.excluded[first:last].tolist()))
            assert (items[:left] != PAD).all()
            assert (items[left:] == PAD).all()
            assert np.isneginf(answer.scores_Bk[row, left:]).all()

    def test_padding_and_company_change_nothing(self, fitted, queries):
        together = inference.recommend(fitted, queries, 8)
        for row in range(len(queries)):
            alone = inference.recommend(fitted, queries.rows(row, row + 1), 8)
            assert queries.rows(row, row + 1).items_BL.shape[1] == row
            self.same(
                alone,
                type(alone)(together.items_Bk[row : row + 1], together.scores_Bk[row : row + 1]),
            )

    def test_what_was_read_answers_the_same_as_often_as_it_is_asked(self, fitted, queries):
        state = fitted.read(queries)
        first = fitted.recommend(state, 8)
        assert fitted.recommend(state, 12).items_Bk.shape == (21, 12)
        again = fitted.recommend(state, 8)
        np.testing.assert_array_equal(again.items_Bk, first.items_Bk)
        np.testing.assert_array_equal(again.scores_Bk, first.scores_Bk)
        self.same(first, inference.recommend(fitted, queries, 8))

    @pytest.mark.parametrize("rows", [[4], [20, 3, 3, 0]], ids=str)
    def test_rows_that_are_selected_are_as_if_they_alone_had_been_read(self, fitted, queries, rows):
        rows = np.array(rows, dtype=np.int64)
        selected = fitted.select(fitted.read(queries), rows)
        answer = fitted.recommend(selected, 8)
        assert answer.items_Bk.shape == (len(rows), 8)
        self.same(answer, inference.recommend(fitted, queries.where(rows), 8))
        if "feedback" in fitted.answers:
            items_BC = np.tile(np.arange(5), (len(rows), 1))
            np.testing.assert_allclose(
                fitted.rank(selected, items_BC),
                inference.rank(fitted, queries.where(rows), items_BC),
                rtol=1e-4,
            )

    def test_what_a_model_does_not_answer_is_refused(self, fitted, queries):
        if "feedback" not in fitted.answers:
            with pytest.raises(inference.Unanswerable, match="answers lists and slates, not feedb"):
                inference.rank(fitted, queries, np.zeros((21, 1), dtype=int))

    def test_no_context_gets_no_list(self, fitted, queries):
        answer = inference.recommend(fitted, queries.rows(0, 0), 8)
        assert answer.items_Bk.shape == (0, 8)

    def test_save_and_load_gives_the_same_answers(self, fitted, queries, tmp_path):
        family = family_of(self.family)
        weights.save(fitted, tmp_path / "model")
        loaded = weights.load(tmp_path / "model", family)
        assert (type(loaded), loaded.config) == (type(fitted), fitted.config)
        assert loaded.sizes == fitted.sizes
        before, after = (
            inference.recommend(fitted, queries, 8),
            inference.recommend(loaded, queries, 8),
        )
        np.testing.assert_array_equal(before.items_Bk, after.items_Bk)
        np.testing.assert_array_equal(before.scores_Bk, after.scores_Bk)
        assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pkl", ".pt", ".bin")]

    def test_the_same_fit_twice_answers_the_same_bit_for_bit(self, fitted, queries, world):
        again = inference.recommend(self.fit(world), queries, 8)
        np.testing.assert_array_equal(
            again.items_Bk, inference.recommend(fitted, queries, 8).items_Bk
        )
        np.testing.assert_array_equal(
            again.scores_Bk, inference.recommend(fitted, queries, 8).scores_Bk
        )

    def test_an_unknown_setting_is_refused(self):
        with pytest.raises(ValueError, match=f"{self.family} has no setting \\['wdth'\\]; it has"):
            family_of(self.family).configure({"wdth": 3})


class NeuralSuite(RecommenderSuite):
    """For models that the loop trains; subclasses say how to read a position's scores."""

    def build(self, world, **changes):
        """An untrained model."""
        raise NotImplementedError

    def outputs(self, model, items_BL):
        """What the model says at each position, with the position's item not yet known."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def model(self, world):
        torch.manual_seed(0)
        return self.build(world).eval()

    @pytest.fixture(scope="class")
    def batch(self, world):
        plan = BatchPlan(max_history=20, overlap=5, positions_per_batch=800)
        return next(plan.batches(world.split.train, 0))

    def test_no_position_sees_itself_or_what_comes_after(self, model):
        items_BL = torch.arange(12).view(1, 12)
        before = self.outputs(model, items_BL)
        for place in range(12):
            changed_BL = items_BL.clone()
            changed_BL[0, place] = 29
            after = self.outputs(model, changed_BL)
            torch.testing.assert_close(after[:, : place + 1], before[:, : place + 1])
            if place < 11:
                assert not torch.allclose(after[:, place + 1 :], before[:, place + 1 :])

    def test_padding_of_a_batch_changes_no_loss(self, model, batch):
        with torch.no_grad():
            short, wider = first_columns(batch, 15), first_columns(batch, 15, padding=6)
            losses = []
            for rows in (short, wider, batch):
                torch.manual_seed(0)  # a model may draw negatives
                losses.append(model(rows))
            torch.testing.assert_close(losses[0], losses[1])
            assert losses[2] > losses[0]

    def test_positions_that_are_no_target_count_nothing(self, model, batch):
        nothing = replace(batch, is_target_BL=torch.zeros_like(batch.is_target_BL))
        with torch.no_grad():
            assert float(model(nothing)) == 0

    def test_one_batch_can_be_learnt_by_heart(self, world, batch):
        torch.manual_seed(0)
        model = self.build(world, dropout=0.0).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
        first = None
        # What comes first can't be known from what came before it.
        marks = batch.is_target_BL[:4] & (torch.arange(batch.items_BL.shape[1]) > 0)
        rows = Batch(
            batch.items_BL[:4],
            batch.strengths_BL[:4],
            batch.times_BL[:4],
            marks,
            int(marks.sum()),
        )
        for _ in range(150):
            loss = model(rows) / rows.num_targets
            first = float(loss.detach()) if first is None else first
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert float(loss.detach()) < 0.1 * first

    def test_every_parameter_learns(self, world, batch):
        torch.manual_seed(0)
        model = self.build(world)
        model(batch).backward()
        silent = [
            name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()
        ]
        assert silent == []
