import json
import re
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from sidereal.cli import main
from tests import worlds
from training.evaluation.ranking import auc
from training.fit.fitting import LoopSettings
from training.models import MODELS, weights
from training.reproduce import unigrf
from training.reproduce.unigrf import CELLS, PUBLISHED, ROWS, Experiment, Scale, markdown, run

SMALL = Scale(
    LoopSettings(
        max_epochs=3,
        tokens_per_batch=200,
        max_history=10,
        learning_rate=1e-2,
        checkpoint_every_steps=1,
    ),
    {"width": 16, "num_layers": 1, "num_heads": 1, "dropout": 0.0},
    ranking_epochs=2,
)


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    monkeypatch.setitem(unigrf.SCALES, "movielens-100k", SMALL)
    world = worlds.taste(num_users=40, length=14)
    histories = world.split.test.histories
    return Experiment.of("movielens-100k", histories, 30, directory=tmp_path)


def row_of(found, name):
    return next(row for row in found["rows"] if row["row"] == name)


def test_a_unified_row_has_all_metrics_from_one_fit(experiment):
    row = row_of(run(experiment, rows=("unigrf-hstu",), seeds=(0, 1)), "unigrf-hstu")
    assert set(row["metrics"]) == set(unigrf.METRICS)
    assert len(row["best_epochs"]) == 2
    for value in row["metrics"].values():
        assert 0 <= value["mean"] <= 1
        assert value["seed_deviation"] >= 0
    values = pq.read_table(experiment.directory / "unigrf-hstu-0.parquet")
    assert values.num_rows == 40
    one = row["metrics"]["auc"]["mean"] * 2 - unigrf._metric(
        pq.read_table(experiment.directory / "unigrf-hstu-1.parquet"), "auc"
    )
    assert one == pytest.approx(
        auc(values["probability"].to_numpy(), values["positive"].to_numpy(zero_copy_only=False))
    )


def test_a_single_task_row_has_two_fits_that_know_half_each(experiment):
    row = row_of(run(experiment, rows=("llama",), seeds=(0,)), "llama")
    assert set(row["metrics"]) == set(unigrf.METRICS)
    columns = {
        name: set(pq.read_schema(experiment.directory / f"{name}-0.parquet").names)
        for name in ROWS["llama"]
    }
    assert "probability" not in columns["llama-retrieval"]
    assert "hr@10" not in columns["llama-ranking"]


def test_a_unified_row_is_compared_with_single_tasks_by_user(experiment):
    found = run(experiment, rows=("hstu", "unigrf-hstu"), seeds=(0, 1))
    compared = next(one for one in found["differences"] if one["row"] == "unigrf-hstu")
    assert compared["single_task"] == "hstu"
    ours, theirs = (row_of(found, name)["metrics"] for name in ("unigrf-hstu", "hstu"))
    for metric in unigrf.COMPARED:
        bounds = compared["metrics"][metric]
        assert bounds["point"] == pytest.approx(ours[metric]["mean"] - theirs[metric]["mean"])
        assert bounds["low"] <= bounds["point"] <= bounds["high"]
    assert any("| unigrf-hstu − hstu | " in line for line in markdown(found).splitlines())


def test_a_row_that_was_taught_something_before_begins_there(experiment, monkeypatch):
    begun = []
    real = unigrf.fit_unigrf

    def fit(*arguments, begin_with):
        begun.append(begin_with)
        return real(*arguments, begin_with=begin_with)

    monkeypatch.setattr(unigrf, "fit_unigrf", fit)
    run(experiment, rows=("hstu-ft-a",), seeds=(0,))
    folder = experiment.directory / "hstu-interleaved-retrieval-0.model"
    before = weights.load(folder, MODELS["unigrf"])
    np.testing.assert_array_equal(begun[0]["items_VD"], before.items_VD.detach())


def test_a_stopped_run_fits_only_what_is_missing(experiment, monkeypatch):
    first = run(experiment, rows=("sasrec",), seeds=(0,))
    fitted = []
    real = unigrf._fit
    monkeypatch.setattr(unigrf, "_fit", lambda *a: fitted.append(a[1:]) or real(*a))
    again = run(experiment, rows=("sasrec", "unigrf-llama"), seeds=(0,))
    assert fitted == [("unigrf-llama", 0)]
    assert row_of(again, "sasrec") == row_of(first, "sasrec")
    # Rows that nobody asks for this time are shown all the same.
    assert row_of(run(experiment, rows=(), seeds=(0,)), "unigrf-llama")


def test_a_fit_that_was_killed_goes_on_from_its_checkpoint(experiment, monkeypatch):
    class Killed(Exception):
        pass

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("training.fit.objective.validate", killed)
        with pytest.raises(Killed):
            run(experiment, rows=("unigrf-hstu",), seeds=(0,))
    run(experiment, rows=("unigrf-hstu",), seeds=(0,))
    facts = json.loads((experiment.directory / "unigrf-hstu-0.json").read_text())
    assert facts["resumed_from"]["step"] > 0
    assert len(facts["epochs"]) == 3
    assert not (experiment.directory / "checkpoints" / "unigrf-hstu-0").exists()


