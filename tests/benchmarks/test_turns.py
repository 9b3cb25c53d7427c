"""Contenders in processes of their own: timed in turns, named when they fail."""

import pytest

from benchmarks.turns import once, start, take_turns

MODULE = "benchmarks.sequence_building"


def test_a_contender_that_ends_early_is_named(tmp_path):
    process = start(MODULE, "duckdb", tmp_path / "nothing here")
    with pytest.raises(RuntimeError, match="contender duckdb ended early"):
        once("duckdb", process)
    process.communicate()


def test_the_median_leaves_the_rounds_out_that_warm_up(tmp_path, monkeypatch):
    answers = iter([9.0, 8.0, 1.0, 3.0, 2.0])
    monkeypatch.setattr("benchmarks.turns.once", lambda *_: next(answers))
    monkeypatch.setattr("benchmarks.turns.start", lambda *_: _Nothing())
    assert take_turns(MODULE, ["ours"], tmp_path, rounds=3) == {"ours": 2.0}


class _Nothing:
    def communicate(self):
        pass
