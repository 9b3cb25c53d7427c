"""Optimistic commits: try on the head, and again on the new head when another run was first."""

import time
from collections.abc import Callable
from typing import TypeVar

from feature_store.errors import CommitConflict
from feature_store.iceberg.catalog import CommitLost

FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 1.0

_T = TypeVar("_T")


def until_committed(attempt: Callable[[], _T], *, table: str, patience_seconds: float) -> _T:
    """Result of the first attempt that no other commit overtakes.

    Args:
        attempt: loads the table anew and commits; it is called again after a lost race.
        table: name for the message.
        patience_seconds: how long to go on trying.

    Raises:
        CommitConflict: others kept committing first.
    """
    started, pause = time.perf_counter(), FIRST_PAUSE_SECONDS
    while True:
        try:
            return attempt()
        except CommitLost as error:
            if time.perf_counter() - started > patience_seconds:
                raise CommitConflict(
                    f"table {table!r}: other runs kept committing first for "
                    f"{patience_seconds:g} s; nothing was committed. Run the command again"
                ) from error
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
