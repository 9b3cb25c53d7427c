"""What commands say while they work: plain lines on standard error, for terminals and task logs.

Long work says how far it is often; of these lines one in ten seconds is shown. Where nothing is
said for twenty seconds, a line says what is at work.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OURS = ("feature_store", "pipelines", "training", "sidereal")
PROGRESS = {"is_progress": True}
"""`extra=PROGRESS` of a log call marks a line that another one soon makes old."""
SECONDS_BETWEEN = 10.0
QUIET_SECONDS = 20.0
LOG = logging.getLogger(__name__)


def show_log_lines() -> None:
    """Show our packages' log from INFO on and others' warnings, as bare messages.

    Whoever runs the command adds the time: Airflow does, and so does journald.
    """
    handler = _Lines(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(Throttle())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for package in OURS:
        logging.getLogger(package).setLevel(logging.INFO)


class _Lines(logging.StreamHandler):  # type: ignore[type-arg]  # not generic when it runs
    """Shows lines, and knows when the last one was."""

    last = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Show a line."""
        super().emit(record)
        _Lines.last = time.monotonic()


@contextmanager
def at_work(
    what: str, quiet_seconds: float = QUIET_SECONDS, detail: Callable[[], str] = str
) -> Iterator[None]:
    """Say what is at work, and for how long, whenever no line was shown for a while.

    Args:
        what: as in `train_recommender 2026-03-01`.
        quiet_seconds: without a line.
        detail: what else the line says, asked for when it is due.
    """
    started = _Lines.last = time.monotonic()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(max(_Lines.last + quiet_seconds - time.monotonic(), 0.05)):
            now = time.monotonic()
            if now - _Lines.last >= quiet_seconds:
                LOG.info("%s: at work for %s%s", what, in_words(now - started), detail())
                _Lines.last = now  # also where nobody shows lines

    watcher = threading.Thread(target=watch, name="at-work", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


class Throttle(logging.Filter):
    """Passes all but those lines of progress that follow another too soon.

    The first of a logger waits, too: what ends within seconds needs no line of progress.

    Args:
        seconds: between two lines of progress of one logger.
        clock: seconds that only rise.
    """

    def __init__(
        self, seconds: float = SECONDS_BETWEEN, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._seconds, self._clock = seconds, clock
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is shown."""
        if not getattr(record, "is_progress", False):
            return True
        now = self._clock()
        if now - self._last.setdefault(record.name, now) < self._seconds:
            return False
        self._last[record.name] = now
        return True


class Progress:
    """How far long work is, how fast, and what time is left if it goes on as it did.

    Args:
        log: of the module that works.
        work: what is done, as in `recommend: users`.
        total: how many there are; None where nobody knows.
    """

    def __init__(
        self,
        log: logging.Logger,
        work: str,
        total: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._work, self._total, self._clock = log, work, total, clock
        self._started, self._first = clock(), 0

    def begin_at(self, done: int) -> None:
        """Count from here what is left: so much was done by an earlier run."""
        self._started, self._first = self._clock(), done

    def at(self, done: int) -> None:
        """Say that so many are done."""
        self._log.info("%s", _Told(self, done, self._clock()), extra=PROGRESS)

    def told(self, done: int, now: float) -> str:
        """The line: `recommend: users: 4,096 of 120,000, 3,700 a second, 31 s left`."""
        if self._total is None:
            return f"{self._work}: {done:,}"
        told = f"{self._work}: {done:,} of {self._total:,}"
        newly = done - self._first
        if newly <= 0 or done >= self._total:
            return told
        seconds_each = (now - self._started) / newly
        speed = f", {_rate(1 / seconds_each)} a second" if seconds_each else ""
        return f"{told}{speed}, {in_words(seconds_each * (self._total - done))} left"


class _Told:
    """A line that is made when it is shown."""

    def __init__(self, progress: Progress, done: int, now: float) -> None:
        self._progress, self._done, self._now = progress, done, now

    def __str__(self) -> str:
        return self._progress.told(self._done, self._now)


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.1f}"


def in_words(seconds: float) -> str:
    """Seconds for people.

    Example:
        >>> in_words(41.3), in_words(280), in_words(7900)
        ('41 s', '5 min', '2.2 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
