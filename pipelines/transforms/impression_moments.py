"""Histories of a batch as moments: what each asked event's user had done before it.

Runs in Spark's Python workers, on Arrow batches, as `rearrangement` does.

Arrays: R users of a batch, E their events, A the events that are asked about.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.transforms.ragged import Flags, Layout, Longs, longs

EVENTS_AT_ONCE = 1 << 20
"""Of a batch, so that long histories don't fill a worker's memory."""
SECOND = 10**6
DAY = 86_400


@dataclass(frozen=True)
class Moments:
    """Events of users, oldest first, and those that impressions are made of.

    Args:
        batch: user_id, item_indices, strengths, event_times, and what features read of users.
        days: the first and the last day of impressions, since 1970.
        shift_seconds: what to add to a UTC time so that its date is its day.
        local_seconds: local time less UTC.
        history_events: events before a moment that count, the last ones.
        engaged_strength: an engagement has at least this.
    """

    batch: pa.RecordBatch
    days: tuple[int, int]
    shift_seconds: int
    local_seconds: int
    history_events: int
    engaged_strength: int

    @cached_property
    def layout(self) -> Layout:
        """Events of each user."""
        return Layout(longs(pc.list_value_length(self.batch["item_indices"])))

    @cached_property
    def items_E(self) -> Longs:
        """item_index of each event."""
        return longs(self.batch["item_indices"].flatten())

    @cached_property
    def strengths_E(self) -> Longs:
        """What came of it."""
        return longs(self.batch["strengths"].flatten())

    @cached_property
    def micros_E(self) -> Longs:
        """When, microseconds since 1970."""
        return longs(self.batch["event_times"].flatten().cast(pa.int64()))

    @cached_property
    def asked_A(self) -> Longs:
        """Places of the events of the days, among all events."""
        day_E = (self.micros_E // SECOND + self.shift_seconds) // DAY
        return np.flatnonzero((day_E >= self.days[0]) & (day_E <= self.days[1]))

    @cached_property
    def rows_A(self) -> Longs:
        """The user of each."""
        return self.layout.rows_V[self.asked_A]

    @cached_property
    def items_A(self) -> Longs:
        """item_index of each."""
        return self.items_E[self.asked_A]

    @cached_property
    def seconds_A(self) -> Longs:
        """When, seconds since 1970."""
        return self.micros_E[self.asked_A] // SECOND

    @cached_property
    def day_A(self) -> Longs:
        """Its day, since 1970."""
        return (self.seconds_A + self.shift_seconds) // DAY

    @cached_property
    def until_A(self) -> Longs:
        """The place of the first event that isn't before the second of each."""
        return _run_starts(self.layout, self.micros_E // SECOND)[self.asked_A]

    @cached_property
    def from_A(self) -> Longs:
        """The place of the first event that counts."""
        start_A = self.layout.starts_R[self.rows_A]
        return np.maximum(start_A, self.until_A - self.history_events)

    @cached_property
    def engaged_E(self) -> Flags:
        """Whether an event is an engagement."""
        engaged: Flags = self.strengths_E >= self.engaged_strength
        return engaged

    def events(self, *, engaged: bool) -> Longs:
        """How many events count for each: all, or engagements."""
        if not engaged:
            return self.until_A - self.from_A
        before: Longs = np.append(0, np.cumsum(self.engaged_E))
        return before[self.until_A] - before[self.from_A]

    def met(self, alike_E: Longs, *, engaged: bool) -> Longs:
        """How many of them are like each.

        Args:
            alike_E: what an event shares with others, above 0; 0: it is like none.
            engaged: whether engagements alone count.
        """
        found = _Alike(self.layout.rows_V, alike_E)
        marked_E = alike_E > 0
        if engaged:
            marked_E = marked_E & self.engaged_E
        counted = found.before(marked_E, self.asked_A, self.from_A, self.until_A)
        return np.where(alike_E[self.asked_A] > 0, counted, 0)

    @cached_property
    def places_in_moment_A(self) -> Longs:
        """The place of each among the user's events of its microsecond."""
        return self.asked_A - _run_starts(self.layout, self.micros_E)[self.asked_A]


@dataclass(frozen=True)
class _Alike:
    """Events by user and what they share, each group in the order of time."""

    rows_E: Longs
    alike_E: Longs

    @cached_property
    def group_E(self) -> Longs:
        """Dense numbers of user and what is shared."""
        order = self.order
        rows, alike = self.rows_E[order], self.alike_E[order]
        begins = np.append(False, (rows[1:] != rows[:-1]) | (alike[1:] != alike[:-1]))
        group_E = np.empty(len(order), np.int64)
        group_E[order] = np.cumsum(begins[: len(order)])
        return group_E

    @cached_property
    def order(self) -> Longs:
        """Events by group, then by place."""
        span = int(self.alike_E.max(initial=0)) + 1
        return np.argsort(self.rows_E * span + self.alike_E, kind="stable")

    def before(self, marked_E: Flags, asked_A: Longs, from_A: Longs, until_A: Longs) -> Longs:
        """Marked events of each one's group from a place to another."""
        size = len(self.order) + 1
        places = self.order[marked_E[self.order]]
        keys = self.group_E[places] * size + places
        base_A = self.group_E[asked_A] * size
        return np.searchsorted(keys, base_A + until_A) - np.searchsorted(keys, base_A + from_A)


def _run_starts(layout: Layout, times_E: Longs) -> Longs:
    """The place of the first of a user's events of the same time."""
    if not len(times_E):
        return np.zeros(0, np.int64)
    rows_E = layout.rows_V
    begins = np.append(True, (times_E[1:] != times_E[:-1]) | (rows_E[1:] != rows_E[:-1]))
    return np.maximum.accumulate(np.where(begins, np.arange(len(times_E)), 0))


def parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch of histories in parts of about `EVENTS_AT_ONCE` events."""
    ends_R = np.cumsum(longs(pc.list_value_length(batch["item_indices"])))
    start = 0
    while start < batch.num_rows:
        before = ends_R[start - 1] if start else 0
        stop = int(np.searchsorted(ends_R, before + EVENTS_AT_ONCE, side="right"))
        stop = min(max(stop, start + 1), batch.num_rows)
        yield batch.slice(start, stop - start)
        start = stop
