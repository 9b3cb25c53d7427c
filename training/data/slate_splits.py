"""Which slates train, which stop the training, which measure it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np

from training.data.histories import DAY, Histories
from training.data.slates import Slates


@dataclass(frozen=True)
class SlateSplit:
    """Which slates train, which stop the training, which measure it.

    Attributes:
        train: over before anything is held out.
        validation: what early stopping looks at.
        test: what the evaluation reports.
        facts: how many there are of each; JSON-serialisable.
    """

    train: Slates
    validation: Slates
    test: Slates
    facts: Mapping[str, Any] = field(default_factory=dict)

    def map(self, change: Callable[[Slates], Slates]) -> "SlateSplit":
        """The split with each part changed; the facts stay those of the split."""
        return SlateSplit(
            change(self.train), change(self.validation), change(self.test), self.facts
        )

    def keeping(self, choose: Callable[[Histories], np.ndarray]) -> "SlateSplit":
        """All slates with only chosen events in their queries."""
        chosen = choose(self.train.histories)
        histories = self.train.histories.where(chosen)
        return self.map(lambda slates: slates.reading(histories, chosen))


def split_slates_rolling(
    slates: Slates, day: date, *, holdout_days: int, validation_days: int
) -> SlateSplit:
    """Slates that end in the last days up to the end of `day` (UTC) test; others before validate.

    As `split_rolling` does with events. No slate that tests or validates begins before the weights'
    last event: one that spans that border is in no part. One that began among the validation days
    and ended after them tests: local days and UTC days do not end together.
    """
    end = ((day - date(1970, 1, 1)).days + 1) * DAY
    cutoff = end - holdout_days * DAY
    train_end = cutoff - validation_days * DAY

    is_unseen = slates.started_at >= train_end

    def ending_within(start: int, stop: int, among: np.ndarray) -> Slates:
        return slates.where(among & (slates.ended_at >= start) & (slates.ended_at < stop))

    parts = (
        slates.where(slates.ended_at < train_end),
        ending_within(train_end, cutoff, is_unseen),
        ending_within(cutoff, end, is_unseen),
    )
    facts = {
        "train_until": (day + timedelta(1 - holdout_days - validation_days)).isoformat(),
        "validation_until": (day + timedelta(1 - holdout_days)).isoformat(),
        **_counts(*parts, num_known=int((slates.ended_at < end).sum())),
    }
    return SlateSplit(*parts, facts)


def split_slates_leave_last_out(slates: Slates) -> SlateSplit:
    """Each user's last slate is the test, the one before it the validation, the rest trains.

    Users with fewer than three slates train with all they have.
    """
    order = np.lexsort((slates.started_at, slates.user))
    slates = slates.where(order)
    _, first, count = np.unique(slates.user, return_index=True, return_counts=True)
    from_end = np.repeat(first + count, count) - np.arange(len(slates))
    has_targets = np.repeat(count >= 3, count)
    parts = (
        slates.where(~has_targets | (from_end > 2)),
        slates.where(has_targets & (from_end == 2)),
        slates.where(has_targets & (from_end == 1)),
    )
    return SlateSplit(*parts, _counts(*parts, num_known=len(slates)))


def _counts(train: Slates, validation: Slates, test: Slates, *, num_known: int) -> dict[str, int]:
    return {
        "train_slates": len(train),
        "validation_slates": len(validation),
        "test_slates": len(test),
        "slates_across_borders": num_known - len(train) - len(validation) - len(test),
        "train_slate_items": len(train.items),
    }
