"""Slates: what was shown to a user together, and what the user thought of it.

A slate belongs to a place in its user's history: the events strictly before its first exposure are
its context. Items of all slates lie in flat arrays, in the order in which they were shown.

S slates, N items of all of them, B rows of a batch, L events of context, M items of a slate.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.data.arrow_columns import columns_of
from training.data.histories import Histories

SHORTEST = 2
"""Items of the shortest slate: less has no order."""
COLUMNS = {
    "slate_id": pa.string(),
    "user_id": pa.string(),
    "started_at": pa.timestamp("us", tz="UTC"),
    "ended_at": pa.timestamp("us", tz="UTC"),
    "item_indices": pa.list_(pa.int32()),
    "strengths": pa.list_(pa.int8()),
    "dwell_seconds": pa.list_(pa.float32()),
}
"""What `from_arrow` reads, and the types it reads them as."""
Order = Literal["engaged", "exposed"]


@dataclass(frozen=True)
class Slates:
    """S slates; slate s holds items `offsets[s]` to `offsets[s + 1]`.

    Attributes:
        histories: where the queries are read.
        ids: the slates' own ids, shape [S].
        user: number of the user in `histories`, int64, shape [S].
        position: events of the user strictly before `started_at`, int64, shape [S].
        started_at: first exposure, microseconds since 1970 (UTC), int64, shape [S].
        ended_at: last exposure, the same.
        offsets: int64, shape [S + 1].
        items: item indices in the order shown, int32, shape [N].
        strengths: feedback from -1 to 3, 0 for exposed and no more, int8, shape [N].
        dwell: seconds, NaN where not known, float32, shape [N].
    """

    histories: Histories
    ids: np.ndarray
    user: np.ndarray
    position: np.ndarray
    started_at: np.ndarray
    ended_at: np.ndarray
    offsets: np.ndarray
    items: np.ndarray
    strengths: np.ndarray
    dwell: np.ndarray

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def from_arrow(
        cls, rows: pa.Table | Iterable[pa.RecordBatch], histories: Histories
    ) -> "Slates":
        """Slates from rows of the table `slates`, in the order of user and time.

        Args:
            rows: a table, or batches, with at least the columns of `COLUMNS`.
            histories: of all users of the rows.
        Raises:
            ValueError: a column is missing, a user has no history, lists of a slate differ in
                length, a slate has fewer than 2 items or ends before it starts.
        """
        table = columns_of(rows, COLUMNS, "slates")
        table = table.sort_by([(name, "ascending") for name in ("user_id", "started_at")])
        table = table.combine_chunks()
        columns = {name: table.column(name).combine_chunks() for name in COLUMNS}
        user = numbers_of(columns["user_id"], histories)
        lengths = _lengths(columns)
        started_at, ended_at = (
            columns[name].cast(pa.int64()).to_numpy() for name in ("started_at", "ended_at")
        )
        _require_sound(columns["slate_id"], lengths, started_at, ended_at)
        return cls(
            histories=histories,
            ids=columns["slate_id"].to_numpy(zero_copy_only=False),
            user=user,
            position=events_before(histories, user, started_at),
            started_at=started_at,
            ended_at=ended_at,
            offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
            items=columns["item_indices"].flatten().to_numpy(),
            strengths=columns["strengths"].flatten().to_numpy(),
            dwell=columns["dwell_seconds"].flatten().to_numpy(zero_copy_only=False),
        )

    @cached_property
    def lengths(self) -> np.ndarray:
        """Items of each slate, int64, shape [S]."""
        return np.diff(self.offsets)

    @cached_property
    def slates(self) -> np.ndarray:
        """The number of the slate that holds each item, int64, shape [N]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def where(self, keep: np.ndarray) -> "Slates":
        """The slates of a mask (bool, shape [S]) or of numbers, in the given order."""
        chosen = np.arange(len(self))[keep]
        lengths = self.lengths[chosen]
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[chosen] - offsets[:-1], lengths)
        per_slate = ("ids", "user", "position", "started_at", "ended_at")
        per_item = ("items", "strengths", "dwell")
        return replace(
            self,
            offsets=offsets,
            **{name: getattr(self, name)[chosen] for name in per_slate},
            **{name: getattr(self, name)[places] for name in per_item},
        )

    def are_among(self, others: "Slates") -> np.ndarray:
        """Which of the slates have the id of one of the others, bool, [S]."""
        # numpy compares every id with every other.
        ids, wanted = (pa.array(slates.ids, pa.string()) for slates in (self, others))
        has_id: np.ndarray = pc.is_in(ids, value_set=wanted).to_numpy(zero_copy_only=False)
        return has_id

    def targets(self, order: Order = "engaged", *, minimum_strength: int = 1) -> "Slates":
        """What a model is to say: items of some strength; slates without any are left out.

        Args:
            order: `engaged` is that of `by_strength`; `exposed` leaves the order in which they were
                shown.
            minimum_strength: weaker items are no target.
        """
        kept = self.keeping_items(self.strengths >= minimum_strength)
        return kept.by_strength() if order == "engaged" else kept

    def keeping_items(self, keep: np.ndarray, *, shortest: int = 1) -> "Slates":
        """The slates with only some of their items (bool, shape [N]), where `shortest` are left."""
        kept_before = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])
        kept = replace(
            self,
            offsets=kept_before[self.offsets],
            items=self.items[keep],
            strengths=self.strengths[keep],
            dwell=self.dwell[keep],
        )
        return kept.where(kept.lengths >= shortest)

    def by_strength(self, draw: int = 0) -> "Slates":
        """The slates with their items by strength, then dwell, both falling; unknown dwell last.

        Nothing says which of two items of equal strength and dwell was better, neither their ids
        nor their places, so they come in the order of a hash of (draw, user, start, item): it is
        the same in every run, and as if by chance.

        Args:
            draw: another order of such items for every number from 0 to 2^64 - 1.
        """
        dwell = np.where(np.isnan(self.dwell), -np.inf, self.dwell)
        start_S = self.started_at.astype(np.uint64)
        slate_S = mixed(mixed(mixed(draw) ^ self.user.astype(np.uint64)) ^ start_S)
        tie = mixed(np.repeat(slate_S, self.lengths) ^ self.items.astype(np.uint64))
        order = np.lexsort((tie, -dwell, -self.strengths.astype(np.int64), self.slates))
        return replace(
            self,
            items=self.items[order],
            strengths=self.strengths[order],
            dwell=self.dwell[order],
        )

    def reading(self, histories: Histories, chosen: np.ndarray) -> "Slates":
        """All slates with queries of `histories`: the `chosen` events (bool) of their own."""
        chosen_before = np.concatenate([[0], np.cumsum(chosen, dtype=np.int64)])
        starts = self.histories.offsets[self.user]
        position = chosen_before[starts + self.position] - chosen_before[starts]
        return replace(self, histories=histories, position=position)

    def padded(self, rows: np.ndarray) -> np.ndarray:
        """Items of some slates, right-padded with -1, int32, shape [B, M]."""
        columns = np.arange(int(self.lengths[rows].max(initial=0)))
        inside_BM = columns < self.lengths[rows][:, None]
        items_BM = np.full(inside_BM.shape, -1, dtype=np.int32)
        items_BM[inside_BM] = self.items[(self.offsets[rows][:, None] + columns)[inside_BM]]
        return items_BM


