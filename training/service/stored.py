"""The stored histories of the newest day, a user's at a time."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np

from training.data.histories import SECOND, Histories
from training.settings.spec import AskedAt


@dataclass(frozen=True)
class Events:
    """One person's events, oldest first: item_index, strength, microseconds since 1970."""

    items: np.ndarray
    strengths: np.ndarray
    times: np.ndarray

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class StoredHistories:
    """Every user's history as it stood at the end of a day; 13 bytes an event, and the ids.

    Attributes:
        day: of the histories.
        histories: users in ascending order of id.
        unlisted: items that the day's catalogue no longer lists, ascending.
    """

    day: date
    histories: Histories
    unlisted: np.ndarray

    def events(self, user_id: str) -> Events | None:
        """A user's events; None for who has none."""
        ids = self.histories.user_ids
        number = bisect_left(ids, user_id)
        if number == len(ids) or ids[number] != user_id:
            return None
        rows = slice(self.histories.offsets[number], self.histories.offsets[number + 1])
        return Events(
            self.histories.items[rows],
            self.histories.strengths[rows],
            self.histories.times[rows],
        )

    def asked_at(self, events: Events, moment: AskedAt) -> int:
        """When the daily table asks after a history, seconds since 1970 (UTC)."""
        if moment == "event":
            return int(events.times[-1]) // SECOND if len(events) else 0
        return end_of(self.day)


def end_of(day: date) -> int:
    """The midnight that ends a day, seconds since 1970 (UTC)."""
    return int((datetime.combine(day, time(), UTC) + timedelta(days=1)).timestamp())


def together(some: Sequence[Events], user_ids: Sequence[str]) -> Histories:
    """Histories of people in the given order; an id is empty where nobody says whose it is."""
    offsets = np.cumsum([0, *map(len, some)], dtype=np.int64)
    return Histories(
        user_ids=np.array(user_ids, dtype=object),
        offsets=offsets,
        items=np.concatenate([each.items for each in some]),
        strengths=np.concatenate([each.strengths for each in some]),
        times=np.concatenate([each.times for each in some]),
    )
