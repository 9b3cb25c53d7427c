import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner

from sidereal import reproduce
from sidereal.cli import main
from tests import worlds
from training.reproduce import higr_tokenizers as higr
from training.reproduce.higr_tokenizers import (
    KINDS,
    Experiment,
    cooccurrence_pairs,
    markdown,
    pictures,
    run,
)
from training.tokenizers.positives import pairs_among

QUICK = {"latent_width": 8, "hidden_width": 16, "warmup_epochs": 3, "epochs": 2, "batch_size": 32}
SMALL = {
    "all": {"num_levels": 3, "codebook_size": 8, "iterations": 5},
    "rq_vae": QUICK,
    "crq_vae": QUICK,
}


def catalogue(num_items=120):
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn((10, 16), generator=generator) * 3
    items = centres.repeat_interleave(num_items // 10, 0)
    return items + torch.randn((num_items, 16), generator=generator)


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    monkeypatch.setitem(higr.SETTINGS, "movielens-100k", SMALL)
    monkeypatch.setattr(higr, "SAMPLES", 50)
    anchors = torch.arange(119)
    return Experiment(
        dataset="movielens-100k",
        embeddings_ND=catalogue(),
        pairs_P2=torch.stack([anchors, anchors + 1], 1),
        directory=tmp_path,
    )


def test_pairs_are_items_met_soon_after_each_other_best_first():
    histories = worlds.histories_of(
        [[0, 1, 2], [0, 1, 9], [5, 0, 1], [7, 2, 8]], strengths=[[2] * 3, [2] * 3, [2] * 3, [1] * 3]
    )
    items = np.array([0, 1, 2, 5, 9])
    # 0 and 1 three times, 0 or 1 with 2, 5, 9 once each; user 4 was not taken.
    found = cooccurrence_pairs(histories, items, least_together=2)
    assert found.tolist() == [[0, 1], [1, 0]]
    every = cooccurrence_pairs(histories, items, least_together=1)
    # 1 / √(3 · 1) for each single meeting, three meetings of three events each: cosine 1.
    assert every.tolist()[:4] == [[0, 1], [0, 2], [0, 3], [0, 4]]
    near = cooccurrence_pairs(histories, items, least_together=1, window=1, neighbours=1)
    assert near.tolist() == [[0, 1], [1, 0], [2, 1], [3, 0], [4, 1]]


def test_no_positive_event_gives_no_pairs():
    histories = worlds.histories_of([[0, 1, 2]])
    assert cooccurrence_pairs(histories, np.arange(3)).shape == (0, 2)


def test_the_table_has_all_kinds_with_deviations_over_seeds(experiment):
    found = run(experiment, kinds=KINDS, seeds=(0, 1))
    assert [row["kind"] for row in found["rows"]] == list(KINDS)
    assert found["unseen_items"] == 24
    for row in found["rows"]:
        metrics = row["metrics"]
        assert 0 < metrics["unique"]["mean"] <= 1
        assert metrics["near_1"]["mean"] >= metrics["near_2"]["mean"]
        assert metrics["near_lift_1"]["mean"] > 1
        assert metrics["near_1"]["seed_deviation"] >= 0
        assert "near_3" not in metrics  # there to agree is to collide
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    differences = {(row["source"], row["depth"], row["theirs"]) for row in found["differences"]}
    assert differences == {
        (source, depth, kind)
        for source in ("near", "given")
        for depth in (1, 2)
        for kind in ("rq_kmeans", "rq_vae")
    }
    for row in found["differences"]:
        ours, theirs = (
            next(r for r in found["rows"] if r["kind"] == kind)["metrics"][
                f"{row['source']}_{row['depth']}"
            ]["mean"]
            for kind in ("crq_vae", row["theirs"])
        )
        assert row["point"] == pytest.approx(ours - theirs)
        assert row["low"] <= row["point"] <= row["high"]
    text = markdown(found)
    assert "120 items, 3 levels of 8 codes, 24 test items unseen, 2 seed(s)" in text
    assert text.count("| crq_vae | ") == 2
    assert "| nearest neighbour | 2 | rq_vae | " in text


def test_no_fit_sees_an_unseen_item_or_a_pair_with_one(experiment, monkeypatch):
    shown = []

    def fit(cls, embeddings_ND, config, pairs_P2=None):
        shown.append((embeddings_ND, pairs_P2))
        return real(embeddings_ND, config, pairs_P2)

    real = higr.TOKENIZERS["crq_vae"].fit
    monkeypatch.setattr(higr.TOKENIZERS["crq_vae"], "fit", classmethod(fit))
    run(experiment, kinds=("crq_vae",), seeds=(0,))
    ((embeddings, pairs),) = shown
    unseen = higr._catalogue(experiment).is_unseen_N
    assert torch.equal(embeddings, experiment.embeddings_ND[~unseen])
    assert torch.equal(pairs, pairs_among(experiment.pairs_P2, ~unseen))
    assert 0 < len(pairs) < len(experiment.pairs_P2)


def test_validation_knows_nothing_of_the_test_items(experiment):
    test = higr._catalogue(experiment)
    validation = higr._catalogue(Experiment(**{**experiment.__dict__, "held_out": "validation"}))
    assert torch.equal(validation.embeddings_ND, test.embeddings_ND[~test.is_unseen_N])
    assert int(validation.is_unseen_N.sum()) == 30
    assert int(validation.pairs_P2.max()) < 96


def test_a_stopped_run_fits_only_what_is_missing(experiment, monkeypatch):
    first = run(experiment, kinds=("rq_kmeans",), seeds=(0,))
    fitted = []
    real = higr.fit_without
    monkeypatch.setattr(higr, "fit_without", lambda *a: fitted.append(a[0].kind) or real(*a))
    again = run(experiment, kinds=("rq_kmeans", "crq_vae"), seeds=(0,))
    assert fitted == ["crq_vae"]
    assert again["rows"][0] == first["rows"][0]
    values = pq.read_table(experiment.directory / "crq_vae-test-0.parquet")
    assert values["source"].to_pylist().count("near") == 24
    # Other settings are another cell.
    monkeypatch.setitem(
        higr.SETTINGS, "movielens-100k", {**SMALL, "crq_vae": {**QUICK, "epochs": 1}}
    )
    run(experiment, kinds=("rq_kmeans", "crq_vae"), seeds=(0,))
    assert fitted == ["crq_vae", "crq_vae"]
    # So are other test items.
    monkeypatch.setattr(higr, "ITEM_SEED", higr.ITEM_SEED + 1)
    run(experiment, kinds=("rq_kmeans", "crq_vae"), seeds=(0,))
    assert fitted == ["crq_vae", "crq_vae", "rq_kmeans", "crq_vae"]


def test_the_unseen_items_are_drawn(experiment):
    drawn = pictures(experiment, kinds=("rq_kmeans",), seed=0)
    assert drawn["rq_kmeans"].startswith("<svg")
    assert "24 items, coloured by level-1 code" in drawn["rq_kmeans"]


def test_without_pairs_only_neighbours_are_asked(experiment):
    alone = Experiment(**{**experiment.__dict__, "pairs_P2": experiment.pairs_P2[:0]})
    found = run(alone, kinds=("rq_kmeans", "crq_vae"), seeds=(0,))
    assert {row["source"] for row in found["differences"]} == {"near"}
    assert "taken to together" not in markdown(found)
    assert found["rows"][0]["metrics"]["near_1"]["seed_deviation"] is None


def test_an_unknown_kind_and_no_seed_are_refused(experiment):
    with pytest.raises(ValueError, match=r"no tokenizer \['oracle'\] is compared; there are"):
        run(experiment, kinds=("oracle",), seeds=(0,))
    with pytest.raises(ValueError, match="no seeds; a kind is fitted once for each"):
        run(experiment, kinds=("rq_kmeans",), seeds=())


def test_settings_are_of_kinds_that_there_are():
    for dataset, settings in higr.SETTINGS.items():
        assert set(settings) <= {"all", *KINDS}
        for kind in KINDS:
            higr._config(
                Experiment(dataset=dataset, embeddings_ND=None, pairs_P2=None, directory=None),
                kind,
                seed=3,
            )


def test_the_command_writes_both_files_and_keeps_what_others_wrote(tmp_path, monkeypatch):
    built = []

    def build_tables(*arguments, steps):
        built.append(steps)

    monkeypatch.setattr(reproduce, "_build_tables", build_tables)
    monkeypatch.setattr(
        reproduce,
        "_tokenizers",
        lambda asked: ({"rows": [], "held_out": asked.part}, "### table\n"),
    )
    root = tmp_path / "var" / "reproduce"
    root.mkdir(parents=True)
    old = {"text": "### old\n", "rows": [1]}
    (root / "higr-movielens-100k.json").write_text(json.dumps({"decoder": old}))
    done = CliRunner().invoke(
        main,
        ["reproduce", "higr", "--dataset", "movielens-100k", "--only", "tokenizers"],
        env={"SIDEREAL_HOME": str(tmp_path / "var")},
    )
    assert done.exit_code == 0, done.output
    found = json.loads((root / "higr-movielens-100k.json").read_text())
    new = {"text": "### table\n", "rows": [], "held_out": "test"}
    assert found == {"decoder": old, "tokenizers": new}
    assert (root / "higr-movielens-100k.md").read_text() == "### table\n\n### old\n"
    assert "build_items" in built[0] and "train_tokenizer" not in built[0]


def test_changed_settings_have_tables_fits_and_files_of_their_own(tmp_path, monkeypatch):
    homes = []
    monkeypatch.setattr(
        reproduce, "_build_tables", lambda preset, day, home, *others, **_: homes.append(home)
    )
    monkeypatch.setattr(
        reproduce,
        "_tokenizers",
        lambda asked: ({"rows": []}, f"codes {asked.config().tokenizer.codebook_size}\n"),
    )
    command = ["reproduce", "higr", "--dataset", "movielens-100k", "--only", "tokenizers"]
    changes = ([], ["--set", "tokenizer.codebook_size=32"], ["--set", "tokenizer.codebook_size=16"])
    for changed in changes:
        done = CliRunner().invoke(
            main, [*command, *changed], env={"SIDEREAL_HOME": str(tmp_path / "var")}
        )
        assert done.exit_code == 0, done.output
    root = tmp_path / "var" / "reproduce"
    texts = {path.read_text() for path in root.glob("higr-movielens-100k*.md")}
    assert texts == {"codes 64\n", "codes 32\n", "codes 16\n"}
    assert homes[0] == root / "movielens-100k"
    assert len(set(homes)) == 3
