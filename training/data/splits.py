"""Which events train, and which are predicted: the protocols of the evaluation.

rolling (production): the last days are held out; a held-out event is predicted from the events
before it, or before its day, held-out ones included, by weights that saw nothing of those days.
leave_last_out (papers): each user's last event is the test, the one before it the validation.
random (papers on click models): a fifth of each user's events is the test, by chance.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from types import MappingProxyType
from typing import Any, Protocol, Self

import numpy as np

from training.data.histories import DAY, Histories
from training.data.questions import Questions
from training.settings.spec import AskedAt

Choice = Callable[[Histories], np.ndarray]
"""Marks events of histories: bool, shape [N]."""
VALIDATION_TARGETS_PER_USER = 50
"""Most recent validation targets kept per user: what stops a fit does not hang on how candidates
are measured after it."""


class OfEvents(Protocol):
    """Rows of another table as a fit gets them: what is asked after events of the histories."""

    def keeping(self, choose: Choice) -> Self:
        """The same with only chosen events in the queries; what is asked about stays."""
        ...


Data = Mapping[str, Any]
"""What a family reads beside histories and catalogue, by the table's name: `slates` a `SlateSplit`,
`preference_pairs` its `Pairs`; each is `OfEvents`."""
NO_DATA: Data = MappingProxyType({})


@dataclass(frozen=True)
class Targets:
    """T events to predict, each from what was known of its user when it was asked for.

    Attributes:
        histories: what the queries are read from: complete, held-out events included.
        user: number of the user in `histories`, int64, shape [T]; never decreasing.
        position: the event's place in its user's history, int64, shape [T].
        slices: named subsets, bool, shape [T]: `new_items` (never seen in training),
            `light_users` and `heavy_users` (by their number of training events).
        asked_at: when each is asked for, as `Questions.about` has it.
    """

    histories: Histories
    user: np.ndarray
    position: np.ndarray
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)
    asked_at: AskedAt = "event"

    def __len__(self) -> int:
        return len(self.user)

    @property
    def events(self) -> np.ndarray:
        """Index of each target into the arrays of `histories`, int64, shape [T]."""
        events: np.ndarray = self.histories.offsets[self.user] + self.position
        return events

    @property
    def items(self) -> np.ndarray:
        """item_index to be predicted, int32, shape [T]."""
        items: np.ndarray = self.histories.items[self.events]
        return items

    @property
    def times(self) -> np.ndarray:
        """When it happened, microseconds, int64, shape [T]."""
        times: np.ndarray = self.histories.times[self.events]
        return times

    @property
    def questions(self) -> Questions:
        """What is asked to predict them."""
        return Questions.about(self.histories, self.user, self.position, self.times, self.asked_at)

    def where(self, keep: np.ndarray) -> "Targets":
        """The targets of a mask (bool, shape [T]) or of sorted numbers."""
        slices = {name: mask[keep] for name, mask in self.slices.items()}
        return replace(self, user=self.user[keep], position=self.position[keep], slices=slices)

    def keeping(self, choose: Choice) -> "Targets":
        """The targets among the chosen events, with only chosen events in the queries."""
        chosen = choose(self.histories)
        chosen_before = np.concatenate([[0], np.cumsum(chosen, dtype=np.int64)])
        position = chosen_before[self.events] - chosen_before[self.histories.offsets[self.user]]
        is_kept = chosen[self.events]
        kept = self.where(is_kept)
        histories = self.histories.where(chosen)
        return replace(kept, histories=histories, position=position[is_kept])


@dataclass(frozen=True)
class Split:
    """What trains, what stops the training, what measures it.

    Attributes:
        train: all users with only the events that weights may see.
        validation: what early stopping looks at.
        test: what the evaluation reports.
        facts: how the split was made and how much is in it; JSON-serialisable.
    """

    train: Histories
    validation: Targets
    test: Targets
    facts: Mapping[str, Any]

    def keeping(self, choose: Choice) -> "Split":
        """The split with only chosen events, as queries and as targets; who is held out stays."""
        return replace(
            self,
            train=self.train.where(choose(self.train)),
            validation=self.validation.keeping(choose),
            test=self.test.keeping(choose),
        )


def has_days(histories: Histories) -> bool:
    """Whether events are of more than one UTC day; a log that only has an order is of one."""
    days = histories.times // DAY
    return bool(len(days) and days.min() < days.max())


def split_rolling(
    histories: Histories,
    day: date,
    *,
    holdout_days: int,
    validation_days: int,
    max_targets_per_user: int = 50,
    target_minimum_strength: int = -1,
    light_user_events: int = 20,
    asked_at: AskedAt = "event",
) -> Split:
    """Hold out the last days up to the end of `day` (UTC); the days before them validate.

    Args:
        histories: everything known at the end of `day`; later events are left out.
        day: the run's day.
        holdout_days: days of the test targets, `day` included.
        validation_days: days before those, of the validation targets.
        max_targets_per_user: most recent test targets kept per user.
        target_minimum_strength: weaker events are context, never a target.
        light_user_events: users with at most so many training events are `light_users`.
        asked_at: when targets are asked for.
    """
    end = _microseconds(day) + DAY
    known = histories.before(end)
    cutoff = end - holdout_days * DAY
    train_end = cutoff - validation_days * DAY
    train = known.before(train_end)
    strong = known.strengths >= target_minimum_strength

    def targets(start: int, stop: int, per_user: int) -> Targets:
        inside = strong & (known.times >= start) & (known.times < stop)
        kept = _most_recent(inside, known, per_user)
        return _targets(known, kept, train, light_user_events, asked_at)

    validation = targets(train_end, cutoff, VALIDATION_TARGETS_PER_USER)
    test = targets(cutoff, end, max_targets_per_user)
    facts = {
        "protocol": "rolling",
        "day": day.isoformat(),
        "train_until": (day + timedelta(1 - holdout_days - validation_days)).isoformat(),
        "validation_until": (day + timedelta(1 - holdout_days)).isoformat(),
        "holdout_days": holdout_days,
        "validation_days": validation_days,
        "max_targets_per_user": max_targets_per_user,
        "target_minimum_strength": target_minimum_strength,
        "asked_at": asked_at,
        **_counts(train, validation, test),
    }
    return Split(train, validation, test, facts)


def fit_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a split that a fit depends on: how much is asked of it later is not one."""
    return {
        name: fit_facts(value) if isinstance(value, Mapping) else value
        for name, value in facts.items()
        if name != "max_targets_per_user" and not name.startswith("test_")
    }


