"""The grid over the small world: cells are kept, found again, and made anew where they differ."""

import importlib
import json
import shutil
from dataclasses import replace

import pytest

from feature_store.settings import Settings
from feature_store.store import FeatureStore
from tests.recommender_world import NUM_USERS
from tests.training.grid_world import SASREC, TABLE, request_on_a_world
from tests.training.test_align_recommender import pairs, slates
from tests.training.test_train_recommender import publish
from training.experiments import grid, recommenders
from training.experiments.cell_tables import CellTables
from training.experiments.cells import Measured, rows_of, sample_of
from training.experiments.measure import measure, tables_read
from training.experiments.recommenders import RecommenderCell, Recommenders
from training.experiments.result import Result
from training.experiments.table import Fit, Row
from training.programs.errors import ProgramError

SLATES = (
    "evaluation.holdout_days=8",
    "evaluation.validation_days=4",
    "evaluation.slate_cutoffs=[2, 4]",
    "evaluation.slate_minimum_items=2",
    "evaluation.cutoffs=[5, 10]",
    "training.validation_metric=loss",
    "tokenizer.codebook_size=8",
    "models.settings.higr={width: 16, planner_layers: 1, num_heads: 1}",
)
UNIGRF = Fit(of="unigrf", changes=("models.settings.unigrf.tasks=retrieval",))


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    home = tmp_path_factory.mktemp("grid")
    return Settings(home=home, presets=home / "presets", device="cpu")


@pytest.fixture
def request_of(settings, tmp_path):
    """A request for a table on a preset of its own."""

    def make(table=TABLE, **world):
        return request_on_a_world(settings, tmp_path / "cells", table, **world)

    return make


@pytest.fixture
def fitted(monkeypatch):
    """Families whose fit was asked for, in order."""
    asked = []
    real = recommenders.fit_family

    def fit(task, family, *arguments, **options):
        asked.append((family.name, task.config.training_for(family.name).seed))
        return real(task, family, *arguments, **options)

    monkeypatch.setattr(recommenders, "fit_family", fit)
    return asked


def result_of(request, rows=(), seeds=(0, 1)):
    return measure(request, request.table.chosen(rows), seeds, command="sidereal reproduce small")


def row_of(result, name):
    return next(row for row in result.rows if row.name == name)


def test_a_table_has_every_row_with_spread_and_interval_and_every_comparison(request_of):
    result = result_of(request_of())
    assert [row.name for row in result.rows] == ["knn", "sasrec", "popularity"]
    assert row_of(result, "sasrec").seeds == (0, 1)
    assert row_of(result, "knn").seeds == (0,)  # it draws nothing: a second seed says the same
    figure = row_of(result, "sasrec").metrics["ndcg@10"]
    assert figure.seed_deviation > 0
    assert figure.interval.low < figure.mean == pytest.approx(figure.interval.point)
    assert result.num_units == NUM_USERS
    compared = {(row.ours, row.theirs): row for row in result.comparisons}
    difference = compared["knn", "popularity"].difference
    points = [row_of(result, name).metrics["ndcg@10"].mean for name in ("knn", "popularity")]
    assert difference.point == pytest.approx(points[0] - points[1])
    assert difference.low > 0  # tastes are tribal: neighbours know them
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_a_run_that_was_stopped_fits_only_what_is_missing(request_of, fitted, monkeypatch):
    request, real = request_of(), recommenders.keep_measured

    def stop(*_):
        raise KeyboardInterrupt

    result_of(request, ("sasrec",), seeds=(0,))
    assert fitted == [("sasrec", 0)]
    monkeypatch.setattr(recommenders, "keep_measured", stop)
    with pytest.raises(KeyboardInterrupt):
        result_of(request, ("sasrec",), seeds=(0, 1))
    assert fitted[1:] == [("sasrec", 1)]
    monkeypatch.setattr(recommenders, "keep_measured", real)
    result = result_of(request, ("sasrec",), seeds=(0, 1))
    assert len(fitted) == 2  # the second was fitted and not yet asked
    assert row_of(result, "sasrec").seeds == (0, 1)


