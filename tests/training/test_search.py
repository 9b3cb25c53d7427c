"""The search for settings: on validation alone, kept, and the same again."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from feature_store.preset import load
from feature_store.settings import Settings
from feature_store.store import FeatureStore
from tests.training.grid_world import SASREC, TABLE, request_on_a_world
from tests.training.test_align_recommender import slates
from tests.training.test_train_recommender import publish
from training.config import PART
from training.experiments import recommenders
from training.experiments.cell_tables import CellTables
from training.experiments.cells import Validated
from training.experiments.chosen import preset_text
from training.experiments.markdown import markdown
from training.experiments.measure import measure
from training.experiments.recommenders import RecommenderCell, Recommenders
from training.experiments.result import Result, RowResult
from training.experiments.search import Effort, search, search_rows, with_settings
from training.experiments.spaces import SPACES, Among
from training.experiments.table import Budget, Fit, Row
from training.fit.loop import TrainingDiverged
from training.settings import FAMILIES

KNN = Fit(of="item_knn")
NEIGHBOURS = "models.settings.item_knn.neighbours"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    home = tmp_path_factory.mktemp("search")
    return Settings(home=home, presets=home / "presets", device="cpu")


@pytest.fixture
def asked(settings, tmp_path):
    return request_on_a_world(settings, tmp_path / "cells")


class Peak:
    """A ground on which a setting is worth what a function says, and that remembers trials."""

    def __init__(self, value, seconds=1.0):
        self.value, self.seconds, self.fits = value, seconds, []

    def validation_metric(self, fit):
        return "ndcg@10"

    def validate(self, fit, seed, metric):
        self.fits.append(fit)
        chosen = dict(change.split("=", 1) for change in fit.changes)
        value = self.value({path: json.loads(text) for path, text in chosen.items()})
        return Validated(value=value, num_targets=7, seconds=self.seconds)


def test_the_best_of_all_trials_is_chosen():
    decay = "models.settings.item_knn.recency_decay"
    ground = Peak(lambda chosen: -abs(chosen.get(decay, 0.0) - 0.8))
    found = search(ground, KNN, 0, Effort(trials=30))
    assert abs(found.settings[decay] - 0.8) < 0.05
    assert found.value == pytest.approx(-abs(found.settings[decay] - 0.8))
    assert (found.value_before, found.num_targets, found.trials) == (-0.8, 7, 30)


def test_settings_of_the_preset_that_no_trial_beats_stay():
    found = search(Peak(lambda chosen: -len(chosen)), KNN, 0, Effort(trials=4))
    assert (found.settings, found.value) == ({}, 0)


def test_what_is_less_when_better_is_searched_downwards():
    ground = Peak(lambda chosen: chosen.get("models.settings.unigrf.dropout", 1.0))
    ground.validation_metric = lambda fit: "logloss"
    found = search(ground, Fit(of="unigrf"), 0, Effort(trials=8))
    assert found.value < 0.3 < found.value_before


def test_a_longer_search_begins_with_the_trials_of_the_shorter_one():
    shorter, longer = Peak(lambda chosen: len(str(chosen))), Peak(lambda chosen: len(str(chosen)))
    search(shorter, SASREC, 0, Effort(trials=7))
    search(longer, SASREC, 0, Effort(trials=9))
    assert longer.fits[:8] == shorter.fits
    assert len(set(longer.fits)) == 10


def test_no_trial_begins_after_the_seconds_and_those_of_kept_cells_count():
    ground = Peak(lambda chosen: 0.0, seconds=40)
    found = search(ground, KNN, 0, Effort(trials=9, seconds=100))
    assert (found.trials, found.seconds, found.most_trials) == (2, 120, 9)


def test_a_trial_whose_loss_is_not_finite_is_counted_and_passed_over():
    def value(chosen):
        if len(chosen) and chosen[NEIGHBOURS] > 100:
            raise TrainingDiverged("loss is nan")
        return float(len(chosen))

    found = search(Peak(value), KNN, 0, Effort(trials=8))
    assert 0 < found.failed < found.trials == 8
    assert found.settings[NEIGHBOURS] <= 100


def test_what_a_row_says_itself_is_not_searched():
    ground = Peak(lambda chosen: 0.0)
    said = with_settings(KNN, {NEIGHBOURS: 3})
    search(ground, said, 0, Effort(trials=3))
    assert all(
        [change for change in fit.changes if change.startswith(NEIGHBOURS)] == [f"{NEIGHBOURS}=3"]
        for fit in ground.fits
    )


@pytest.mark.parametrize("family", SPACES)
def test_every_value_of_a_space_is_one_that_a_preset_can_have(family):
    bounds = {}
    for path, domain in SPACES[family].paths(family).items():
        bounds[path] = domain.values if isinstance(domain, Among) else (domain.low, domain.high)
    for place in range(max(map(len, bounds.values()))):
        changes = [f"{path}={json.dumps(each[place % len(each)])}" for path, each in bounds.items()]
        sections = load(PART, "movielens-100k", folder=Settings().presets, overrides=changes)
        assert sections.models.settings[family]


def test_every_family_of_ours_has_a_space():
    assert set(SPACES) == set(FAMILIES) - set(FAMILIES.installed)


def test_a_search_reads_no_test_target(asked, monkeypatch):
    def refuse(*_):
        raise AssertionError("test targets were read")

    monkeypatch.setattr(CellTables, "held_out", refuse)
    ground = Recommenders(asked)
    rows, searched = search_rows(ground, asked.table.chosen(("knn", "popularity")), 0, Effort(2))
    assert [row.name for row in rows] == ["knn", "popularity"]
    assert searched["knn"][0].metric == "ndcg@10"


@pytest.mark.parametrize("protocol", ["leave_last_out", "rolling"])
def test_what_a_search_asks_happened_before_what_is_held_out(settings, tmp_path, protocol):
    changes = (
        f"evaluation.protocol={protocol}",
        "evaluation.holdout_days=8",
        "evaluation.validation_days=4",
        "evaluation.slate_minimum_items=2",
        "evaluation.slate_cutoffs=[2]",
    )
    request = replace(
        request_on_a_world(settings, tmp_path, replace(TABLE, settings={})), overrides=changes
    )
    publish(FeatureStore.open(settings, request.name), "slates", slates())
    tables = CellTables(request)
    task = request.task(request.config())
    asked, _, _ = tables.validation(task)
    held_out, _, _ = tables.held_out(task)
    for board in ("lists", "feedback"):
        first = np.full(held_out.lists.histories.num_users, np.iinfo(np.int64).max)
        targets = getattr(held_out, board)
        np.minimum.at(first, targets.user, targets.times)
        questions = getattr(asked, board)
        assert len(questions)
        assert (questions.times < first[questions.user]).all()
    assert (asked.slates is None) == (held_out.slates is None) == (protocol == "leave_last_out")
    if asked.slates is not None:
        assert asked.slates.ended_at.max() < held_out.slates.started_at.min()


def test_a_stopped_search_goes_on_and_says_the_same(asked, monkeypatch):
    fitted, real = [], recommenders.fit_family

    def fit(task, family, *arguments, **options):
        fitted.append(family.name)
        if len(fitted) == 3:
            raise KeyboardInterrupt
        return real(task, family, *arguments, **options)

    monkeypatch.setattr(recommenders, "fit_family", fit)
    with pytest.raises(KeyboardInterrupt):
        search(Recommenders(asked), KNN, 0, Effort(trials=3))
    found = search(Recommenders(asked), KNN, 0, Effort(trials=3))
    assert len(fitted) == 5  # of four cells; the third was begun twice
    assert search(Recommenders(asked), KNN, 0, Effort(trials=3)) == found
    assert len(fitted) == 5


def test_a_result_says_what_was_chosen_and_a_preset_that_takes_it_has_the_same_cells(asked):
    result = measure(
        asked, asked.table.chosen(("knn",)), (0,), command="sidereal reproduce", effort=Effort(3)
    )
    row = result.rows[0]
    assert row.searched[0].value >= row.searched[0].value_before
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result
    assert "| knn | 3 |" in markdown(result)
    assert "No test target was asked about before" in markdown(result)
    taken = with_settings(KNN, row.searched[0].settings)
    assert (RecommenderCell(CellTables(asked), taken, 0).folder / "fit.json").is_file()


def test_the_text_for_a_preset_has_what_was_chosen_and_the_budget():
    peak = Peak(lambda chosen: len(chosen))
    rows = (Row(name="sasrec", fits=(SASREC,)),)
    _, searched = search_rows(peak, rows, 0, Effort(trials=1))
    budget = Budget(max_epochs=9, patience_epochs=2, max_validation_targets=100)
    row = RowResult(name="sasrec", seeds=(0,), metrics={}, searched=searched["sasrec"])
    text = preset_text(row, budget)
    assert text.startswith("# sasrec: ndcg@10 5.0000 on 7 validation targets, the preset's 0.0000")
    sections = yaml.safe_load(text)
    assert sections["training"]["overrides"]["sasrec"]["max_epochs"] == 9
    assert set(sections["models"]["settings"]["sasrec"]) == {"dropout", "num_layers"}
