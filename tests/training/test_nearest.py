import numpy as np
import pytest
import torch

from training.models import nearest
from training.models.interface import PAD, Queries
from training.models.nearest import ItemIndex


@pytest.fixture
def question():
    torch.manual_seed(0)
    query_BD, items_VD = torch.randn(7, 8), torch.randn(500, 8)
    counts = np.array([0, 3, 40, 0, 500, 490, 1])
    draw = np.random.default_rng(0)
    excluded = [draw.permutation(500)[:count] for count in counts]
    queries = Queries(
        items_BL=np.zeros((7, 0), dtype=np.int32),
        strengths_BL=np.zeros((7, 0), dtype=np.int8),
        times_BL=np.zeros((7, 0), dtype=np.int64),
        asked_at_B=np.zeros(7, dtype=np.int64),
        lengths_B=np.zeros(7, dtype=np.int64),
        excluded=np.concatenate(excluded).astype(np.int32),
        excluded_offsets=np.concatenate([[0], np.cumsum(counts)]),
    )
    return query_BD, items_VD, queries


def slow(question, k):
    query_BD, items_VD, queries = question
    lists = []
    for row, scores in enumerate((query_BD @ items_VD.T).tolist()):
        first, last = queries.excluded_offsets[row : row + 2]
        banned = set(queries.excluded[first:last].tolist())
        best = sorted((-s, item) for item, s in enumerate(scores) if item not in banned)[:k]
        lists.append([item for _, item in best] + [PAD] * (k - len(best)))
    return lists


@pytest.mark.parametrize("way", ["all at once", "blocks", "faiss"])
def test_each_way_finds_the_largest_inner_products(question, way, monkeypatch):
    if way != "all at once":
        monkeypatch.setattr(nearest, "ALL_AT_ONCE", 0)
        monkeypatch.setattr(nearest, "BLOCK", 64)
    if way == "blocks":
        monkeypatch.setattr(nearest, "_faiss", lambda: None)
    if way == "faiss":
        pytest.importorskip("faiss")
    query_BD, items_VD, queries = question
    answer = ItemIndex(items_VD).nearest(query_BD, queries, 12)
    assert answer.items_Bk.tolist() == slow(question, 12)
    assert answer.items_Bk.dtype == np.int32
    assert answer.scores_Bk.dtype == np.float32
    assert (np.diff(answer.scores_Bk[:4], axis=1) <= 0).all()
    assert np.isneginf(answer.scores_Bk[answer.items_Bk == PAD]).all()


@pytest.mark.parametrize("limit", [0, 1000])
def test_a_list_longer_than_the_catalogue_ends_in_no_items(question, limit, monkeypatch):
    monkeypatch.setattr(nearest, "ALL_AT_ONCE", limit)
    query_BD, items_VD, queries = question
    answer = ItemIndex(items_VD).nearest(query_BD, queries, 510)
    assert answer.items_Bk.shape == (7, 510)
    assert answer.items_Bk.tolist() == slow(question, 510)


def test_no_question_gets_no_list(question, monkeypatch):
    query_BD, items_VD, queries = question
    monkeypatch.setattr(nearest, "ALL_AT_ONCE", 0)
    answer = ItemIndex(items_VD).nearest(query_BD[:0], queries.rows(0, 0), 4)
    assert answer.items_Bk.shape == (0, 4)
