"""HiGR's decoder and alignment as tables: cells, differences, and what they are made of."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from sidereal.cli import main
from tests import worlds
from training.config import load_config
from training.data.queries import TopK
from training.fit.fitting import FitReport
from training.reproduce import higr_slates
from training.reproduce.higr_slates import (
    ALIGNMENT_ROWS,
    BEFORE,
    FLAT,
    METRICS,
    Experiment,
    Row,
    decoder_rows,
    run,
)
from training.reproduce.higr_slates_text import differences_to_draw, markdown
from training.settings.spec import LISTS

PRESETS = Path(__file__).resolve().parents[2] / "presets"
SMALL = "{width: 16, num_heads: 1, minimum_strength: 1, planner_layers: 1, generator_layers: 1}"
OVERRIDES = (
    f"models.settings.higr={SMALL}",
    "models.baselines=[popularity]",
    "training.overrides.higr={max_epochs: 1, tokens_per_batch: 1024, validation_metric: loss}",
    "training.max_history=20",
    "evaluation.slate_minimum_items=2",
    "evaluation.slate_minimum_strength=1",
    "evaluation.exclude_seen=false",
    "alignment={max_epochs: 1}",
)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    world = worlds.continued(num_users=40)
    config = load_config("movielens-100k", folder=PRESETS, overrides=OVERRIDES)
    slates = world.slates
    return Experiment(
        dataset="a world",
        config=config,
        split=world.split,
        slates=slates,
        pairs=worlds.together(*map(worlds.pairs_of, (slates.train, slates.validation))),
        vocabulary=world.vocabulary,
        vectors_VD=np.random.default_rng(0).standard_normal((30, 4)),
        directory=tmp_path_factory.mktemp("cells"),
    )


@pytest.fixture(scope="module")
def decoder(experiment):
    return run(experiment, "decoder", (0, 1))


def test_every_part_of_the_paper_s_ablation_is_a_row(experiment, decoder):
    names = [row["row"] for row in decoder["rows"]]
    assert names == list(decoder_rows(experiment.config))
    for part in ("mean pooling", "max pooling", "separate generators", "latent feedback", FLAT):
        assert part in names
    assert any(name.startswith("context ") for name in names)
    assert decoder["users"] == decoder["slates"] == 40
    for row in decoder["rows"]:
        assert set(row["metrics"]) == set(METRICS)
        deviation = row["metrics"]["hit@5"]["seed_deviation"]
        assert deviation is None if row["row"] == "popularity" else deviation >= 0


def test_the_flat_decoder_is_the_size_of_ours_and_takes_a_heavy_step_a_code(experiment, decoder):
    weights = {row["row"]: row["parameters"] for row in decoder["rows"]}
    rows = decoder_rows(load_config("kuairand", folder=PRESETS))
    assert rows[FLAT].changes["num_layers"] == 4
    assert abs(weights[FLAT] / weights["higr"] - 1) < 0.3  # of width 16, where heads weigh most
    steps = {name: own["heavy_steps"] for name, own in decoder["latency"].items()}
    assert steps["higr"] == 10
    assert steps[FLAT] == 10 * len(experiment.vocabulary.level_sizes)
    assert "popularity" not in steps


def test_differences_are_of_means_over_seeds_slates_and_users(experiment, decoder):
    rows = decoder_rows(experiment.config)
    user = experiment.asked.user
    means = {}
    for name in ("higr", FLAT):
        by_seed = [
            higr_slates._cell(experiment, rows[name], seed)[0]["ndcg@5"].to_numpy()
            for seed in (0, 1)
        ]
        by_slate = np.mean(by_seed, axis=0)
        means[name] = np.mean([by_slate[user == one].mean() for one in np.unique(user)])
    (found,) = (row for row in decoder["differences"] if row["row"] == "higr")
    own = found["metrics"]["ndcg@5"]
    assert own["difference"]["point"] == pytest.approx(means["higr"] - means[FLAT])
    if own["relative"] is not None:
        assert own["relative"]["point"] == pytest.approx(means["higr"] / means[FLAT] - 1)
    assert own["difference"]["low"] <= own["difference"]["point"] <= own["difference"]["high"]
    assert FLAT not in [row["row"] for row in decoder["differences"]]


def test_a_cell_is_fitted_once_and_anew_when_something_changes(experiment, decoder, monkeypatch):
    fitted = []
    fit = higr_slates._fit
    monkeypatch.setattr(
        higr_slates, "_fit", lambda e, row, seed: fitted.append(row.family) or fit(e, row, seed)
    )
    again = run(experiment, "decoder", (0, 1))
    assert fitted == []
    assert again["rows"] == decoder["rows"]
    other = replace(experiment, part="validation")
    assert higr_slates._identity(other, ALIGNMENT_ROWS[BEFORE], 0) != higr_slates._identity(
        experiment, ALIGNMENT_ROWS[BEFORE], 0
    )
    higr_slates._cell(replace(experiment, epochs=2), ALIGNMENT_ROWS[BEFORE], 0)
    assert fitted == ["higr"]


def test_methods_begin_with_one_model_and_are_compared_with_it(experiment):
    found = run(experiment, "alignment", (0,))
    assert [row["row"] for row in found["rows"]] == [BEFORE, "ORPO", "DPO", "SimPO"]
    for row in found["rows"]:
        assert 0 <= row["preference_accuracy"]["mean"] <= 1
        assert row["chosen_log_prob"]["mean"] < 0
    cells = {name: higr_slates._cell(experiment, row, 0)[1] for name, row in ALIGNMENT_ROWS.items()}
    before = found["rows"][0]["preference_accuracy"]["mean"]
    assert before == cells["DPO"]["watched_before"]["preference_accuracy"]
    assert all(
        cells[name]["watched_before"]["preference_accuracy"] == before
        for name in cells
        if name != BEFORE
    )
    assert set(found["memory"]) == {"pretraining", "ORPO", "DPO", "SimPO"}
    assert all(peak > 0 for peak in found["memory"].values())
    text = markdown(found)
    assert "| SimPO |" in text
    assert "of pretraining's" in text
    json.dumps(found)


def test_the_text_and_the_picture_s_rows_have_every_row(decoder):
    text = markdown(decoder)
    for row in decoder["rows"]:
        assert f"| {row['row']} |" in text
    assert len(differences_to_draw(decoder)) == len(decoder["rows"]) - 1
    assert "40 test slates of 40 people, 2 seed(s)" in text
    assert "95% intervals over people and seeds:" in text
    assert "95% intervals over people:" in markdown({**decoder, "seeds": [0]})


def test_without_seeds_or_slates_there_is_no_table(experiment):
    with pytest.raises(ValueError, match="no seeds"):
        run(experiment, "decoder", ())
    nothing = load_config(
        "movielens-100k", folder=PRESETS, overrides=(*OVERRIDES, "evaluation.slate_minimum_items=9")
    )
    with pytest.raises(ValueError, match="no test slate of 9 items"):
        run(replace(experiment, config=nothing), "decoder", (0,))


def test_chosen_rows_come_with_what_they_are_compared_with(experiment, decoder):
    some = run(experiment, "decoder", (0, 1), names=("latent feedback", "popularity"))
    assert [row["row"] for row in some["rows"]] == ["latent feedback", FLAT, "popularity"]
    assert [row["row"] for row in some["differences"]] == ["latent feedback", "popularity"]
    assert some["rows"] == [row for row in decoder["rows"] if row in some["rows"]]
    assert set(some["latency"]) == {"latent feedback", FLAT}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "decoder", "--row", "hgir"), "no row hgir to compare; there are higr, mean"),
        (("--only", "alignment", "--row", "before alignment"), "there are ORPO, DPO, SimPO"),
        (("--row", "higr"), "--row needs the table it is of"),
        (("--only", "decoder", "--set", "training.epohcs=1"), "training.epohcs: is no key"),
        (("--only", "alignment", "--set", "trainin.epochs=1"), "trainin"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_tables_are_built(arguments, message, tmp_path):
    home = tmp_path / "var"
    result = CliRunner().invoke(
        main,
        ["reproduce", "higr", "--dataset", "kuairand", *arguments],
        env={"SIDEREAL_HOME": str(home)},
    )
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not home.exists()


def test_a_dataset_without_the_data_for_an_experiment_is_refused():
    result = CliRunner().invoke(
        main, ["reproduce", "higr", "--dataset", "amazon-office", "--only", "alignment"]
    )
    assert result.exit_code == 2
    assert "no data for ['alignment']" in result.output


def test_models_are_asked_as_the_daily_evaluation_asks_them(experiment):
    # What was disliked is not read, and not said either.
    slates = experiment.slates
    read = slates.test.histories
    weak = replace(read, strengths=np.where(read.items % 2 == 0, -1, 1).astype(np.int8))
    parts = {
        name: replace(getattr(slates, name), histories=weak)
        for name in ("train", "validation", "test")
    }
    config = load_config(
        "movielens-100k",
        folder=PRESETS,
        overrides=(*OVERRIDES, "training.minimum_strength=1", "evaluation.exclude_seen=true"),
    )
    strict = replace(experiment, slates=replace(slates, **parts), config=config)
    asked = []

    class Listening:
        answers = LISTS

        def rows_at_once(self, queries, k, num_candidates):
            return len(queries)

        def read(self, queries):
            asked.append(queries)
            return queries

        def recommend(self, queries, k):
            items_Bk = np.tile(np.arange(k, dtype=np.int32), (len(queries), 1))
            return TopK(items_Bk, np.zeros(items_Bk.shape, dtype=np.float32))

    higr_slates._measured(strict, ALIGNMENT_ROWS[BEFORE], Listening())
    (queries,) = asked
    every = strict.every
    for row in range(len(every)):
        start = weak.offsets[every.user[row]]
        events = weak.items[start : start + every.position[row]]
        shown = queries.items_BL[row][: queries.lengths_B[row]]
        assert shown.tolist() == events[events % 2 == 1][-20:].tolist()
        first, last = queries.excluded_offsets[row : row + 2]
        assert sorted(queries.excluded[first:last]) == sorted(events)


def cells_of(values_by_seed, user, facts=None):
    """Cells as `_cell` gives them, of one value for every figure."""
    return [
        (
            pa.table({"user": user, **{name: values for name in higr_slates.MEASURED}}),
            facts or {},
        )
        for values in values_by_seed
    ]


@pytest.mark.parametrize(("num_theirs", "shared"), [(3, True), (3, False), (1, False)])
def test_intervals_are_those_of_a_slow_bootstrap_over_people_and_seeds(
    monkeypatch, num_theirs, shared
):
    monkeypatch.setattr(higr_slates, "SAMPLES", 300)
    draw = np.random.default_rng(1)
    user = np.array([4, 4, 7, 7, 7, 9, 11])
    ours, theirs = draw.random((3, 7)), draw.random((num_theirs, 7))
    ours[:, 6] = np.nan  # of user 11 nothing is known on one side
    ours[1, 2] = np.nan  # one fit says nothing of a slate: it counts for none of them
    found = higr_slates._difference(
        cells_of(ours, user), cells_of(theirs, user), shared_seeds=shared
    )
    own = found["metrics"]["ndcg@5"]

    def mean(values, seeds, people):
        by_person = [
            [np.mean([v for v, u in zip(row, user, strict=True) if u == one and v == v])]
            for row in (np.where(np.isnan(values).any(axis=0), np.nan, values)[k] for k in seeds)
            for one in people
        ]
        return float(np.mean(by_person))

    def drawn(places, seed):
        return np.random.default_rng(seed).integers(places, size=(300, places), dtype=np.int64)

    people = np.array([4, 7, 9])
    seeds_of_ours = drawn(3, 1)
    seeds_of_theirs = seeds_of_ours if shared else drawn(num_theirs, 2)
    pairs = [
        (mean(ours, first, people[who]), mean(theirs, second, people[who]))
        for who, first, second in zip(drawn(3, 0), seeds_of_ours, seeds_of_theirs, strict=True)
    ]
    differences = [one - other for one, other in pairs]
    shares = [one / other - 1 for one, other in pairs]
    point = mean(ours, range(3), people) - mean(theirs, range(num_theirs), people)
    assert own["difference"]["point"] == pytest.approx(point)
    assert own["difference"]["low"] == pytest.approx(np.quantile(differences, 0.025))
    assert own["difference"]["high"] == pytest.approx(np.quantile(differences, 0.975))
    assert own["relative"]["low"] == pytest.approx(np.quantile(shares, 0.025))


def test_fits_that_differ_by_seed_alone_are_not_apart(monkeypatch):
    monkeypatch.setattr(higr_slates, "SAMPLES", 500)
    user = np.arange(400)
    draw = np.random.default_rng(3)
    person = draw.random(400)
    # Each fit is as good as luck has it; people agree to the last digit on which is better.
    ours, theirs = (
        [person + shift for shift in shifts] for shifts in ((0.3, 0.2, 0.1), (0.25, 0.0, 0.15))
    )
    found = higr_slates._difference(
        cells_of(ours, user), cells_of(theirs, user), shared_seeds=False
    )
    own = found["metrics"]["hit@5"]["difference"]
    assert own["low"] < 0 < own["point"] < own["high"]


def test_what_is_measured_anew_is_not_fitted_anew(experiment, decoder, monkeypatch):
    def fit(*told):
        raise AssertionError("fitted")

    row = ALIGNMENT_ROWS[BEFORE]
    values, facts = higr_slates._cell(experiment, row, 0)
    monkeypatch.setattr(higr_slates, "_fit", fit)
    other = replace(experiment, vectors_VD=experiment.vectors_VD[:, :2])
    measured, told = higr_slates._cell(other, row, 0)
    assert measured["place_1"].equals(values["place_1"])
    assert not measured["similarity"].equals(values["similarity"])
    assert told["measured"]["vectors"] != facts["measured"]["vectors"]
    assert higr_slates._cell(experiment, row, 0)[0].equals(values)


def test_long_slates_are_the_table_and_slates_of_any_length_another(experiment, decoder):
    assert "every_length" not in decoder  # all of the world's slates are of four
    keep = np.ones(len(experiment.slates.test.items), dtype=bool)
    keep[::8] = False  # every other slate is of three
    parts = replace(experiment.slates, test=experiment.slates.test.keeping_items(keep, shortest=2))
    config = load_config(
        "movielens-100k", folder=PRESETS, overrides=(*OVERRIDES, "evaluation.slate_minimum_items=4")
    )
    mixed = replace(experiment, slates=parts, config=config)
    assert mixed.is_long_S.tolist() == [False, True] * 20
    row = {BEFORE: ALIGNMENT_ROWS[BEFORE]}
    cells = {name: [higr_slates._cell(mixed, row[name], 0)] for name in row}
    long, every = (
        higr_slates._compared(mixed, cells, BEFORE, mask)
        for mask in (mixed.is_long_S, np.ones(40, dtype=bool))
    )
    assert (long["slates"], every["slates"], long["users"]) == (20, 40, 20)
    values = cells[BEFORE][0][0]["recall@5"].to_numpy()
    assert long["rows"][0]["metrics"]["recall@5"]["mean"] == pytest.approx(values[1::2].mean())
    assert every["rows"][0]["metrics"]["recall@5"]["mean"] == pytest.approx(values.mean())
    told = {**decoder, "every_length": every}
    assert "#### Slates of any length: 40 of 40 people" in markdown(told)


def test_an_alignment_taken_back_shows_what_made_it_so():
    epochs = [
        {"seconds": 1.0, "validation_seconds": 1.0, "tokens_per_second": 5.0, "repeats": r}
        for r in (0.1, 0.9)
    ]
    report = FitReport(
        epochs, {"best_epoch": 1, "collapsed": "repeats", "before": {"repeats": 0.0}}
    )
    facts = higr_slates._facts_of(report, is_aligned=True)
    assert (facts["watched"]["repeats"], facts["watched_before"]["repeats"]) == (0.9, 0.0)
    kept = FitReport(epochs, {**report.facts, "collapsed": ""})
    assert higr_slates._facts_of(kept, is_aligned=True)["watched"]["repeats"] == 0.1


def test_epochs_bound_the_alignment_too(experiment):
    short = replace(experiment, epochs=1)
    long = load_config(
        "movielens-100k", folder=PRESETS, overrides=(*OVERRIDES, "alignment={max_epochs: 4}")
    )
    loops = [
        higr_slates._loop(replace(each, config=long), ALIGNMENT_ROWS["DPO"], 0).max_epochs
        for each in (experiment, short, replace(experiment, epochs=9))
    ]
    assert loops == [4, 1, 4]


def test_what_counts_and_draws_nothing_has_one_seed():
    assert higr_slates._seeds_of(Row("popularity", {}), (3, 4)) == (3,)
    assert higr_slates._seeds_of(Row("sasrec", {}), (3, 4)) == (3, 4)


def test_memory_is_that_of_steps_in_training(experiment, monkeypatch):
    stepped = []

    def peak(module, loss):
        stepped.append(all(each.training for each in module.modules()))
        return 1.0

    monkeypatch.setattr(higr_slates, "step_peak", peak)
    found = higr_slates.memory(experiment, 0)
    assert stepped == [True] * 4
    assert list(found) == ["pretraining", "ORPO", "DPO", "SimPO"]
