"""HiGR's decoder and alignment as tables: cells, differences, and what they are made of."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sidereal.cli import main
from tests import worlds
from training.config import load_config
from training.reproduce import higr_slates
from training.reproduce.higr_slates import (
    ALIGNMENT_ROWS,
    BEFORE,
    FLAT,
    METRICS,
    Experiment,
    decoder_rows,
    differences_to_draw,
    markdown,
    run,
)

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
    slates = world.split.slates
    return Experiment(
        dataset="a world",
        config=config,
        split=world.split,
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
        assert row["metrics"]["hit@5"]["seed_deviation"] >= 0


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
    aligned = {row["row"]: row["preference_accuracy"] for row in found["rows"]}
    assert aligned[BEFORE] is None
    assert all(0 <= aligned[name]["mean"] <= 1 for name in ("ORPO", "DPO", "SimPO"))
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


def test_without_seeds_or_slates_there_is_no_table(experiment):
    with pytest.raises(ValueError, match="no seeds"):
        run(experiment, "decoder", ())
    nothing = load_config(
        "movielens-100k", folder=PRESETS, overrides=(*OVERRIDES, "evaluation.slate_minimum_items=9")
    )
    with pytest.raises(ValueError, match="no test slate of 9 items"):
        run(replace(experiment, config=nothing), "decoder", (0,))


def test_a_dataset_without_the_data_for_an_experiment_is_refused():
    result = CliRunner().invoke(
        main, ["reproduce", "higr", "--dataset", "amazon-office", "--only", "alignment"]
    )
    assert result.exit_code == 2
    assert "no data for ['alignment']" in result.output
