"""Items that weren't shown: of a model's beam, or drawn from the catalogue of a slate's day.

A slate goes through its day's catalogue in an order by chance and takes the first items that its
user hadn't been shown. The order is a permutation that its slate's number keys (a Feistel network):
the nth place of it is computed alone, no place comes twice, and a small catalogue is drawn to its
end.

Arrays: S slates of a batch, E exposures, A slates that are asked, L those that lack draws, K tries,
W items that were drawn.
"""

from dataclasses import dataclass, field
from functools import cached_property
from math import isqrt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.transforms.listed_items import ListedItems
from pipelines.transforms.ragged import Flags, Layout, Longs, longs
from pipelines.transforms.shown_slates import PRIME, STEP, mixed

_BITS = 32
_PLACES = (1 << _BITS) - 1
_TRIES = 128
"""What is tried at least before a slate stays with fewer than were asked for."""
_TRIES_FOR_EACH = 8
_ROUNDS = 4
_VERSIONS = 64
"""Catalogues of days that a task keeps at once."""


@dataclass(frozen=True)
class Carried:
    """What a user had been shown in batches before: each item once, with the day of the latest."""

    user_id: str | None
    items: Longs
    days: Longs

    @classmethod
    def nothing(cls) -> "Carried":
        """Before the first batch."""
        return cls(None, np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True)
class ShownSoFar:
    """Which items the user of a slate had been shown by its end.

    Args:
        batch: rows of `slates`, all of a user together, by started_at and slate_id.
        before: what the batch's first user may have been shown before it.
    """

    batch: pa.RecordBatch
    before: Carried

    def shown(self, slate_L: Longs, item_LK: Longs, *, days: int) -> Flags:
        """Whether the latest slate with an item, up to a slate itself, is of so many days."""
        key_LK = item_LK << _BITS | (slate_L + 1)[:, None]
        latest_LK = np.searchsorted(self._key_E, key_LK, side="right") - 1
        there_LK = latest_LK >= 0
        latest_LK = np.maximum(latest_LK, 0)
        found_LK = self._key_E[latest_LK]
        shown_LK: Flags = (
            there_LK
            & (found_LK >> _BITS == item_LK)
            & (found_LK & _PLACES >= self._first_S[slate_L, None])
            & (self._day_E[latest_LK] > self.day_S[slate_L, None] - days)
        )
        return shown_LK

    def carried(self) -> Carried:
        """What the next batch has to know of this one's last user."""
        of_user = self._key_E & _PLACES >= self._first_S[-1]
        items, days = self._key_E[of_user] >> _BITS, self._day_E[of_user]
        latest = np.append(items[1:] != items[:-1], [True] * min(len(items), 1))
        return Carried(self.batch["user_id"][-1].as_py(), items[latest], days[latest])

    @cached_property
    def day_S(self) -> Longs:
        """Day of each slate, since 1970."""
        return longs(self.batch["day"].cast(pa.int32()))

    @cached_property
    def _goes_on(self) -> bool:
        return bool(self.before.user_id == self.batch["user_id"][0].as_py())

    @cached_property
    def _first_S(self) -> Longs:
        """The place of the first slate of each slate's user; 0: it was in a batch before."""
        user_S = self.batch["user_id"].dictionary_encode().indices.to_numpy()
        starts_S = np.append([not self._goes_on], user_S[1:] != user_S[:-1])
        return np.maximum.accumulate(np.where(starts_S, np.arange(len(user_S)) + 1, 0))

    @cached_property
    def _sorted(self) -> tuple[Longs, Longs]:
        """Item and place of each exposure as one number, ascending, and the exposure's day."""
        layout = Layout(longs(pc.list_value_length(self.batch["item_indices"])))
        key_E = longs(self.batch["item_indices"].flatten()) << _BITS | (layout.rows_V + 1)
        day_E = self.day_S[layout.rows_V]
        if self._goes_on:
            key_E = np.append(key_E, self.before.items << _BITS)
            day_E = np.append(day_E, self.before.days)
        order = np.argsort(key_E)
        return key_E[order], day_E[order]

    @property
    def _key_E(self) -> Longs:
        return self._sorted[0]

    @property
    def _day_E(self) -> Longs:
        return self._sorted[1]


@dataclass(frozen=True)
class Drawn:
    """Items that were drawn for slates: how many for each, and each one's slate and turn."""

    count_A: Longs
    rows_W: Longs
    turns_W: Longs
    items_W: Longs

    def beside(self, others: "Drawn", rows_L: Longs) -> "Drawn":
        """The same with what was drawn for slates that have none yet, given by their rows."""
        count_A = self.count_A.copy()
        count_A[rows_L] = others.count_A
        return Drawn(
            count_A,
            np.append(self.rows_W, rows_L[others.rows_W]),
            np.append(self.turns_W, others.turns_W),
            np.append(self.items_W, others.items_W),
        )