def split_leave_last_out(
    histories: Histories,
    *,
    target_minimum_strength: int = -1,
    light_user_events: int = 20,
    asked_at: AskedAt = "event",
) -> Split:
    """Each user's last event is the test, the one before it the validation, the rest trains.

    Users with fewer than three events train with all they have and are no target. An event weaker
    than `target_minimum_strength` that stands in a target's place is dropped from the targets and
    not replaced.
    """
    from_end = np.repeat(histories.lengths, histories.lengths) - histories.positions
    has_targets = np.repeat(histories.lengths >= 3, histories.lengths)
    train = histories.where(~has_targets | (from_end > 2))
    strong = has_targets & (histories.strengths >= target_minimum_strength)
    validation, test = (
        _targets(histories, strong & (from_end == place), train, light_user_events, asked_at)
        for place in (2, 1)
    )
    facts = {
        "protocol": "leave_last_out",
        "target_minimum_strength": target_minimum_strength,
        "asked_at": asked_at,
        "users_without_targets": int((histories.lengths < 3).sum()),
        **_counts(train, validation, test),
    }
    return Split(train, validation, test, facts)


def split_random(
    histories: Histories,
    *,
    positive_strength: int,
    target_minimum_strength: int = -1,
    light_user_events: int = 20,
) -> Split:
    """Of each user's positive events, and of the others, 20 % test, 10 % validate and 70 % train.

    Who has three or more of a kind tests and validates with at least one of it. Chance is a hash of
    user, item and time: the same event falls to the same side in any order of the data. Weights
    see events after those that they are asked about, which flatters every model.

    Args:
        histories: everything known.
        positive_strength: feedback is positive from this strength on.
        target_minimum_strength: weaker events train, and are never a target.
        light_user_events: users with at most so many training events are `light_users`.
    """
    kind_N = 2 * histories.users + (histories.strengths >= positive_strength)
    chance_N = _chances(histories)
    order = np.lexsort((chance_N, kind_N))
    count_N = np.bincount(kind_N)[kind_N]
    place_N = np.empty(histories.num_events, dtype=np.int64)
    first_N = np.cumsum(np.bincount(kind_N)) - np.bincount(kind_N)
    place_N[order] = np.arange(histories.num_events) - first_N[kind_N[order]]
    tests_N, validates_N = (_quota(count_N, share) for share in (0.2, 0.1))
    is_few_N = count_N < 3
    is_test = np.where(is_few_N, chance_N < 0.2, place_N < tests_N)
    is_validation = ~is_test & np.where(is_few_N, chance_N < 0.3, place_N < tests_N + validates_N)
    train = histories.where(~is_test & ~is_validation)
    strong = histories.strengths >= target_minimum_strength
    validation, test = (
        _targets(histories, strong & held, train, light_user_events, "event")
        for held in (is_validation, is_test)
    )
    facts = {
        "protocol": "random",
        "positive_strength": positive_strength,
        "target_minimum_strength": target_minimum_strength,
        "asked_at": "event",
        **_counts(train, validation, test),
    }
    return Split(train, validation, test, facts)


