import numpy as np

from benchmarks.constrained_beam_step import measure, take_turns, uneven_codes
from feature_store.settings import Settings
from training.decoding.trie import CodeTrie


def test_the_catalogue_is_distinct_and_uneven():
    codes = uneven_codes(10_000)
    assert len(np.unique(codes, axis=0)) == 10_000
    children = np.diff(CodeTrie.from_codes(codes).branches[1].first.numpy())
    assert children.max() > 3 * np.median(children)


def test_the_quick_measure_times_both_searches(tmp_path):
    found = measure(Settings(home=tmp_path, device="cpu"), quick=True)
    assert found["name"] == "constrained_beam_step"
    assert found["unit"] == "ms"
    assert found["ours"] > 0
    assert found["ratio"] == found["ours"] / found["peers"]["without constraint"]


def test_every_entrant_runs_every_round_and_the_order_turns():
    calls = []
    taken = take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert "".join(calls) == "abba" * 2
    assert set(taken) == {"a", "b"}