@dataclass(frozen=True)
class PseudoExposures:
    """Draws items that a slate's user hadn't been shown.

    Args:
        listed: the catalogue.
        wanted: items for each slate.
        window_days: how far back what was shown counts.
    """

    listed: ListedItems
    wanted: int
    window_days: int
    _kept: dict[tuple[int, int], Longs] = field(default_factory=dict)

    def draw(self, so_far: ShownSoFar, slate_A: Longs, number_A: Longs) -> Drawn:
        """The first `wanted` draws of each slate that its user hadn't been shown.

        Args:
            so_far: of the batch.
            slate_A: rows of the batch.
            number_A: what decides the chance of each, from 1 to `PRIME` - 1.
        """
        total = Drawn(np.zeros(len(slate_A), np.int64), *[np.zeros(0, np.int64)] * 3)
        if not self.wanted:
            return total
        days, place_A = np.unique(so_far.day_S[slate_A], return_inverse=True)
        versions = [self.listed.version(day) for day in days.tolist()]
        parts = [total]
        for version in dict.fromkeys(versions):
            of_version = np.array([each == version for each in versions])
            items = self._catalogue(version, int(days[of_version][0]))
            asked = np.flatnonzero(of_version[place_A])
            if len(items):
                part = self._of_one(items, so_far, slate_A[asked], number_A[asked])
                total.count_A[asked] = part.count_A
                parts.append(Drawn(part.count_A, asked[part.rows_W], part.turns_W, part.items_W))
        return Drawn(
            total.count_A,
            np.concatenate([part.rows_W for part in parts]),
            np.concatenate([part.turns_W for part in parts]),
            np.concatenate([part.items_W for part in parts]),
        )

    def of_beams(self, so_far: ShownSoFar, slate_A: Longs, beam_A: pa.ListArray) -> Drawn:
        """The first `wanted` items of each slate's beam that its user hadn't been shown.

        Args:
            so_far: of the batch; what is in the slate itself was shown, the chosen items among it.
            slate_A: rows of the batch.
            beam_A: items, best first; null: there is no beam.
        """
        layout = Layout(longs(pc.list_value_length(beam_A).fill_null(0)))
        items_W = longs(beam_A.flatten())
        slate_W = slate_A[layout.rows_V]
        shown_W = so_far.shown(slate_W, items_W[:, None], days=self.window_days)[:, 0]
        free_W = ~shown_W & self.listed.hold(items_W, so_far.day_S[slate_W])
        free = layout.kept(free_W)
        keep_W = free.places_V < self.wanted
        return Drawn(
            np.minimum(free.lengths_R, self.wanted),
            free.rows_V[keep_W],
            free.places_V[keep_W],
            items_W[free_W][keep_W],
        )

    def _of_one(self, items: Longs, so_far: ShownSoFar, slate_A: Longs, number_A: Longs) -> Drawn:
        count_A = np.zeros(len(slate_A), np.int64)
        rows, turns, drawn = [], [], []
        lacking = np.arange(len(slate_A))
        tried, tries = 0, self.wanted + self.wanted // 8 + 1
        most = min(_cells(len(items)), max(_TRIES, _TRIES_FOR_EACH * self.wanted))
        while tried < most and len(lacking):
            tries_K = np.arange(tried, min(tried + tries, most))
            place_LK = by_chance(tries_K, number_A[lacking], num_items=len(items))
            item_LK = items[np.minimum(place_LK, len(items) - 1)]
            shown_LK = so_far.shown(slate_A[lacking], item_LK, days=self.window_days)
            free_LK = (place_LK < len(items)) & ~shown_LK
            turn_LK = count_A[lacking, None] + np.cumsum(free_LK, axis=1)
            row_W, try_W = np.nonzero(free_LK & (turn_LK <= self.wanted))
            rows.append(lacking[row_W])
            turns.append(turn_LK[row_W, try_W] - 1)
            drawn.append(item_LK[row_W, try_W])
            count_A[lacking] = np.minimum(turn_LK[:, -1], self.wanted)
            lacking = lacking[count_A[lacking] < self.wanted]
            tried, tries = tried + tries, 2 * tries
        return Drawn(count_A, np.concatenate(rows), np.concatenate(turns), np.concatenate(drawn))

    def _catalogue(self, version: tuple[int, int], day: int) -> Longs:
        if version not in self._kept:
            if len(self._kept) == _VERSIONS:
                self._kept.clear()
            self._kept[version] = self.listed.on(day)
        return self._kept[version]


def by_chance(turns_K: Longs, number_L: Longs, *, num_items: int) -> Longs:
    """Places that come at some turns of each slate's order.

    `turn = column + row · columns` on a grid that holds the items; by turns the row is shifted by a
    hash of the column, and the column by a hash of the row, each of which can be undone.

    Args:
        turns_K: from 0 to the grid's cells - 1.
        number_L: what decides a slate's chance, from 1 to `PRIME` - 1.
        num_items: of the catalogue, 1 or more.
    Returns:
        Places, [L, K]: over all turns each cell once; those from `num_items` on hold no item.
    """
    rows, columns = _grid(num_items)
    row_LK, column_LK = np.divmod(np.broadcast_to(turns_K, (len(number_L), len(turns_K))), columns)
    for number in range(_ROUNDS):
        key_L1 = (number_L * pow(STEP, number + 1, PRIME) % PRIME)[:, None]
        if number % 2:
            column_LK = (column_LK + _hashed(row_LK, key_L1)) % columns
        else:
            row_LK = (row_LK + _hashed(column_LK, key_L1)) % rows
    places_LK: Longs = row_LK * columns + column_LK
    return places_LK


def _hashed(numbers_LK: Longs, key_L1: Longs) -> Longs:
    return (mixed(numbers_LK, key_L1) + STEP) ** 2 % PRIME


def _grid(num_items: int) -> tuple[int, int]:
    """Rows and columns, about as many of each, with fewer cells left over than a row has."""
    rows = isqrt(num_items - 1) + 1
    return rows, -(-num_items // rows)


def _cells(num_items: int) -> int:
    rows, columns = _grid(num_items)
    return rows * columns
