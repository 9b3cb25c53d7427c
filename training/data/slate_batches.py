"""Slates as batches with little padding: histories, and the items to be said at places in them.

A causal model that reads a history once has read the queries of all slates along it. So slates of
one user that lie near each other share a row of events; histories of like length then share a
batch, up to a budget of padded positions. Batches and their order are a function of (seed, epoch)
alone, and so is the order of items that nothing tells apart: a run can be resumed at any step of
any epoch.

H histories of a batch, L events of the longest, B slates, M items of the longest, S slates of all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from training.data.histories import SECOND
from training.data.queries import PAD, Queries
from training.data.slates import Slates

SLATES_OF_A_HISTORY = 16
"""Most slates that share a row of events: a batch can't be smaller than a row with its slates."""


@dataclass(frozen=True)
class SlateBatch:
    """Histories, and slates that followed some of their events, both right-padded.

    Attributes:
        items_HL: events, oldest first, item indices, int64, `PAD` beyond the end.
        strengths_HL: feedback of each event, int8 from -1 to 3; 0 beyond a row's end.
        times_HL: seconds since 1970 (UTC), int64; beyond a row's end the time of its last slate.
        history_B: the row of each slate's events, int64, ascending.
        lengths_B: events of that row that were before the slate, int64; later ones it can't see.
        asked_at_B: when the slate began, seconds, int64.
        slate_BM: item indices in the order to be said, int64, `PAD` beyond the end.
        num_targets: items of the whole batch over all processes: what a summed loss is divided by,
            so that a step is the same on one process and on several.
    """

    items_HL: Tensor
    strengths_HL: Tensor
    times_HL: Tensor
    history_B: Tensor
    lengths_B: Tensor
    asked_at_B: Tensor
    slate_BM: Tensor
    num_targets: int

    @property
    def items_BL(self) -> Tensor:
        """The events, under the name that the loop knows."""
        return self.items_HL

    @property
    def is_alone(self) -> bool:
        """Whether each slate has a row of events of its own, in the same order."""
        return len(self.items_HL) == len(self.history_B)

    @property
    def is_target_BM(self) -> Tensor:
        """Which places of the slates hold an item."""
        return self.slate_BM != PAD

    @property
    def num_own_targets(self) -> int:
        """Items in the slates of this process."""
        return int(self.is_target_BM.sum())

    @property
    def num_positions(self) -> int:
        """Positions that hold an event or an item."""
        return int((self.items_HL != PAD).sum()) + self.num_own_targets

    @property
    def num_cells(self) -> int:
        """Positions, padding included."""
        return int(self.items_HL.numel() + self.slate_BM.numel())

    def to(self, device: str | torch.device) -> "SlateBatch":
        """The same on another device."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        moved = {
            name: value.to(device, non_blocking=True)
            for name, value in values.items()
            if torch.is_tensor(value)
        }
        return replace(self, **moved)


def slate_batch(slates: Slates, history_B: np.ndarray, *, max_history: int) -> SlateBatch:
    """Slates with the events before them; `num_targets` counts their items.

    Args:
        slates: B of them.
        history_B: 0 to H - 1, ascending; slates of one number are of one user and share the events
            before the last of them.
        max_history: most events of a row; an earlier slate of a row sees fewer.
    """
    position_B = slates.position
    # Slates of a row may have begun at one moment: the last in the row need not be the furthest.
    end_H = np.zeros(int(history_B.max(initial=-1)) + 1, dtype=np.int64)
    np.maximum.at(end_H, history_B, position_B)
    last_H = np.searchsorted(history_B, np.arange(len(end_H)), side="right") - 1
    asked_at_B = slates.started_at // SECOND
    queries = Queries.at(
        slates.histories,
        slates.user[last_H],
        end_H,
        max_history=max_history,
        exclude_seen=False,
        asked_at=asked_at_B[last_H],
    )
    slate_BM = torch.from_numpy(slates.padded(np.arange(len(slates)))).long()
    return SlateBatch(
        torch.from_numpy(queries.items_BL).long(),
        torch.from_numpy(queries.strengths_BL),
        torch.from_numpy(queries.times_BL),
        torch.from_numpy(history_B),
        torch.from_numpy(position_B - (end_H - queries.lengths_B)[history_B]),
        torch.from_numpy(asked_at_B),
        slate_BM,
        int((slate_BM != PAD).sum()),
    )


@dataclass(frozen=True)
class SlatePlan:
    """How slates become batches.

    Attributes:
        max_history: most events kept as context.
        positions_per_batch: largest H x L + weight x B x M over all processes.
        least_history: events that a slate sees at least, of those it has, if its row is shared;
            None: every slate sees all it may, and only those that follow the same event share.
        positions_per_item: what an item of a slate weighs, in events of context.
        draws_ties: whether items of equal strength and dwell come in another order each epoch
            (`Slates.by_strength`): a slate is a set as far as feedback tells them apart.
        seed: of the ties in length, of the order of batches, and of what `draws_ties` draws.
    """

    max_history: int
    positions_per_batch: int
    least_history: int | None = None
    positions_per_item: int = 1
    draws_ties: bool = False
    seed: int = 0

    def batches(
        self,
        slates: Slates,
        epoch: int,
        *,
        first_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> Iterator[SlateBatch]:
        """The batches of an epoch from `first_step` on; of each, this process's slates.

        Every process gets at least one slate of every batch: one without targets where rows are
        fewer than processes.
        """
        for rows, history_B in self.groups(slates, epoch)[first_step:]:
            own, own_history_B, is_idle = share(rows, history_B, rank, world_size)
            said = slates.where(own)
            if self.draws_ties:
                said = said.by_strength(self._draw(epoch))
            batch = slate_batch(said, own_history_B, max_history=self.max_history)
            if is_idle:
                batch = replace(batch, slate_BM=torch.full_like(batch.slate_BM, PAD))
            yield replace(batch, num_targets=int(slates.lengths[rows].sum()))

    def _draw(self, epoch: int) -> int:
        """The number that an epoch's order of ties hangs on; 0 is that of no epoch in practice."""
        return int(np.random.SeedSequence((self.seed, epoch)).generate_state(1, np.uint64)[0])

    def groups(self, slates: Slates, epoch: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Slates of each batch, and the row of events of each: longest rows first, in any order."""
        generator = np.random.default_rng((self.seed, epoch))
        order, history_S = self._histories(slates)
        starts = np.flatnonzero(np.diff(history_S, prepend=-1))
        counts = np.diff(np.append(starts, len(order)))
        if not len(starts):
            return []
        events = np.maximum.reduceat(slates.position[order], starts).clip(max=self.max_history)
        longest = np.maximum.reduceat(slates.lengths[order], starts)
        by_length = np.lexsort((generator.random(len(starts)), -longest, -events))
        cells = np.stack([events, counts, longest], 1)[by_length].tolist()
        groups, first = [], 0
        while first < len(cells):
            stop, width, rows, largest = first, cells[first][0], 0, 0
            while stop < len(cells):
                largest, rows = max(largest, cells[stop][2]), rows + cells[stop][1]
                cost = (stop - first + 1) * width + rows * self.positions_per_item * largest
                if stop > first and cost > self.positions_per_batch:
                    break
                stop += 1
            groups.append(by_length[first:stop])
            first = stop
        return [
            _slates_of(groups[place], order, starts, counts)
            for place in generator.permutation(len(groups))
        ]

    def _histories(self, slates: Slates) -> tuple[np.ndarray, np.ndarray]:
        """Slates in the order of their rows of events, and the row of each in this order, [S]."""
        number = slates.position
        if self.least_history is not None:
            # Row n ends at most `step` events after row n - 1, and is `max_history` long.
            step = max(1, self.max_history - self.least_history)
            number = np.maximum(0, -((self.max_history - number) // step))
        order = np.lexsort((slates.started_at, slates.position, slates.user))
        user, number = slates.user[order], number[order]
        is_new = (np.diff(user, prepend=-1) != 0) | (np.diff(number, prepend=-1) != 0)
        first = np.flatnonzero(is_new)
        place = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
        return order, np.cumsum(is_new | (place % SLATES_OF_A_HISTORY == 0)) - 1


def share(
    rows: np.ndarray, history_B: np.ndarray, rank: int, world_size: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """What one of several processes has of a batch: whole rows of events with their slates.

    Returns:
        Its slates, the row of each from 0, and whether it has none and only stands by with one.
    """
    is_own = history_B % world_size == rank
    if not is_own.any():
        return rows[:1], np.zeros(1, dtype=np.int64), True
    return rows[is_own], history_B[is_own] // world_size, False


def _slates_of(
    histories: np.ndarray, order: np.ndarray, starts: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The slates of some rows of events, and the row of each among these."""
    count = counts[histories]
    history_B = np.repeat(np.arange(len(histories)), count)
    place = np.arange(len(history_B)) - np.repeat(np.cumsum(count) - count, count)
    return order[np.repeat(starts[histories], count) + place], history_B


def slate_queries(
    slates: Slates, *, max_history: int, exclude_seen: bool, rows: int = 4096
) -> Iterator[Queries]:
    """The queries of slates in order, at most `rows` at a time, asked when each slate began."""
    for start in range(0, len(slates), rows):
        part = slice(start, start + rows)
        yield Queries.at(
            slates.histories,
            slates.user[part],
            slates.position[part],
            max_history=max_history,
            exclude_seen=exclude_seen,
            asked_at=slates.started_at[part] // SECOND,
        )
