"""The measures of rankgr's answers: rsp_share, encode_once and batch_recommend."""

import numpy as np
import pytest
import torch

from benchmarks import batch_recommend, encode_once, rsp_share
from benchmarks.rankgr_answers import model_of
from benchmarks.slate_decode import questions
from feature_store.settings import Settings
from sidereal.bench import BENCHMARKS, FIELDS
from training import inference
from training.data.queries import TopK


@pytest.mark.parametrize("benchmark", [rsp_share, encode_once, batch_recommend])
def test_the_quick_measure_times_ours_beside_the_peer(benchmark, tmp_path):
    found = benchmark.measure(Settings(home=tmp_path, device="cpu"), quick=True)
    assert found["name"] in BENCHMARKS
    assert set(FIELDS) <= set(found)
    [peer] = found["peers"].values()
    assert found["ratio"] == pytest.approx(found["ours"] / peer)
    assert found["ours"] > 0


def test_the_parts_of_an_answer_are_timed_beside_its_phases(tmp_path):
    found = rsp_share.measure(Settings(home=tmp_path, device="cpu"), quick=True)
    parts = found["parts"]
    assert found["ours"] == pytest.approx(parts["scoring"] + parts["keys"])
    assert set(parts) == {"scoring", "keys", "beam", "answer"}
    assert found["peers"] == {"beam": parts["beam"]}


@pytest.fixture(scope="module")
def model():
    return model_of(10_000, "cpu", width=16, candidates=20)


def test_the_catalogue_of_the_measures_is_answered_by_a_beam(model):
    assert not model._is_exact


def test_a_history_read_once_says_what_it_says_for_each_candidate(model):
    queries = questions(3, 10_000)
    items_BC = torch.from_numpy(np.random.default_rng(0).integers(0, 10_000, (3, 7)))
    once = encode_once.read_once(model, queries, items_BC)
    each = encode_once.read_for_each(model, queries, items_BC)
    assert once.shape == (3, 7, 2)
    torch.testing.assert_close(once, each, atol=encode_once.TOLERANCE, rtol=0)
    assert (once.std(1) > 1e-3).all()


def test_scores_that_differ_are_not_timed(monkeypatch, tmp_path):
    monkeypatch.setattr(
        encode_once, "read_for_each", lambda model, queries, items: torch.zeros(*items.shape, 2)
    )
    with pytest.raises(AssertionError, match="two ways, two answers: they differ by"):
        encode_once.measure(Settings(home=tmp_path, device="cpu"), quick=True)


def test_users_get_the_same_lists_in_batches_and_one_by_one(model):
    queries = questions(5, 10_000)
    lists = inference.recommend(model, queries, batch_recommend.PLACES)
    batch_recommend.require_same(lists, batch_recommend.one_by_one(model, queries))
    assert len(np.unique(lists.items_Bk)) > batch_recommend.PLACES


def test_lists_that_differ_are_not_timed():
    items_Bk = np.array([[1, 2, 3, 4]], dtype=np.int32)
    scores_Bk = np.array([[3.0, 2.0, 2.0, 1.0]], dtype=np.float32)
    one = TopK(items_Bk, scores_Bk)
    batch_recommend.require_same(one, TopK(items_Bk[:, [0, 2, 1, 3]], scores_Bk))
    with pytest.raises(AssertionError, match="two ways, two lists: 2 places differ"):
        batch_recommend.require_same(one, TopK(items_Bk[:, [3, 1, 2, 0]], scores_Bk))
    with pytest.raises(AssertionError, match="two ways, two lists: scores differ by 1"):
        batch_recommend.require_same(one, TopK(items_Bk, scores_Bk - 1))
