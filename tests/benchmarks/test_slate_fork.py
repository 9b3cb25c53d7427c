import pytest
import torch

from benchmarks import slate_fork
from benchmarks.slate_epoch import sessions
from tests import worlds
from training.fit.fitting import LoopSettings

LOOP = LoopSettings()


def test_copies_that_are_not_moved_stay_one(monkeypatch):
    monkeypatch.setattr(slate_fork, "APART", 0.0)
    distances = iter([1.0])

    def distance(model, other):
        pairs = zip(model.parameters(), other.parameters(), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs)
        return next(distances, 0.0)

    monkeypatch.setattr(slate_fork, "_distance", distance)
    assert slate_fork.grown("higr", a_few_sessions(), LOOP, 2, 3) == 0.0


@pytest.mark.parametrize("family", list(slate_fork.MODELS))
def test_a_step_hardly_moves_two_copies_apart(family):
    assert slate_fork.grown(family, a_few_sessions(), LOOP, 3, 1) == pytest.approx(1.0, abs=0.2)


def a_few_sessions():
    histories = worlds.histories_of([list(range(number, number + 12)) for number in range(6)])
    return sessions(histories).targets()
