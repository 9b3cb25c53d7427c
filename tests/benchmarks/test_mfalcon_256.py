import numpy as np
import pytest
import torch

from benchmarks import mfalcon_256
from feature_store.settings import Settings
from training import inference
from training.models.unigrf.model import Unigrf
from training.settings.unigrf import UnigrfConfig


def test_the_quick_measure_times_both_ways_on_both_backbones(tmp_path):
    found = mfalcon_256.measure(Settings(home=tmp_path, device="cpu"), quick=True)
    assert found["name"] == "mfalcon_256"
    assert found["goal"] == 0.1
    assert set(found["parts"]) == {"hstu", "llama"}
    ratios = [part["once"] / part["for each"] for part in found["parts"].values()]
    assert found["ratio"] == max(ratios) < 1


@pytest.mark.parametrize("backbone", ["hstu", "llama"])
def test_both_ways_say_the_same(backbone):
    torch.manual_seed(0)
    shape = UnigrfConfig(backbone=backbone, width=16, num_heads=1, max_history=6, dropout=0.0)
    model = Unigrf(shape, mfalcon_256.ITEMS).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    queries, candidate_BC = mfalcon_256.questions(2, 6)
    once = inference.rank(model, queries, candidate_BC)
    each = mfalcon_256.encoded_for_each(model, queries, candidate_BC)
    np.testing.assert_allclose(once, each, atol=mfalcon_256.TOLERANCE)
    assert once.std() > 0.01


def test_two_answers_are_not_timed(monkeypatch):
    monkeypatch.setattr(
        mfalcon_256, "encoded_for_each", lambda *_: np.zeros((1, mfalcon_256.CANDIDATES))
    )
    with pytest.raises(AssertionError, match="two ways, two answers: they differ by"):
        mfalcon_256.milliseconds("llama", 1, 4, 1, "cpu")
