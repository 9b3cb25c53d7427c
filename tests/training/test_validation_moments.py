"""What stops a fit is asked as its candidates are judged: lists at the preset's moment."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from tests import worlds
from training.data.histories import DAY
from training.data.queries import TopK
from training.data.splits import Targets
from training.fit import validation as module
from training.fit.fitting import Fitting, LoopSettings

FITTING = Fitting(LoopSettings(max_history=5), exclude_seen=False)


def targets(asked_at):
    """Two people: three events of two days, two of one day; all but the first are targets."""
    found = worlds.histories_of([[0, 1, 2], [1, 2]])
    found = replace(found, times=(np.array([0.5, 1.2, 1.4, 2.1, 2.2]) * DAY).astype(np.int64))
    return Targets(found, np.array([0, 0, 1]), np.array([1, 2, 1]), asked_at=asked_at)


def validated(monkeypatch, asked_at, **wanted):
    """NDCG and probabilities of a model that lists its last event + 1, then 2; and what it read."""
    read = {"lists": [], "feedback": []}

    def recommend(model, queries, k):
        read["lists"] += queries.lengths_B.tolist()
        last_B = [row[length - 1] if length else -1 for row, length in zip(
            queries.items_BL, queries.lengths_B, strict=True)]  # fmt: skip
        items = np.full((len(queries), k), -1, dtype=np.int32)
        items[:, 0] = np.array(last_B) + 1
        items[:, 1] = np.where(items[:, 0] == 2, 3, 2)
        return TopK(items, np.zeros(items.shape, np.float32))

    def rank(model, queries, items_BC):
        read["feedback"] += queries.lengths_B.tolist()
        return items_BC.astype(np.float32)

    def both(model, queries, k, items_BC):
        return recommend(model, queries, k), rank(model, queries, items_BC)

    asked = SimpleNamespace(recommend=recommend, rank=rank, recommend_and_rank=both)
    monkeypatch.setattr(module, "inference", asked)
    return *module._asked(None, targets(asked_at), FITTING, **wanted), read


def test_at_the_days_end_a_list_is_made_once_and_feedback_is_asked_at_the_event(monkeypatch):
    gains, said, read = validated(monkeypatch, "day_end", ranks=True, lists=True)
    # After event 0 the list is 1, 2; who has no event by then gets 0, 2.
    assert gains.tolist() == [1.0, 1 / np.log2(3), 1 / np.log2(3)]
    assert said.tolist() == [1, 2, 2]
    assert read == {"lists": [1, 0], "feedback": [1, 2, 1]}


def test_lists_alone_are_asked_alone(monkeypatch):
    gains, said, read = validated(monkeypatch, "day_end", ranks=False, lists=True)
    assert len(gains) == 3 and not len(said) and read["feedback"] == []


def test_at_the_event_every_target_has_a_list_of_its_own(monkeypatch):
    gains, said, read = validated(monkeypatch, "event", ranks=True, lists=True)
    assert gains.tolist() == [1.0, 1.0, 1.0] and said.tolist() == [1, 2, 2]
    assert read["lists"] == read["feedback"] == [1, 2, 1]
