import importlib

import numpy as np
import pytest

from benchmarks import slate_decode
from feature_store.settings import Settings
from training import inference
from training.settings.families import FlatSlateConfig


@pytest.mark.parametrize(("feedback", "goal"), [("latent", 0.2), ("item", 0.5)])
def test_the_quick_measure_times_both_decoders(tmp_path, feedback, goal):
    module = importlib.import_module(f"benchmarks.slate_decode_{feedback}")
    found = module.measure(Settings(home=tmp_path, device="cpu"), quick=True)
    assert found["name"] == f"slate_decode_{feedback}"
    assert found["goal"] == goal
    assert 0 < found["ratio"] == found["ours"] / found["peers"]["flat decoder"]
    assert min(found["parts"].values()) > 0
    assert "slates of 10 after 50 events, 2 at once, 3 levels of 256 codes" in found["work"]


def test_both_decoders_say_whole_slates_of_new_items():
    queries = slate_decode.questions(2, 10_000)
    for model in slate_decode.models(10_000, "latent", "cpu"):
        items_Bk = inference.recommend(model, queries, 10).items_Bk
        assert (items_Bk >= 0).all()
        assert not np.isin(items_Bk[0], queries.items_BL[0]).any()


def test_models_of_different_size_are_not_compared(monkeypatch):
    monkeypatch.setattr(
        slate_decode,
        "FlatSlateConfig",
        lambda **shape: FlatSlateConfig(**shape | {"num_layers": 3}),
    )
    with pytest.raises(AssertionError, match=r"weights against .*: not the same model size"):
        slate_decode.models(100, "item", "cpu")
