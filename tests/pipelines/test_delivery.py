"""What a run for a day finds as published before it."""

from types import SimpleNamespace

from pipelines.jobs.delivery import Before, reason_counts, state_before
from tests.pipelines.raw_worlds import DAY


class History:
    """A store that knows snapshots by (id, parent, day), and the days each of them holds."""

    def __init__(self, snapshots, days):
        self.snapshots, self.days = snapshots, days

    def history(self, _):
        return [
            SimpleNamespace(snapshot_id=s, parent_id=p, day=day) for s, p, day in self.snapshots
        ]

    def partitions(self, _, at):
        return self.days[at]


def before(head, snapshots=(), days=None):
    run = SimpleNamespace(snapshot=lambda _: head, store=History(snapshots, days or {}), day=DAY)
    return state_before(run)


D1, D2, D4 = DAY.replace(day=1), DAY.replace(day=2), DAY.replace(day=14)


def test_nothing_published_is_nothing_before():
    assert before(None) == Before(snapshot=None, days=[])


def test_a_first_run_finds_the_head():
    assert before(2, [(1, None, D1), (2, 1, D2)], {2: [D1, D2]}) == Before(
        snapshot=2, days=[D1, D2]
    )


def test_a_rerun_finds_what_the_first_run_found_whatever_came_later():
    snapshots = [(1, None, D1), (2, 1, DAY), (3, 2, D4), (4, 3, DAY)]
    assert before(4, snapshots, {1: [D1]}) == Before(snapshot=1, days=[D1])
    assert before(3, [(2, None, DAY), (3, 2, D4)]) == Before(snapshot=None, days=[])


def test_an_expired_parent_is_stood_in_for_by_the_head():
    assert before(3, [(2, 1, DAY), (3, 2, D4)], {3: [D1, DAY, D4]}) == Before(
        snapshot=3, days=[D1, DAY, D4]
    )


def test_the_last_days_are_those_before_the_run():
    state = Before(snapshot=1, days=[D1, D2, DAY, D4])
    assert state.last(DAY, 7) == [D1, D2]
    assert state.last(DAY, 1) == [D2]
    assert state.last(D1, 1) == []


def test_reasons_are_counted_most_frequent_first():
    assert reason_counts([(["a", "b"], 2), (["b"], 1), (["c"], 3)]) == {"b": 3, "c": 3, "a": 2}
