"""The benchmark says how far the step's vectors are those of an exact decomposition."""

import json

import numpy as np
import pytest

from benchmarks import collaborative_vectors
from benchmarks.collaborative_vectors import compare, generate, measure


@pytest.mark.exhaustive
@pytest.mark.spark
def test_the_step_and_its_peer_are_timed_and_agree(settings):
    found = measure(settings, quick=True)
    assert found["ours"] > 0 and set(found["peers"]) == {"svds"}
    assert found["ratio"] == found["ours"] / found["peers"]["svds"]
    assert found["cosine"] > 0.9 and found["subspace"] > 0.8
    assert found["peak_gib"]["ours"] > found["peak_gib"]["svds"] > 0
    assert json.loads(json.dumps(found)) == found
    assert not (settings.home / "bench" / "collaborative_vectors").exists()


def test_agreement_is_whole_for_the_vectors_of_the_peer_however_turned(tmp_path, monkeypatch):
    generate(tmp_path, events=4_000, users=200, items=120)
    collaborative_vectors.svds(tmp_path)()
    exact = np.load(tmp_path / "svds.npy")
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((64, 64)))

    def published(vectors):
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        rows = {"item_index": np.arange(120), "embedding": list(vectors)}
        table = collaborative_vectors.pa.table(rows)
        monkeypatch.setattr(collaborative_vectors.FeatureStore, "read", lambda *_, **__: table)
        return compare(tmp_path)

    assert published(exact @ turn) == pytest.approx({"cosine": 1, "subspace": 1})
    other = published(exact[np.random.default_rng(1).permutation(120)])
    assert other["cosine"] < 0.8 and other["subspace"] < 0.9