def test_a_fit_that_is_killed_leaves_no_cell(request_of, fitted, monkeypatch):
    request, save = request_of(), recommenders.weights.save

    def kill(model, folder):
        save(model, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(recommenders.weights, "save", kill)
    with pytest.raises(KeyboardInterrupt):
        result_of(request, ("knn",))
    monkeypatch.setattr(recommenders.weights, "save", save)
    result_of(request, ("knn",))
    assert [family for family, _ in fitted].count("item_knn") == 2


def test_a_cell_whose_weights_are_cut_off_is_named_with_what_to_do(request_of):
    request = request_of()
    ground = Recommenders(request)
    ground.measure(SASREC, 0)
    [cell] = request.cells.glob("sasrec-0-*")
    [path] = (cell / "model").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    shutil.rmtree(next(cell.glob("lists-*")))
    with pytest.raises(ProgramError, match=f"remove {cell}, and run the command again"):
        ground.measure(SASREC, 0)


@pytest.mark.parametrize(
    "change",
    [
        "models.settings.item_knn.neighbours=2",
        "training.minimum_strength=1",
        "evaluation.positive_strength=1",
    ],
)
def test_other_settings_are_another_cell(request_of, fitted, change):
    request = request_of()
    result_of(request, ("knn",))
    result_of(request, ("knn",))
    assert fitted == [("item_knn", 0)]
    result_of(replace(request, overrides=(change,)), ("knn",))
    assert fitted == [("item_knn", 0)] * 2


def test_other_questions_are_asked_of_the_fits_that_are_there(request_of, fitted):
    request = request_of()
    before = result_of(request, ("knn",))
    after = result_of(replace(request, overrides=("evaluation.exclude_seen=true",)), ("knn",))
    assert after.rows == before.rows
    narrow = result_of(replace(request, overrides=("evaluation.cutoffs=[10]",)), ("knn",))
    assert len(fitted) == 1
    assert narrow.rows[0].metrics["hr@10"] == before.rows[0].metrics["hr@10"]


def test_other_rows_of_the_tables_are_another_cell(request_of, fitted):
    request, other = request_of(), request_of(seed=1)
    result_of(request, ("knn",))
    result_of(replace(other, cells=request.cells), ("knn",))
    assert [family for family, _ in fitted].count("item_knn") == 2


def test_a_row_of_two_models_has_the_metrics_of_both(request_of):
    ranks = Fit(
        of="unigrf",
        changes=(
            "models.settings.unigrf.tasks=ranking",
            "training.overrides.unigrf.validation_metric=auc",
        ),
    )
    table = replace(
        TABLE,
        rows=(Row(name="single", fits=(SASREC, ranks)), Row(name="both", fits=(Fit(of="unigrf"),))),
        metrics=("ndcg@10", "auc"),
        comparisons=(("both", "single"),),
        compared=("ndcg@10", "auc"),
    )
    request = request_of(table, opinions=True)
    result = result_of(request)
    assert set(row_of(result, "single").metrics) == {"ndcg@10", "auc"}
    assert {row.metric for row in result.comparisons} == {"ndcg@10", "auc"}
    ground, fits = Recommenders(request), table.rows[0].fits
    seconds = [ground.measure(fit, seed).facts["fit.seconds"] for fit in fits for seed in (0, 1)]
    assert row_of(result, "single").facts["fit.seconds"].mean == pytest.approx(sum(seconds) / 2)


def test_a_fit_that_goes_on_begins_with_the_weights_of_the_same_seed(request_of, monkeypatch):
    begun = []
    real = recommenders.fit_family

    def fit(*arguments, first_weights=None, **options):
        begun.append(first_weights)
        return real(*arguments, first_weights=first_weights, **options)

    monkeypatch.setattr(recommenders, "fit_family", fit)
    later = Fit(of="unigrf", after=UNIGRF)
    table = replace(TABLE, rows=(Row(name="later", fits=(later,)),), comparisons=())
    request = request_of(table)
    result_of(request, seeds=(3,))
    before = RecommenderCell(CellTables(request), UNIGRF, 3).folder
    assert begun == [None, before / "model" / "unigrf.safetensors"]


def test_an_alignment_begins_with_the_fit_that_it_is_compared_with(request_of, settings):
    higr = Fit(of="higr")
    table = replace(
        TABLE,
        rows=(
            Row(name="before", fits=(higr,)),
            Row(name="ORPO", fits=(Fit(of="higr", after=higr, aligned=True),)),
        ),
        metrics=("slate_ndcg@4",),
        comparisons=(("ORPO", "before"),),
        compared=("slate_ndcg@4",),
        facts={"slates.similarity": "similarity", "fit.preference_accuracy": "accuracy"},
        settings={"": SLATES},
    )
    request = request_of(table)
    store = FeatureStore.open(settings, request.name)
    publish(store, "slates", slates())
    publish(store, "preference_pairs", pairs())
    for step in ("train_tokenizer", "build_semantic_ids"):
        importlib.import_module(f"training.programs.{step}").run(
            replace(request.task(request.config()), step=step)
        )
    result = result_of(request, seeds=(0,))
    assert set(row_of(result, "ORPO").facts) >= set(table.facts)
    assert [row.metrics.keys() for row in result.rows] == [{"slate_ndcg@4"}] * 2
    assert len(result.comparisons) == 1
    assert {"slates", "preference_pairs", "item_embeddings"} <= result.inputs.keys()
    assert len(list(request.cells.glob("higr-0-*"))) == 2


def test_a_row_whose_settings_make_another_tokenizer_reads_its_semantic_ids(request_of):
    request = request_of()
    tables, base = CellTables(request), ("tokenizer.vectors=text", "tokenizer.codebook_size=8")
    given = []
    for more, seed in (((), 0), ((), 1), (("tokenizer.collisions=suffix",), 0)):
        fit = Fit(of="tiger", changes=(*base, *more))
        task = request.task(request.config_of(fit, seed))
        given.append(tables.training_data(task, fit))
    same, again, other = given
    assert same is again
    assert same.generation and same.generation != other.generation
    assert same.vocabulary.codes_VQ.shape[1] + 1 == other.vocabulary.codes_VQ.shape[1]
    assert same.vocabulary.require_vectors().any(1).all()
    assert len(list(request.cells.glob("tokenizer-*"))) == 2
    assert {"item_embeddings", "user_sequences"} <= set(same.inputs)


def test_rows_are_chosen_in_the_order_of_the_table():
    assert [row.name for row in TABLE.chosen(("popularity", "knn"))] == ["knn", "popularity"]
    assert TABLE.chosen(()) == TABLE.rows


def test_a_table_reads_what_its_fits_read():
    higr = Fit(of="higr")
    rows = (Row(name="a", fits=(Fit(of="higr", after=higr, aligned=True),)),)
    assert set(tables_read(TABLE, rows)) == {
        *("items", "user_sequences", "slates", "semantic_ids"),
        *("preference_pairs", "item_embeddings"),
    }
    assert set(tables_read(TABLE, TABLE.rows)) == {"items", "user_sequences"}


def test_no_seed_is_refused(request_of):
    with pytest.raises(ValueError, match="no seeds; a row is fitted once for each"):
        grid.run(Recommenders(request_of()), TABLE.rows, ())


def test_a_kept_sample_draws_as_it_did(request_of):
    request = request_of()
    measured: Measured = Recommenders(request).measure(SASREC, 0)
    again = sample_of(rows_of(measured.samples["lists"]))
    assert again.points() == measured.samples["lists"].points()
