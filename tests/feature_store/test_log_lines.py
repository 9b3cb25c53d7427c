"""What commands say while they work."""

import logging
import subprocess
import sys
import threading

from feature_store.log_lines import PROGRESS, Progress, Throttle, at_work, in_words


def record(name="training.fit.loop", *, is_progress=True):
    made = logging.LogRecord(name, logging.INFO, "", 0, "line", None, None)
    made.is_progress = is_progress
    return made


def test_one_line_of_progress_in_ten_seconds_is_shown_and_all_others():
    now = [0.0]
    throttle = Throttle(10.0, clock=lambda: now[0])
    shown = []
    for second in range(35):
        now[0] = float(second)
        if throttle.filter(record()):
            shown.append(second)
    assert shown == [10, 20, 30]
    assert throttle.filter(record(is_progress=False))
    assert not throttle.filter(record("training.other"))  # has a time of its own


def test_progress_says_how_fast_it_is_and_what_is_left(caplog):
    caplog.set_level("INFO")
    now = [0.0]
    progress = Progress(logging.getLogger("x"), "recommend: users", 10_000, clock=lambda: now[0])
    progress.begin_at(2_000)
    now[0] = 4.0
    progress.at(4_000)
    now[0] = 404.0
    progress.at(4_020)
    progress.at(10_000)
    Progress(logging.getLogger("x"), "rows", None).at(5_000)
    assert [line.getMessage() for line in caplog.records] == [
        "recommend: users: 4,000 of 10,000, 500 a second, 12 s left",
        "recommend: users: 4,020 of 10,000, 5.0 a second, 20 min left",
        "recommend: users: 10,000 of 10,000",
        "rows: 5,000",
    ]
    assert all(line.is_progress for line in caplog.records) and PROGRESS == {"is_progress": True}


def test_seconds_are_rounded_for_people():
    assert [in_words(seconds) for seconds in (0.4, 119, 120, 7199, 7200)] == [
        "0 s",
        "119 s",
        "2 min",
        "120 min",
        "2.0 h",
    ]


def test_where_nothing_is_said_a_line_says_what_is_at_work():
    code = (
        "import logging, time; from feature_store.log_lines import at_work, show_log_lines\n"
        "show_log_lines()\n"
        "with at_work('build_items 2026-03-01', 0.3, lambda: ', 3 of 4 tasks'):\n"
        "    for _ in range(4):\n"
        "        logging.getLogger('pipelines').info('a line'); time.sleep(0.1)\n"
        "    time.sleep(1.0)\n"
        "logging.getLogger('other').info('not ours'); logging.getLogger('other').warning('odd')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert lines[:4] == ["a line"] * 4
    assert lines[4] == "build_items 2026-03-01: at work for 1 s, 3 of 4 tasks"
    assert lines[-1] == "odd" and "not ours" not in lines
    assert 2 <= len(lines[4:-1]) <= 4
    assert done.stdout == ""


def test_the_watcher_ends_with_the_work_and_an_error_passes():
    def watchers():  # other threads of the process come and go
        return [thread for thread in threading.enumerate() if thread.name == "at-work"]

    before = watchers()
    try:
        with at_work("x"):
            assert len(watchers()) == len(before) + 1
            raise ValueError("through")
    except ValueError as error:
        assert str(error) == "through"
    assert watchers() == before