def numbers_of(user_ids: pa.Array, histories: Histories, what: str = "slates") -> np.ndarray:
    """The number of each user in histories, int64.

    Args:
        user_ids: of some rows.
        histories: of all of them.
        what: the rows are, in the message.
    Raises:
        ValueError: a user has none.
    """
    number = pc.index_in(user_ids, value_set=pa.array(histories.user_ids, pa.string()))
    if number.null_count:
        unknown = user_ids.filter(pc.is_null(number)).unique()
        raise ValueError(
            f"{len(unknown)} users have {what} and no history, first {unknown[0]};"
            " read both tables as of the same day"
        )
    user: np.ndarray = number.to_numpy().astype(np.int64)
    return user


def events_before(histories: Histories, user: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Events of each `user` strictly before `time` (microseconds), int64, the shape of `user`."""
    # Times are replaced by their rank, so that (user, time) fits into one integer to search for.
    distinct = np.unique(np.concatenate([histories.times, time]))
    ranks = len(distinct)
    event_key = histories.users * ranks + np.searchsorted(distinct, histories.times)
    key = user * ranks + np.searchsorted(distinct, time)
    length: np.ndarray = np.searchsorted(event_key, key, side="left") - histories.offsets[user]
    return length


def mixed(numbers: int | np.ndarray) -> np.ndarray:
    """A hash of each number, uint64: the output function of SplitMix64 (Steele et al. 2014).

    Example:
        >>> int(mixed(0)[0])  # its first output from state 0
        16294208416658607535
    """
    z = np.atleast_1d(np.asarray(numbers, dtype=np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: np.ndarray = z ^ (z >> np.uint64(31))
    return hashed


def _lengths(columns: Mapping[str, pa.Array]) -> np.ndarray:
    names = ("item_indices", "strengths", "dwell_seconds")
    lengths = [pc.fill_null(pc.list_value_length(columns[name]), 0).to_numpy() for name in names]
    differing = np.flatnonzero((lengths[0] != lengths[1]) | (lengths[0] != lengths[2]))
    if len(differing):
        row = int(differing[0])
        found = {name: int(of_rows[row]) for name, of_rows in zip(names, lengths, strict=True)}
        raise ValueError(
            f"{len(differing)} slates' lists differ in length, first"
            f" {columns['slate_id'][row]}: {found}; every item needs a strength and a dwell time,"
            " NaN where it is not known"
        )
    items_per_slate: np.ndarray = lengths[0]
    return items_per_slate


def _require_sound(
    ids: pa.Array, lengths: np.ndarray, started_at: np.ndarray, ended_at: np.ndarray
) -> None:
    problems = {
        f"have fewer than {SHORTEST} items": lengths < SHORTEST,
        "end before they start": ended_at < started_at,
    }
    found = [
        f"{wrong.sum()} slates {what}, first {ids[int(wrong.argmax())]}"
        for what, wrong in problems.items()
        if wrong.any()
    ]
    if found:
        raise ValueError("; ".join(found) + ": build_slates writes no such rows")
