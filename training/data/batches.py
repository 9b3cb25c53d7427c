"""Histories as batches in which every event is a target exactly once and little is padding.

A history that fits into one window is one row. A longer one is cut: each later window begins with
`overlap` events that were targets of the window before and now are context only, so its first
target is predicted from `overlap` events, its last from `max_history`. Where the cuts fall is drawn
anew each epoch, so that no event is always the one with the short context.

Windows of like length share a batch, up to a budget of padded positions. Windows, batches and their
order are a function of (seed, epoch) alone: a run can be resumed at any step of any epoch.

W windows, B rows of a batch, L events of its longest row.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from training.data.histories import SECOND, Histories
from training.data.splits import Targets

PAD = -1


@dataclass(frozen=True)
class Windows:
    """Pieces of histories; window w spans events `starts[w]` to `stops[w]` of the flat arrays.

    Attributes:
        starts: first event, int64, shape [W].
        targets_from: first event that is a target; those before it are context only.
        stops: one past the last event; all from `targets_from` on are targets.
    """

    starts: np.ndarray
    targets_from: np.ndarray
    stops: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Events of each window, int64, shape [W]."""
        lengths: np.ndarray = self.stops - self.starts
        return lengths


@dataclass(frozen=True)
class Batch:
    """Rows of events, right-padded; position t is to be predicted from the positions before it.

    Attributes:
        items_BL: item indices, int64, `PAD` beyond a row's end.
        strengths_BL: feedback of each event, int8 from -1 to 3; 0 beyond a row's end.
        times_BL: when each happened, seconds since 1970 (UTC), int64; 0 beyond a row's end.
        is_target_BL: which positions count in the loss.
        num_targets: targets of the whole batch over all processes: what a summed loss is divided
            by, so that a step is the same on one process and on several.
        first_event_B: number of each row's first event among the events that are trained on,
            int64; None where the rows are of no epoch of training.
    """

    items_BL: Tensor
    strengths_BL: Tensor
    times_BL: Tensor
    is_target_BL: Tensor
    num_targets: int
    first_event_B: Tensor | None = None

    @property
    def num_positions(self) -> int:
        """Positions that hold an event."""
        return int((self.items_BL != PAD).sum())

    @property
    def num_own_targets(self) -> int:
        """Targets in the rows of this process."""
        return int(self.is_target_BL.sum())

    @property
    def num_cells(self) -> int:
        """Positions, padding included."""
        return int(self.items_BL.numel())

    @property
    def events_BL(self) -> Tensor | None:
        """Number of the event at each position; of no meaning beyond a row's end."""
        if self.first_event_B is None:
            return None
        columns = torch.arange(self.items_BL.shape[1], device=self.items_BL.device)
        return self.first_event_B[:, None] + columns

    def to(self, device: str) -> "Batch":
        """The same on another device."""
        first_event_B = self.first_event_B
        return Batch(
            self.items_BL.to(device, non_blocking=True),
            self.strengths_BL.to(device, non_blocking=True),
            self.times_BL.to(device, non_blocking=True),
            self.is_target_BL.to(device, non_blocking=True),
            self.num_targets,
            None if first_event_B is None else first_event_B.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class BatchPlan:
    """How histories become batches.

    Attributes:
        max_history: events of context that the last target of a full window sees; a window spans
            one event more.
        overlap: events of context that the first target of a later window sees.
        positions_per_batch: largest B x L over all processes.
        seed: of the cuts, the ties in length and the order.
    """

    max_history: int
    overlap: int
    positions_per_batch: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= self.max_history:
            raise ValueError(
                f"overlap is {self.overlap}, expected 0 to max_history = {self.max_history}"
            )

    def windows(self, histories: Histories, epoch: int) -> Windows:
        """Windows of all histories that have events, by user, then time."""
        span, stride = self.max_history + 1, self.max_history + 1 - self.overlap
        lengths = histories.lengths
        generator = np.random.default_rng((self.seed, epoch, 0))
        shift = generator.integers(0, stride, histories.num_users)
        first = np.where(lengths > span, span - shift, lengths)
        later = -(-(lengths - first) // stride)
        count = np.where(lengths > 0, 1 + later, 0)
        user = np.repeat(np.arange(histories.num_users), count)
        place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        stops = np.minimum(first[user] + place * stride, lengths[user])
        targets_from = np.where(place > 0, first[user] + (place - 1) * stride, 0)
        starts = np.maximum(targets_from - np.where(place > 0, self.overlap, 0), 0)
        base = histories.offsets[user]
        return Windows(base + starts, base + targets_from, base + stops)

    def questions(self, targets: Targets) -> Windows:
        """A window for each target, which ends with it: what a model is asked with."""
        starts = targets.events - np.minimum(targets.position, self.max_history)
        return Windows(starts, targets.events, targets.events + 1)

    def batches(
        self,
        histories: Histories,
        epoch: int,
        *,
        only: Targets | None = None,
        first_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> Iterator[Batch]:
        """The batches of an epoch from `first_step` on; of each, this process's rows.

        Every process gets at least one row of every batch: one without targets where rows are
        fewer than processes.

        Args:
            histories: whose events are targets.
            epoch: from 0.
            only: events of them that alone are targets, each in a row of its own; None: all are.
            first_step: from 0.
            rank: of this process.
            world_size: processes.
        """
        windows = self.windows(histories, epoch) if only is None else self.questions(only)
        for rows in self._groups(windows, epoch)[first_step:]:
            num_targets = int((windows.stops[rows] - windows.targets_from[rows]).sum())
            own = rows[rank::world_size]
            shown = own if len(own) else rows[:1]
            batch = _batch(histories, windows, shown, num_targets, numbered=True)
            if len(own) == 0:
                batch = replace(batch, is_target_BL=torch.zeros_like(batch.is_target_BL))
            yield batch

    def num_batches(self, histories: Histories, epoch: int, *, only: Targets | None = None) -> int:
        """Steps of an epoch; arguments as of `batches`."""
        windows = self.windows(histories, epoch) if only is None else self.questions(only)
        return len(self._groups(windows, epoch))

    def only(self, targets: Targets, *, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        """Batches in which only the given targets count, each once, with context as in training."""
        histories = targets.histories
        marked = np.zeros(histories.num_events, dtype=bool)
        marked[targets.events] = True
        marked_before = np.concatenate([[0], np.cumsum(marked)])
        windows = self.windows(histories, 0)
        wanted = marked_before[windows.stops] > marked_before[windows.targets_from]
        windows = Windows(
            windows.starts[wanted], windows.targets_from[wanted], windows.stops[wanted]
        )
        for rows in self._groups(windows, 0)[rank::world_size]:
            yield _batch(histories, windows, rows, len(targets), marked)

    def _groups(self, windows: Windows, epoch: int) -> list[np.ndarray]:
        """Windows of each batch: longest first within the budget, then the batches in any order."""
        generator = np.random.default_rng((self.seed, epoch, 1))
        lengths = windows.lengths
        order = np.lexsort((generator.random(len(lengths)), -lengths))
        groups, start = [], 0
        while start < len(order):
            rows = max(1, self.positions_per_batch // int(lengths[order[start]]))
            groups.append(order[start : start + rows])
            start += rows
        return [groups[place] for place in generator.permutation(len(groups))]


def _batch(
    histories: Histories,
    windows: Windows,
    rows: np.ndarray,
    num_targets: int,
    marked: np.ndarray | None = None,
    *,
    numbered: bool = False,
) -> Batch:
    starts, lengths = windows.starts[rows], windows.lengths[rows]
    columns = np.arange(int(lengths.max()))
    inside_BL = columns < lengths[:, None]
    events_BL = starts[:, None] + columns
    inside = events_BL[inside_BL]
    items_BL = np.full(events_BL.shape, PAD, dtype=np.int64)
    items_BL[inside_BL] = histories.items[inside]
    strengths_BL = np.zeros(events_BL.shape, dtype=np.int8)
    strengths_BL[inside_BL] = histories.strengths[inside]
    times_BL = np.zeros(events_BL.shape, dtype=np.int64)
    times_BL[inside_BL] = histories.times[inside] // SECOND
    is_target_BL = inside_BL & (events_BL >= windows.targets_from[rows][:, None])
    if marked is not None:
        is_target_BL[is_target_BL] = marked[events_BL[is_target_BL]]
    return Batch(
        torch.from_numpy(items_BL),
        torch.from_numpy(strengths_BL),
        torch.from_numpy(times_BL),
        torch.from_numpy(is_target_BL),
        num_targets,
        torch.from_numpy(starts) if numbered else None,
    )
