"""What is kept of models, and what is refused; that all families can be kept is in their suites."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.recommender_world import trained_bundle
from training.models import MODELS, weights
from training.models.popularity.model import Popularity
from training.registry.bundle import BundleFormatError
from training.registry.predictor import BundlePredictor
from training.settings.families import PopularityConfig


@pytest.fixture
def folder(tmp_path):
    weights.save(Popularity(np.array([1.0, 3.0, 2.0]), PopularityConfig(2.5)), tmp_path)
    return tmp_path


def test_shape_and_tensors_are_plain_files(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "popularity.json",
        "popularity.safetensors",
    ]
    shape = json.loads((folder / "popularity.json").read_text())
    assert shape == {"config": {"half_life_days": 2.5}}
    loaded = weights.load(folder, MODELS["popularity"])
    assert loaded.config == PopularityConfig(2.5)
    assert loaded.scores_V.tolist() == [1.0, 3.0, 2.0]


def without_tensors(folder):
    (folder / "popularity.safetensors").unlink()


def cut_short(folder):
    path = folder / "popularity.safetensors"
    path.write_bytes(path.read_bytes()[:-4])


def as_it_was_written_once(folder):
    (folder / "popularity.json").write_text(json.dumps({"scores": [1.0, 3.0, 2.0]}))


def with_a_field_that_is_gone(folder):
    (folder / "popularity.json").write_text(json.dumps({"config": {"half_life": 2.5}}))


def without_json(folder):
    (folder / "popularity.json").write_text("{")


@pytest.mark.parametrize(
    "spoil",
    [
        without_tensors,
        cut_short,
        as_it_was_written_once,
        with_a_field_that_is_gone,
        without_json,
    ],
)
def test_what_this_code_can_not_use_is_refused_in_words(folder, spoil):
    spoil(folder)
    with pytest.raises(weights.WeightsError, match=r"no weights .* can use .*train popularity aga"):
        weights.load(folder, MODELS["popularity"])


def test_weights_of_another_shape_are_refused(tmp_path):
    bundle = trained_bundle(tmp_path / "sasrec", "sasrec", settings={"width": 8})
    path = bundle.directory / "model" / "sasrec.json"
    shape = json.loads(path.read_text())
    path.write_text(json.dumps({**shape, "num_items": 3}))
    with pytest.raises(weights.WeightsError, match=r"size mismatch .*; train sasrec again, or ope"):
        weights.load(bundle.directory / "model", MODELS["sasrec"])


def test_a_bundle_with_such_weights_is_a_bundle_of_another_format(tmp_path):
    bundle = trained_bundle(tmp_path / "bundle", "item_knn")
    stranger = replace(bundle, origin=replace(bundle.origin, family="popularity"))
    with pytest.raises(
        BundleFormatError, match=r"bundle at .* is refused: .* this code's populari"
    ):
        BundlePredictor.of(stranger, device="cpu")
