"""When an answer is asked for, and what is known then: the questions behind targets.

A target of a day may be predicted just before it happened, or, as a table that is written at
midnight serves it, by the list that its user had at the end of the day before.

T targets, G questions.
"""

from dataclasses import dataclass

import numpy as np

from training.data.histories import DAY, SECOND, Histories
from training.settings.spec import AskedAt


@dataclass(frozen=True)
class Questions:
    """Who is asked for, after which events and when, and which answer each target is held against.

    Attributes:
        user_G: number of the user, int64.
        position_G: how many of the user's first events are known, int64; 0 to all.
        asked_at_G: when, seconds since 1970 (UTC), int64.
        question_T: number of each target's question, int64, never decreasing.
    """

    user_G: np.ndarray
    position_G: np.ndarray
    asked_at_G: np.ndarray
    question_T: np.ndarray

    def __len__(self) -> int:
        return len(self.user_G)

    @classmethod
    def about(
        cls,
        histories: Histories,
        user_T: np.ndarray,
        position_T: np.ndarray,
        time_T: np.ndarray,
        asked_at: AskedAt,
    ) -> "Questions":
        """The questions about targets of some users, in their order.

        Args:
            histories: where the events are.
            user_T: number of each target's user; targets of a user and day lie together.
            position_T: events of the user before the target.
            time_T: when it happened, microseconds.
            asked_at: `event`: a question a target, after all events before it, asked at its time;
                `day_end`: one for all targets of a user and a UTC day, after the events before that
                day, asked at the midnight that ends the day before. It may have no event.
        """
        if asked_at == "event":
            return cls(user_T, position_T, time_T // SECOND, np.arange(len(user_T)))
        day_T = time_T // DAY
        is_first_T = np.ones(len(user_T), dtype=bool)
        is_first_T[1:] = (np.diff(user_T) != 0) | (np.diff(day_T) != 0)
        user_G, day_G = user_T[is_first_T], day_T[is_first_T]
        return cls(
            user_G,
            _events_before_days(histories, user_G, day_G),
            day_G * (DAY // SECOND),
            np.cumsum(is_first_T) - 1,
        )

    @property
    def is_without_history_T(self) -> np.ndarray:
        """Whether a target's answer knows no event of its user, bool, [T]."""
        without_T: np.ndarray = (self.position_G == 0)[self.question_T]
        return without_T

    def rows(self, start: int, stop: int) -> "Questions":
        """Questions `start` to `stop`, about the targets that they answer."""
        first, last = np.searchsorted(self.question_T, (start, stop))
        part = slice(start, stop)
        return Questions(
            self.user_G[part],
            self.position_G[part],
            self.asked_at_G[part],
            self.question_T[first:last] - start,
        )

    def each(self) -> "Questions":
        """A question a target, those that are one written out."""
        number_T = self.question_T
        return Questions(
            self.user_G[number_T],
            self.position_G[number_T],
            self.asked_at_G[number_T],
            np.arange(len(number_T)),
        )


def _events_before_days(histories: Histories, user_G: np.ndarray, day_G: np.ndarray) -> np.ndarray:
    """Events of each user before a day (days since 1970), int64, [G]; nothing is sorted."""
    day_N = histories.times // DAY
    if not len(day_N):
        return np.zeros(len(user_G), dtype=np.int64)
    first = day_N.min()
    span = day_N.max() - first + 2
    key_N = histories.users * span + (day_N - first)
    key_G = user_G * span + np.clip(day_G - first, 0, span - 1)
    before_G: np.ndarray = np.searchsorted(key_N, key_G, side="left") - histories.offsets[user_G]
    return before_G
