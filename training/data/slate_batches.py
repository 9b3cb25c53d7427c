"""Slates as batches with little padding: contexts, and the items that are to be said after them.

Slates with contexts of like length, then of like size, share a batch, up to a budget of padded
positions. Batches and their order are a function of (seed, epoch) alone: a run can be resumed at
any step of any epoch.

B rows of a batch, L events of its longest context, M items of its longest slate.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from training.data.contexts import PAD, Contexts
from training.data.histories import SECOND
from training.data.slates import Slates


@dataclass(frozen=True)
class SlateBatch:
    """Contexts and the slates that followed them, both right-padded.

    Attributes:
        items_BL: events before the slate, oldest first, item indices, int64, `PAD` beyond the end.
        strengths_BL: feedback of each event, int8 from -1 to 3; 0 beyond a row's end.
        times_BL: seconds since 1970 (UTC), int64; beyond a row's end the time of the slate.
        asked_at_B: when the slate began, seconds, int64.
        lengths_B: events of each context, int64.
        slate_BM: item indices in the order to be said, int64, `PAD` beyond the end.
        num_targets: items of the whole batch over all processes: what a summed loss is divided by,
            so that a step is the same on one process and on several.
    """

    items_BL: Tensor
    strengths_BL: Tensor
    times_BL: Tensor
    asked_at_B: Tensor
    lengths_B: Tensor
    slate_BM: Tensor
    num_targets: int

    @property
    def is_target_BM(self) -> Tensor:
        """Which places of the slates hold an item."""
        return self.slate_BM != PAD

    @property
    def num_own_targets(self) -> int:
        """Items in the slates of this process's rows."""
        return int(self.is_target_BM.sum())

    @property
    def num_positions(self) -> int:
        """Positions that hold an event or an item."""
        return int((self.items_BL != PAD).sum()) + self.num_own_targets

    @property
    def num_cells(self) -> int:
        """Positions, padding included."""
        return self.items_BL.numel() + self.slate_BM.numel()

    def to(self, device: str | torch.device) -> "SlateBatch":
        """The same on another device."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        moved = {
            name: value.to(device, non_blocking=True)
            for name, value in values.items()
            if torch.is_tensor(value)
        }
        return replace(self, **moved)


def slate_batch(slates: Slates, rows: np.ndarray, *, max_history: int) -> SlateBatch:
    """Some slates with their contexts; `num_targets` counts the items of these rows."""
    contexts = Contexts.at(
        slates.histories,
        slates.user[rows],
        slates.position[rows],
        max_history=max_history,
        exclude_seen=False,
        asked_at=slates.started_at[rows] // SECOND,
    )
    slate_BM = torch.from_numpy(slates.padded(rows)).long()
    return SlateBatch(
        torch.from_numpy(contexts.items_BL).long(),
        torch.from_numpy(contexts.strengths_BL),
        torch.from_numpy(contexts.times_BL),
        torch.from_numpy(contexts.asked_at_B),
        torch.from_numpy(contexts.lengths_B),
        slate_BM,
        int((slate_BM != PAD).sum()),
    )


@dataclass(frozen=True)
class SlatePlan:
    """How slates become batches.

    Attributes:
        max_history: most recent events kept as context.
        positions_per_batch: largest B x (L + weight x M) over all processes.
        positions_per_item: what an item of a slate weighs, in events of context.
        seed: of the ties in length and of the order.
    """

    max_history: int
    positions_per_batch: int
    positions_per_item: int = 1
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
        """The batches of an epoch from `first_step` on; of each, this process's rows.

        Every process gets at least one row of every batch: one without targets where rows are
        fewer than processes.
        """
        for rows in self.groups(slates, epoch)[first_step:]:
            own = rows[rank::world_size]
            batch = slate_batch(slates, own if len(own) else rows[:1], max_history=self.max_history)
            if len(own) == 0:
                batch = replace(batch, slate_BM=torch.full_like(batch.slate_BM, PAD))
            yield replace(batch, num_targets=int(slates.lengths[rows].sum()))

    def groups(self, slates: Slates, epoch: int) -> list[np.ndarray]:
        """Slates of each batch: longest contexts first within the budget, then in any order."""
        generator = np.random.default_rng((self.seed, epoch))
        events = np.minimum(slates.position, self.max_history)
        order = np.lexsort((generator.random(len(slates)), -slates.lengths, -events))
        cells = np.stack([events, slates.lengths], 1)[order].tolist()
        groups, start = [], 0
        while start < len(order):
            stop, longest, largest = start, cells[start][0], 0
            while stop < len(order):
                largest = max(largest, cells[stop][1])
                cost = longest + self.positions_per_item * largest
                if stop > start and (stop - start + 1) * cost > self.positions_per_batch:
                    break
                stop += 1
            groups.append(order[start:stop])
            start = stop
        return [groups[place] for place in generator.permutation(len(groups))]


def slate_contexts(
    slates: Slates, *, max_history: int, exclude_seen: bool, rows: int = 4096
) -> Iterator[Contexts]:
    """The contexts of slates in order, at most `rows` at a time, asked when each slate began."""
    for start in range(0, len(slates), rows):
        part = slice(start, start + rows)
        yield Contexts.at(
            slates.histories,
            slates.user[part],
            slates.position[part],
            max_history=max_history,
            exclude_seen=exclude_seen,
            asked_at=slates.started_at[part] // SECOND,
        )
