import re
from dataclasses import replace

from benchmarks import slate_epoch
from tests import worlds
from training.data.histories import SECOND


def test_sessions_end_at_a_pause_a_user_and_ten_items():
    histories = worlds.histories_of([list(range(25)), [1, 2, 3], [4]])
    times = histories.times.copy()
    times[12:25] += 3600 * SECOND
    found = slate_epoch.sessions(replace(histories, times=times))
    assert found.lengths.tolist() == [10, 2, 10, 3, 3]
    assert found.user.tolist() == [0, 0, 0, 0, 1]
    assert found.position.tolist() == [0, 10, 12, 22, 0]
    assert found.items[found.offsets[2]] == 12


def test_the_measure_compares_rows_of_events(movielens_100k, settings, monkeypatch):
    monkeypatch.setattr("pipelines.sources.fetch.fetch", lambda *_: movielens_100k)
    found = slate_epoch.measure(settings.model_copy(update={"device": "cpu"}), quick=True)
    assert found["ratio"] == found["ours"] / found["peers"]["a row for each slate"]
    shared, own = re.search(r"([\d,]+) rows of events against ([\d,]+)", found["work"]).groups()
    assert int(shared.replace(",", "")) < int(own.replace(",", ""))
