import numpy as np
import pytest

from training.evaluation.consistency import impossible_values
from training.evaluation.retrieval import target_metrics
from training.evaluation.samples import UserMeans

PUBLISHED = {
    # ndcg@10, ndcg@50, hr@10, hr@50 of arXiv 2504.16454, ML-1M.
    "SASRec": (0.1594, 0.2208, 0.2899, 0.5671),
    "UniGRF-HSTU": (0.1756, 0.2326, 0.3140, 0.5909),
}


def row(values):
    return dict(zip(("ndcg@10", "ndcg@50", "hr@10", "hr@50"), values, strict=True))


@pytest.mark.parametrize("model", PUBLISHED)
def test_published_rows_that_are_possible_pass(model):
    assert not impossible_values(row(PUBLISHED[model]), cutoffs=(10, 50), list_length=50)


def test_the_bound_between_10_and_50_is_that_of_the_literature():
    # [.176, .279] times the hits between the two cut-offs.
    hits = 0.2
    base = {"hr@10": 0.3, "hr@50": 0.3 + hits, "ndcg@10": 0.15}
    for gain, possible in ((0.1755, False), (0.1775, True), (0.278, True), (0.280, False)):
        found = impossible_values(
            {**base, "ndcg@50": 0.15 + gain * hits}, cutoffs=(10, 50), list_length=50
        )
        assert (not found) == possible


def test_swapped_columns_are_found():
    swapped = row((0.1594, 0.2899, 0.2208, 0.5671))  # ndcg@50 and hr@10 exchanged
    assert any("ndcg@50" in p for p in impossible_values(swapped, cutoffs=(10, 50), list_length=50))


def test_a_hit_rate_that_falls_with_the_cutoff_is_found():
    falling = {"hr@5": 0.4, "hr@10": 0.3, "ndcg@5": 0.2, "ndcg@10": 0.2}
    assert impossible_values(falling, cutoffs=(5, 10), list_length=10) == ["hr@10 is below hr@5"]


def test_an_mrr_beyond_its_bounds_is_found():
    hits = {"hr@10": 0.0, "ndcg@10": 0.0}
    assert not impossible_values({**hits, "mrr": 0.0}, cutoffs=(10,), list_length=50)
    assert not impossible_values({**hits, "mrr": 1 / 11}, cutoffs=(10,), list_length=50)
    # Where nothing lies beyond the last cut-off, nothing is found there.
    assert impossible_values({**hits, "mrr": 1 / 11}, cutoffs=(10,), list_length=10) == [
        "mrr is 0.0909, but the hits allow 0.0000 to 0.0000"
    ]
    assert impossible_values({**hits, "mrr": 0.2}, cutoffs=(10,), list_length=50) == [
        "mrr is 0.2000, but the hits allow 0.0000 to 0.0909"
    ]


def test_whatever_ranks_there_are_our_own_metrics_are_possible():
    draw = np.random.default_rng(0)
    for _ in range(50):
        ranks = draw.integers(0, 51, size=30)
        users = draw.integers(0, 6, size=30)
        how = {"cutoffs": (1, 5, 10, 50), "list_length": 50, "reading": "sid_"}
        means = UserMeans(users)
        for name, values in target_metrics(ranks, **how):
            means.add(name, values)
        assert impossible_values(means.result().points(), **how) == []
