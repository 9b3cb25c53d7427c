import pytest

from benchmarks import hstu_epoch
from tests import worlds


def test_the_worse_of_two_lengths_is_reported(movielens_100k, settings, monkeypatch):
    seconds = {
        ("hstu", 50): 2.0, ("llama", 50): 4.0, ("hstu", 200): 3.0, ("llama", 200): 4.0
    }  # fmt: skip
    calls = []

    def timed(histories, epochs, device, *, shape, loop):
        calls.append(shape.backbone)
        return seconds[shape.backbone, loop.max_history]

    monkeypatch.setattr("pipelines.sources.fetch.fetch", lambda *_: movielens_100k)
    monkeypatch.setattr(hstu_epoch, "seconds_of_epochs", timed)
    measured = hstu_epoch.measure(settings)
    assert measured["work"].startswith("MovieLens-100K, 100,000 targets; width 64, 2 layers")
    assert (measured["ours"], measured["peers"]) == (3.0, {"Llama": 4.0})
    assert measured["ratio"] == pytest.approx(0.75)
    assert measured["parts"]["history 50"] == {"hstu": 2.0, "llama": 4.0}
    assert measured["goal"] == 1.5
    assert calls[:4] == ["hstu", "llama", "llama", "hstu"]


def test_both_backbones_are_timed():
    histories = worlds.histories_of([list(range(60)), [3, 4, 5]] * 5)
    seconds = hstu_epoch.seconds_of_both(histories, 20, 1, "cpu")
    assert set(seconds) == {"hstu", "llama"}
    assert all(taken > 0 for taken in seconds.values())
