import numpy as np
import pytest
import torch

from benchmarks import sasrec_epoch
from tests import worlds
from training.data.batches import BatchPlan
from training.models.sasrec.model import Sasrec
from training.settings.families import SasrecConfig


def test_padded_rows_hold_every_target_with_the_events_before_it():
    histories = worlds.histories_of([list(range(60)), [70, 71]])
    batch = sasrec_epoch.padded_rows(histories, np.array([0, 1, 55, 60, 61]))
    rows = [[item for item in row if item >= 0] for row in batch.items_BL.tolist()]
    assert rows == [[0], [0, 1], list(range(5, 56)), [70], [70, 71]]
    assert batch.is_target_BL.sum(1).tolist() == [1] * 5
    assert batch.items_BL[batch.is_target_BL].tolist() == [0, 1, 55, 70, 71]
    assert batch.times_BL[batch.is_target_BL].tolist() == [0, 1, 55, 0, 1]
    assert batch.strengths_BL.tolist() == (batch.items_BL >= 0).int().tolist()


def test_both_ways_of_training_have_the_same_loss():
    histories = worlds.histories_of([list(range(30)), [3, 4, 5]])
    torch.manual_seed(0)
    model = Sasrec(SasrecConfig(width=16, hidden_width=16, max_history=50), 40).eval()
    rows = sasrec_epoch.padded_rows(histories, np.arange(33))
    (at_once,) = BatchPlan(max_history=50, overlap=10, positions_per_batch=99).batches(histories, 0)
    assert at_once.is_target_BL.sum() == 33
    with torch.no_grad():
        torch.testing.assert_close(model(rows), model(at_once))


def test_the_measure_says_what_it_measured(movielens_100k, settings, monkeypatch):
    monkeypatch.setattr("pipelines.sources.fetch.fetch", lambda *_: movielens_100k)
    monkeypatch.setattr(sasrec_epoch, "seconds_of_epochs", lambda histories, *_: 2.0)
    monkeypatch.setattr(sasrec_epoch, "seconds_of_padded_rows", lambda *_: 80.0)
    measured = sasrec_epoch.measure(settings, quick=True)
    assert measured["work"].startswith("MovieLens-100K, 100,000 targets; width 64, 2 layers")
    assert measured["ratio"] == pytest.approx(2.0 / 80.0)
    assert measured["goal"] == 3.0
    assert len(measured["peers"]) == 2


def test_both_timings_run():
    histories = worlds.histories_of([list(range(30))] * 40)
    assert sasrec_epoch.seconds_of_epochs(histories, 1, "cpu") > 0
    assert sasrec_epoch.seconds_of_padded_rows(histories, 10, "cpu") > 0