def _quota(count_N: np.ndarray, share: float) -> np.ndarray:
    """How many of so many are held out: the share, and at least one."""
    return np.asarray(np.maximum(np.rint(share * count_N), 1))


def _chances(histories: Histories) -> np.ndarray:
    """A number of each event, uniform in [0, 1), of its user's id, item and time; float64, [N]."""
    user_U = np.fromiter((zlib.crc32(str(user).encode()) for user in histories.user_ids), np.uint64)
    mixed_N = user_U[histories.users]
    for part_N in (histories.items, histories.times):
        mixed_N = _mixed(mixed_N ^ part_N.astype(np.uint64))
    return np.asarray((mixed_N >> np.uint64(11)) / 2.0**53)


def _mixed(number_N: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: a bijection of 64 bits without a visible order."""
    with np.errstate(over="ignore"):
        number_N = number_N + np.uint64(0x9E3779B97F4A7C15)
        number_N = (number_N ^ (number_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        number_N = (number_N ^ (number_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(number_N ^ (number_N >> np.uint64(31)))


def _microseconds(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY


def _most_recent(marked: np.ndarray, histories: Histories, count: int) -> np.ndarray:
    """The marks of the last `count` marked events of each user."""
    marked_before = np.concatenate([[0], np.cumsum(marked, dtype=np.int64)])
    until_users_end = marked_before[histories.offsets[1:]][histories.users]
    last: np.ndarray = marked & (until_users_end - marked_before[:-1] <= count)
    return last


def _targets(
    histories: Histories,
    marked: np.ndarray,
    train: Histories,
    light_user_events: int,
    asked_at: AskedAt,
) -> Targets:
    user, position = histories.users[marked], histories.positions[marked]
    items = histories.items[marked]
    light = train.lengths[user] <= light_user_events
    slices = {
        "new_items": ~np.isin(items, np.unique(train.items)),
        "light_users": light,
        "heavy_users": ~light,
    }
    return Targets(histories, user, position, slices, asked_at)


def _counts(train: Histories, validation: Targets, test: Targets) -> dict[str, int]:
    questions = test.questions
    return {
        "users": train.num_users,
        "train_events": train.num_events,
        "train_users": int((train.lengths > 0).sum()),
        "train_items": len(np.unique(train.items)),
        "validation_targets": len(validation),
        "validation_users": len(np.unique(validation.user)),
        "test_targets": len(test),
        "test_users": len(np.unique(test.user)),
        "test_new_item_targets": int(test.slices["new_items"].sum()),
        "test_questions": len(questions),
        "test_targets_without_history": int(questions.is_without_history_T.sum()),
    }
