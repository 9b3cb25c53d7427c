import dataclasses

import pytest

from tests import worlds
from training.config import Evaluation, Models, TrainingConfig
from training.reproduce import baselines
from training.reproduce.baselines import Experiment, markdown, run


@pytest.fixture
def experiment(tmp_path):
    world = worlds.tribes(num_users=60)
    return Experiment(
        dataset="tribes",
        config=TrainingConfig(
            name="tribes", evaluation=Evaluation(protocol="leave_last_out", bootstrap_samples=200)
        ),
        split=world.split,
        vocabulary=world.vocabulary,
        directory=tmp_path,
    )


def test_neighbours_beat_popularity_where_tastes_are_tribal(experiment):
    knn, popularity = run(experiment, families=("item_knn", "popularity"), seeds=(0, 1))
    assert knn["metrics"]["ndcg@10"]["low"] > popularity["metrics"]["ndcg@10"]["high"]
    assert knn["seeds"] == 1  # it draws nothing: a second seed would say the same


def test_a_stopped_run_goes_on_where_it_was(experiment, monkeypatch):
    first = run(experiment, families=("item_knn",), seeds=(0,))

    def fail(*_):
        raise AssertionError("fitted again")

    monkeypatch.setattr(baselines, "_fit", fail)
    assert run(experiment, families=("item_knn",), seeds=(0,)) == first


def test_other_settings_are_another_cell(experiment):
    run(experiment, families=("item_knn",), seeds=(0,))
    written = (experiment.directory / "item_knn-0.json").read_text()
    config = experiment.config.model_copy(
        update={"models": Models(settings={"item_knn": {"neighbours": 2}})}
    )
    run(dataclasses.replace(experiment, config=config), families=("item_knn",), seeds=(0,))
    assert (experiment.directory / "item_knn-0.json").read_text() != written


def test_an_unknown_family_is_refused(experiment):
    with pytest.raises(ValueError, match=r"no family \['oracle'\]; there are"):
        run(experiment, families=("oracle",), seeds=(0,))


def test_the_table_shows_spread_over_seeds_and_interval_over_users():
    value = {"mean": 0.1, "low": 0.08, "high": 0.12, "seed_deviation": 0.004}
    rows = [{"family": "tiger", "seeds": 3, "users": 943, "fit_seconds": [9, 11, 10],
             "metrics": {"hr@10": value, "ndcg@10": value}}]  # fmt: skip
    assert markdown("ml", rows).splitlines()[-1] == (
        "| tiger | 3 | 0.1000 ± 0.0040 | 0.1000 ± 0.0040 [0.0800, 0.1200] | 10 |"
    )
