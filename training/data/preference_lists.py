"""What was shown together, in tiers of feedback, beside what was not shown: lists to compare.

S lists, N items of all of them, E events, U users.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.data.arrow_columns import columns_of
from training.data.histories import Histories
from training.data.slates import numbers_of

PSEUDO = 4
"""The tier of what was not shown."""
COLUMNS = {
    "user_id": pa.string(),
    "context_until": pa.timestamp("us", tz="UTC"),
    "ended_at": pa.timestamp("us", tz="UTC"),
    "item_indices": pa.list_(pa.int32()),
    "tiers": pa.list_(pa.int8()),
}
"""What `from_arrow` reads, and the types it reads them as."""


@dataclass(frozen=True)
class PreferenceLists:
    """S lists by user and time; list s holds items `offsets[s]` to `offsets[s + 1]`.

    Attributes:
        user: number of the user in the histories, int64, [S].
        started_at: when its slate began, microseconds since 1970 (UTC), int64, [S].
        ended_at: when its last item was shown, the same.
        offsets: int64, [S + 1].
        items: item indices, the best tier first, int32, [N].
        tiers: 1, the best, to 4, what was not shown; int8, [N].
    """

    user: np.ndarray
    started_at: np.ndarray
    ended_at: np.ndarray
    offsets: np.ndarray
    items: np.ndarray
    tiers: np.ndarray

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def from_arrow(
        cls, rows: pa.Table | Iterable[pa.RecordBatch], histories: Histories
    ) -> "PreferenceLists":
        """Lists from rows of the table `preference_lists`.

        Args:
            rows: a table, or batches, with at least the columns of `COLUMNS`.
            histories: of all users of the rows.
        Raises:
            ValueError: a column is missing, a user has no history, or items and tiers of a list
                differ in number.
        """
        table = columns_of(rows, COLUMNS, "preference lists").combine_chunks()
        columns = {name: table.column(name).combine_chunks() for name in COLUMNS}
        lengths, others = (
            pc.fill_null(pc.list_value_length(columns[name]), 0).to_numpy().astype(np.int64)
            for name in ("item_indices", "tiers")
        )
        if not np.array_equal(lengths, others):
            raise ValueError(f"{(lengths != others).sum()} lists have not one tier for each item")
        lists = cls(
            user=numbers_of(columns["user_id"], histories),
            started_at=columns["context_until"].cast(pa.int64()).to_numpy(),
            ended_at=columns["ended_at"].cast(pa.int64()).to_numpy(),
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            items=columns["item_indices"].flatten().to_numpy(),
            tiers=columns["tiers"].flatten().to_numpy(),
        )
        return lists.where(np.lexsort((lists.started_at, lists.user)))

    def where(self, rows: np.ndarray) -> "PreferenceLists":
        """The lists of a mask or of numbers, in the given order."""
        chosen = np.arange(len(self))[rows]
        lengths = np.diff(self.offsets)[chosen]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        place = np.arange(offsets[-1]) + np.repeat(self.offsets[chosen] - offsets[:-1], lengths)
        return PreferenceLists(
            self.user[chosen],
            self.started_at[chosen],
            self.ended_at[chosen],
            offsets,
            self.items[place],
            self.tiers[place],
        )

    def keeping(self, choose: Callable[[Histories], np.ndarray]) -> "PreferenceLists":
        """The same: what is read of a history changes no list."""
        return self

    def over_before(self, train: Histories, known: Histories) -> "PreferenceLists":
        """The lists that were over before the first event of their user that is held out.

        Args:
            train: what weights may see: of each user of `known` the first events.
            known: all events.
        """
        is_known_U = train.lengths < known.lengths
        first_U = np.full(known.num_users, np.iinfo(np.int64).max)
        at = known.offsets[:-1][is_known_U] + train.lengths[is_known_U]
        first_U[is_known_U] = known.times[at]
        return self.where(self.ended_at < first_U[self.user])

    def without_wanted_later(self, histories: Histories) -> "PreferenceLists":
        """The lists without pseudo-exposures that the user took to afterwards.

        A model's own beam holds them often: what it says comes next may come a little later.

        Args:
            histories: of the users that the lists number; what weights may see.
        """
        num_items = int(max(self.items.max(initial=0), histories.items.max(initial=0))) + 1
        key_E = histories.users * num_items + histories.items
        order = np.lexsort((histories.times, key_E))
        key_E, time_E = key_E[order], histories.times[order]
        list_V = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        key_V = self.user[list_V] * num_items + self.items
        # An item's latest event.
        place_V = np.searchsorted(key_E, key_V, side="right") - 1
        found_V = np.append(key_E, -1)[place_V] == key_V
        is_later_V = found_V & (np.append(time_E, 0)[place_V] >= self.started_at[list_V])
        keep_V = ~(is_later_V & (self.tiers == PSEUDO))
        kept = np.concatenate([[0], np.cumsum(keep_V)])
        return replace(
            self, offsets=kept[self.offsets], items=self.items[keep_V], tiers=self.tiers[keep_V]
        )

    def of_events(self, histories: Histories) -> np.ndarray:
        """The list that each event lies in, by user and time: int64, [E]; -1 where it is in none.

        Args:
            histories: of the users that the lists number.
        """
        if not len(self):
            return np.full(histories.num_events, -1)
        times = np.unique(np.concatenate([histories.times, self.started_at]))
        list_key_S = self.user * len(times) + np.searchsorted(times, self.started_at)
        event_key_E = histories.users * len(times) + np.searchsorted(times, histories.times)
        latest_E = np.searchsorted(list_key_S, event_key_E, side="right") - 1
        list_E = np.maximum(latest_E, 0)
        is_in_E = (latest_E >= 0) & (self.user[list_E] == histories.users)
        is_in_E &= histories.times <= self.ended_at[list_E]
        return np.where(is_in_E, list_E, -1)
