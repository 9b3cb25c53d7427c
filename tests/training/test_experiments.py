"""Every experiment that is quoted can be asked for on the presets that it is for."""

from dataclasses import replace
from datetime import date
from itertools import chain

import pytest

from feature_store.settings import REPOSITORY, Settings
from training.evaluation.metrics import metric_of
from training.experiments import EXPERIMENTS, strata
from training.experiments.measure import tables_read
from training.experiments.request import Request
from training.experiments.table import Fit
from training.models import MODELS
from training.settings import FAMILIES, TOKENIZERS
from training.settings.configure import configure

PRESETS = ("movielens-100k", "movielens-1m", "amazon-office", "amazon-toys", "kuairand")
PAIRS = [
    (name, preset) for name, table in EXPERIMENTS.items() for preset in table.presets or PRESETS
]


def request(name, preset, tmp_path):
    return Request(
        table=EXPERIMENTS[name],
        settings=Settings(home=tmp_path, presets=REPOSITORY / "presets"),
        preset=preset,
        name=preset,
        day=date(2000, 1, 1),
        cells=tmp_path,
    )


def fits_of(table):
    """All fits, those that others begin with included."""
    fits = list(table.fits)
    return fits + [fit.after for fit in fits if fit.after is not None]


@pytest.mark.parametrize(("name", "preset"), PAIRS)
def test_every_row_is_what_the_preset_can_have(name, preset, tmp_path):
    asked = request(name, preset, tmp_path)
    for fit in fits_of(asked.table):
        config = asked.config_of(fit, seed=7)
        if asked.table.subject == "tokenizers":
            assert config.tokenizer.kind == fit.of
            assert config.tokenizer.seed == 7
            assert configure(TOKENIZERS[fit.of], fit.of, config.tokenizer.settings.get(fit.of, {}))
        else:
            assert config.training_for(fit.of).seed == 7
            MODELS[fit.of].configure(config.models.settings.get(fit.of, {}))


@pytest.mark.parametrize("table", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_a_table_speaks_of_its_own_rows_and_metrics(table):
    names = [row.name for row in table.rows]
    assert len(set(names)) == len(names)
    assert set(chain.from_iterable(table.comparisons)) <= set(names)
    assert set(table.compared) <= set(table.metrics)
    for published in table.published:
        assert all(len(values) == len(table.metrics) for values in published.figures.values())
        assert published.preset in table.presets
    if table.subject == "recommenders":
        of_boards = set(table.metrics) - set(strata.METRICS)
        assert all(metric_of(name).board != "fit" for name in of_boards)
        assert {fit.of for fit in fits_of(table)} <= set(FAMILIES)
    assert tables_read(table, table.rows)


def test_no_two_rows_of_a_table_are_the_same_fits():
    for table in EXPERIMENTS.values():
        assert len({row.fits for row in table.rows}) == len(table.rows)


def test_a_fit_like_another_has_its_loop_and_what_of_its_settings_it_knows(tmp_path):
    asked = request("higr", "movielens-100k", tmp_path)
    config = asked.config_of(Fit(of="flat_slate", like="higr"), seed=1)
    higr = config.training_for("higr")
    assert config.training_for("flat_slate") == higr.model_copy(update={"seed": 1})
    assert higr.tokens_per_batch == 4096  # the preset's, and not every family's
    assert config.models.settings["flat_slate"] == {"minimum_strength": 2}


def test_an_experiment_sets_only_what_it_must_of_a_preset(tmp_path):
    asked = request("unigrf", "movielens-1m", tmp_path)
    assert asked.config().evaluation.cutoffs == (10, 50, 2500)
    loop = asked.config_of(Fit(of="sasrec"), seed=0).training_for("sasrec")
    assert (loop.max_epochs, loop.patience_epochs) == (100, 5)
    assert (
        request("unigrf", "movielens-100k", tmp_path)
        .config_of(Fit(of="sasrec"), seed=0)
        .training_for("sasrec")
        .max_epochs
        == 20
    )


@pytest.mark.parametrize(("name", "preset"), PAIRS)
def test_every_neural_fit_of_a_table_has_the_same_budget(name, preset, tmp_path):
    asked = request(name, preset, tmp_path)
    if asked.table.subject == "tokenizers":
        return
    budget = asked.table.budget_for(preset)
    for fit in fits_of(asked.table):
        if not fit.aligned and FAMILIES[fit.of].by_epochs:
            training = asked.config_of(fit, seed=0).training_for(fit.of)
            assert {name: getattr(training, name) for name in vars(budget)} == vars(budget)


def test_the_caller_may_give_less_than_the_budget(tmp_path):
    asked = replace(
        request("baselines", "movielens-100k", tmp_path),
        overrides=("training.overrides.sasrec.max_epochs=2",),
    )
    assert asked.config().training_for("sasrec").max_epochs == 2
    assert asked.config().training_for("tiger").max_epochs == 30