def test_other_settings_are_another_cell(experiment):
    run(experiment, rows=("sasrec",), seeds=(0,))
    for changed in (
        replace(experiment, epochs=1),
        replace(experiment, exclude_seen=False),
    ):
        assert run(changed, rows=(), seeds=(0,))["rows"] == []
    assert run(experiment, rows=(), seeds=(0, 1))["rows"] == []
    assert row_of(run(experiment, rows=(), seeds=(0,)), "sasrec")


def test_models_that_only_rank_stop_by_auc_and_early(experiment):
    loop = unigrf._loop(experiment, "hstu-ranking", 3)
    assert (loop.validation_metric, loop.max_epochs, loop.seed) == ("auc", 2, 3)
    assert unigrf._loop(experiment, "unigrf-hstu", 3).validation_metric == "ndcg@10"
    # As many events in a batch, whatever an event's tokens.
    assert unigrf._loop(experiment, "sasrec", 0).tokens_per_batch == 200
    assert unigrf._loop(experiment, "unigrf-hstu", 0).tokens_per_batch == 400


def test_an_unknown_row_is_refused(experiment):
    with pytest.raises(ValueError, match=r"no row \['oracle'\]; there are \['sasrec'"):
        run(experiment, rows=("oracle",), seeds=(0,))


def test_every_row_and_what_it_begins_with_is_a_cell():
    assert {name for names in ROWS.values() for name in names} <= set(CELLS)
    assert all(cell.after in CELLS for cell in CELLS.values() if cell.after)


def test_published_figures_are_possible():
    """With one target a person, NDCG@50 - NDCG@10 lies in [.176, .279] of HR@50 - HR@10."""
    for of in PUBLISHED["movielens-1m"].values():
        for row, (ndcg10, ndcg50, hr10, hr50, _, _) in of.items():
            if ndcg10 is not None:
                share = (ndcg50 - ndcg10) / (hr50 - hr10)
                assert 0.176 <= share <= 0.279, row


def test_the_table_puts_ours_beside_the_papers_and_metas():
    value = {"mean": 0.17, "seed_deviation": 0.002}
    found = {
        "dataset": "movielens-1m",
        "users": 6040,
        "seeds": [0, 1],
        "exclude_seen": True,
        "published": {
            who: {row: dict(zip(unigrf.METRICS, values, strict=True)) for row, values in of.items()}
            for who, of in PUBLISHED["movielens-1m"].items()
        },
        "rows": [{"row": "hstu", "metrics": {"ndcg@10": value}, "fit_seconds": 61.7}],
    }
    lines = markdown(found).splitlines()
    hstu = next(line for line in lines if line.startswith("| hstu |"))
    assert hstu.startswith("| hstu | **0.1700** ± 0.0020 · 0.1708 · 0.1720 | – · 0.2314 · 0.2307 |")
    assert hstu.endswith("| – · 0.7621 · – | 62 |")
    assert any(line.startswith("| hstu-large | – · – · 0.1893") for line in lines)
    assert "6,040 people, full catalogue, seen films filtered, 2 seed(s)" in lines[0]


def command(tmp_path, *arguments):
    environment = {"SIDEREAL_HOME": str(tmp_path / "var")}
    return CliRunner().invoke(main, ["reproduce", "unigrf", *arguments], env=environment)


def test_the_command_writes_both_files(tmp_path, monkeypatch):
    monkeypatch.setitem(unigrf.SCALES, "movielens-100k", SMALL)
    draw = np.random.default_rng(0)
    rows = [
        f"{user}\t{draw.integers(1, 40)}\t{draw.integers(1, 6)}\t{second}"
        for user in range(1, 30)
        for second in range(8)
    ]
    (tmp_path / "u.data").write_text("\n".join(rows) + "\n", encoding="utf-8")
    done = command(
        tmp_path, "--dataset", "movielens-100k", "--path", str(tmp_path), "--only", "unigrf-hstu",
        "--epochs", "1", "--seed", "3",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "var/reproduce/unigrf-movielens-100k.json").read_text())
    assert found["seeds"] == [3]
    assert row_of(found, "unigrf-hstu")["best_epochs"] == [1]
    text = (tmp_path / "var/reproduce/unigrf-movielens-100k.md").read_text()
    assert re.search(r"\| unigrf-hstu \| \*\*0\.\d{4}\*\* \|", text)


def test_what_the_command_cannot_do_is_a_usage_error(tmp_path):
    (tmp_path / "movies.dat").write_text("", encoding="utf-8")
    known = ("--dataset", "movielens-1m", "--path", str(tmp_path))
    refused = command(tmp_path, *known)
    assert refused.exit_code == 2 and "no MovieLens ratings in" in refused.output
    refused = command(tmp_path, *known, "--only", "oracle")
    assert refused.exit_code == 2 and "no row oracle; there are sasrec" in refused.output
    assert command(tmp_path, "--dataset", "movielens-1m").exit_code == 2
