"""What every family that only ranks must do; a test class inherits this and says which it is."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from training import inference
from training.evaluation.ranking import user_auc
from training.fit.fitting import Fitting, LoopSettings
from training.models import weights
from training.models.families import family_of
from training.models.interface import PAD, Queries


class RankerSuite:
    """Inherit, set `family`, and give a `world` with split, vocabulary and data."""

    family = ""
    settings: ClassVar[dict] = {}
    fitting = Fitting(
        LoopSettings(max_epochs=2, tokens_per_batch=256, max_history=20, validation_metric="gauc")
    )

    def fit(self, world, **changes):
        family = family_of(self.family)
        config = family.configure({**self.settings, **changes})
        return family.fit(world.split, config, self.fitting, world.vocabulary, world.data)

    @pytest.fixture(scope="class")
    def fitted(self, world):
        return self.fit(world)[0]

    @pytest.fixture(scope="class")
    def queries(self, world):
        """Queries of 0 to 20 known events."""
        user = np.arange(21)
        return Queries.at(
            world.split.test.histories, user, user, max_history=20, exclude_seen=False
        )

    @pytest.fixture(scope="class")
    def candidates(self, world):
        return np.random.default_rng(0).integers(0, world.vocabulary.num_items, (21, 6))

    def test_probabilities_are_of_the_candidates(self, fitted, queries, candidates):
        liked_BC = inference.rank(fitted, queries, candidates)
        assert liked_BC.shape == (21, 6) and liked_BC.dtype == np.float32
        assert ((liked_BC > 0) & (liked_BC < 1)).all()
        assert len(np.unique(liked_BC)) > 20

    def test_company_changes_nothing(self, fitted, queries, candidates):
        together = inference.rank(fitted, queries, candidates)
        for row in (0, 3, 20):
            alone = inference.rank(
                fitted, queries.rows(row, row + 1), candidates[row : row + 1, 2:3]
            )
            np.testing.assert_allclose(alone[0, 0], together[row, 2], rtol=1e-4, atol=1e-6)

    def test_no_candidate_gets_no_probability_and_a_stranger_the_share_of_positives(
        self, fitted, queries, candidates, world
    ):
        asked = candidates.copy()
        asked[:, 0], asked[:, 1] = PAD, world.vocabulary.num_items + 3
        liked_BC = inference.rank(fitted, queries, asked)
        assert np.isnan(liked_BC[:, 0]).all()
        np.testing.assert_allclose(liked_BC[:, 1], float(fitted.base_rate), rtol=1e-5)
        expected = inference.rank(fitted, queries, candidates)[:, 2:]
        np.testing.assert_allclose(liked_BC[:, 2:], expected, rtol=1e-4)

    def test_people_whom_nobody_knows_are_answered(self, fitted, queries, candidates):
        for names in (None, np.array(["stranger"] * 21, dtype=object)):
            unknown = replace(queries, user_ids_B=names)
            assert np.isfinite(inference.rank(fitted, unknown, candidates)).all()

    def test_what_was_read_answers_the_same_as_often_as_it_is_asked(
        self, fitted, queries, candidates
    ):
        state = fitted.read(queries)
        first = fitted.rank(state, candidates)
        fitted.rank(state, candidates[:, :1])
        np.testing.assert_array_equal(fitted.rank(state, candidates), first)

    @pytest.mark.parametrize("rows", [[4], [20, 3, 3, 0]], ids=str)
    def test_rows_that_are_selected_are_as_if_they_alone_had_been_read(
        self, fitted, queries, candidates, rows
    ):
        rows = np.array(rows, dtype=np.int64)
        selected = fitted.select(fitted.read(queries), rows)
        np.testing.assert_allclose(
            fitted.rank(selected, candidates[rows]),
            inference.rank(fitted, queries.where(rows), candidates[rows]),
            rtol=1e-4,
        )

    def test_lists_are_refused(self, fitted, queries):
        with pytest.raises(
            inference.Unanswerable, match="answers feedback, not lists: ask another"
        ):
            inference.recommend(fitted, queries, 5)

    def test_nobody_and_nothing_are_answered_with_nothing(self, fitted, queries, candidates):
        assert inference.rank(fitted, queries.rows(0, 0), candidates[:0]).shape == (0, 6)
        assert inference.rank(fitted, queries, candidates[:, :0]).shape == (21, 0)

    def test_save_and_load_gives_the_same_answers(self, fitted, queries, candidates, tmp_path):
        family = family_of(self.family)
        weights.save(fitted, tmp_path / "model")
        loaded = weights.load(tmp_path / "model", family)
        assert (type(loaded), loaded.config) == (type(fitted), fitted.config)
        assert loaded.sizes == fitted.sizes
        np.testing.assert_array_equal(
            inference.rank(loaded, queries, candidates), inference.rank(fitted, queries, candidates)
        )
        assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pkl", ".pt", ".bin")]

    def test_the_same_fit_twice_answers_the_same_bit_for_bit(
        self, fitted, queries, candidates, world
    ):
        again = inference.rank(self.fit(world)[0], queries, candidates)
        np.testing.assert_array_equal(again, inference.rank(fitted, queries, candidates))

    def test_an_unknown_setting_is_refused(self):
        with pytest.raises(ValueError, match=f"{self.family} has no setting \\['wdth'\\]; it has"):
            family_of(self.family).configure({"wdth": 3})

    def test_training_and_questions_make_the_same_of_an_impression(self, fitted, world):
        """What the batches of a fit say of validation impressions, a question says, too."""
        targets = world.split.validation.where(np.arange(40))
        queries = Queries.of(
            targets.histories, targets.questions, max_history=20, exclude_seen=False
        )
        question_T = targets.questions.question_T
        asked = inference.rank(fitted, queries.where(question_T), targets.items[:, None])[:, 0]
        np.testing.assert_allclose(asked, self.said(fitted, world, targets.events), rtol=1e-4)

    def said(self, model, world, rows):
        """What a model says of some impressions by the batches that it is trained with."""
        raise NotImplementedError


def gauc(probability_T, label_T, user_T):
    """AUC within each user, weighted by events."""
    found = user_auc(np.unique(user_T, return_inverse=True)[1], probability_T, label_T)
    return float(np.average(found.auc, weights=found.num_events))
