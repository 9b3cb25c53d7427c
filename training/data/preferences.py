"""Pairs of slates of which one is better, as arrays and as batches.

Both slates of a pair follow the same context and are of equal length.

P pairs, N items of all chosen (or all rejected) slates, B rows of a batch, L events, M places.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from training.data.arrow_columns import columns_of
from training.data.histories import Histories
from training.data.queries import PAD
from training.data.slate_batches import SlateBatch, SlatePlan, share, slate_batch
from training.data.slates import Slates, events_before, numbers_of

COLUMNS = {
    "slate_id": pa.string(),
    "user_id": pa.string(),
    "context_until": pa.timestamp("us", tz="UTC"),
    "kind": pa.string(),
    "chosen": pa.list_(pa.int32()),
    "rejected": pa.list_(pa.int32()),
}
"""What `from_arrow` reads, and the types it reads them as."""


@dataclass(frozen=True)
class Pairs:
    """P pairs; pair p holds items `offsets[p]` to `offsets[p + 1]` of both flat arrays.

    Attributes:
        chosen: the better slates, with the queries of both; `ids` are those of the slates that
            pairs were made of, several pairs each; strengths and dwell are of no meaning.
        rejected: items of the worse slates, int32, shape [N].
        kinds: why the rejected one is worse (`ranking`, `interest`, `diversity`), shape [P].
    """

    chosen: Slates
    rejected: np.ndarray
    kinds: np.ndarray

    def __len__(self) -> int:
        return len(self.chosen)

    @classmethod
    def from_arrow(cls, rows: pa.Table | Iterable[pa.RecordBatch], histories: Histories) -> "Pairs":
        """Pairs from rows of the table `preference_pairs`, in the order of user and time.

        Args:
            rows: a table, or batches, with at least the columns of `COLUMNS`.
            histories: of all users of the rows.
        Raises:
            ValueError: a column is missing, a user has no history, or the slates of a pair differ
                in length or are empty.
        """
        table = columns_of(rows, COLUMNS, "pairs")
        order = ("user_id", "context_until", "slate_id", "kind")
        table = table.sort_by([(name, "ascending") for name in order]).combine_chunks()
        columns = {name: table.column(name).combine_chunks() for name in COLUMNS}
        lengths = _lengths(columns)
        user = numbers_of(columns["user_id"], histories)
        context_until = columns["context_until"].cast(pa.int64()).to_numpy()
        num_items = int(lengths.sum())
        chosen = Slates(
            histories=histories,
            ids=columns["slate_id"].to_numpy(zero_copy_only=False),
            user=user,
            position=events_before(histories, user, context_until),
            started_at=context_until,
            ended_at=context_until,
            offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
            items=columns["chosen"].flatten().to_numpy(),
            strengths=np.zeros(num_items, dtype=np.int8),
            dwell=np.full(num_items, np.nan, dtype=np.float32),
        )
        rejected = columns["rejected"].flatten().to_numpy()
        return cls(chosen, rejected, columns["kind"].to_numpy(zero_copy_only=False))

    def where(self, keep: np.ndarray) -> "Pairs":
        """The pairs of a mask (bool, shape [P])."""
        of_item = np.repeat(keep, self.chosen.lengths)
        return Pairs(self.chosen.where(keep), self.rejected[of_item], self.kinds[keep])

    def of_slates(self, slates: Slates) -> "Pairs":
        """The pairs made of some slates: a pair trains where its slate does."""
        return self.where(self.chosen.are_among(slates))

    def keeping(self, choose: Callable[[Histories], np.ndarray]) -> "Pairs":
        """All pairs with only chosen events in their queries, as `Split.keeping` does it."""
        histories = self.chosen.histories
        is_read = choose(histories)
        return replace(self, chosen=self.chosen.reading(histories.where(is_read), is_read))

    def of_known(self, is_known_V: np.ndarray) -> "Pairs":
        """The pairs all of whose items a model knows, with the events that it knows as queries.

        Args:
            is_known_V: which items it knows, bool, for every item of histories and pairs.
        """
        unknown = ~is_known_V[self.chosen.items] | ~is_known_V[self.rejected]
        has_unknown = np.bincount(self.chosen.slates[unknown], minlength=len(self)) > 0
        return self.where(~has_unknown).keeping(lambda histories: is_known_V[histories.items])

    def first(self, count: int) -> "Pairs":
        """At most so many pairs, evenly spread over those there are."""
        numbers = np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64)
        return self.where(np.isin(np.arange(len(self)), numbers))

    @cached_property
    def as_rejected(self) -> Slates:
        """The worse slates with the queries of the better."""
        return replace(self.chosen, items=self.rejected)


@dataclass(frozen=True)
class PairBatch:
    """Queries, and for each the better and the worse slate.

    Attributes:
        queries: with the better slates; `num_targets` is that of this batch.
        slate_B2M: the better and the worse slate of each row, item indices, `PAD` beyond the end.
        pair_B: number of each pair among all that are trained on, int64; what belongs to a pair
            once and for all is kept under it.
        num_targets: pairs of the whole batch over all processes.
    """

    queries: SlateBatch
    slate_B2M: Tensor
    pair_B: Tensor
    num_targets: int
    num_own_targets: int

    @property
    def items_BL(self) -> Tensor:
        """Events of the queries."""
        return self.queries.items_BL

    @property
    def num_positions(self) -> int:
        """Positions that hold an event or an item."""
        return int((self.items_BL != PAD).sum()) + int((self.slate_B2M != PAD).sum())

    @property
    def num_cells(self) -> int:
        """Positions, padding included."""
        return int(self.items_BL.numel() + self.slate_B2M.numel())

    def to(self, device: str | torch.device) -> "PairBatch":
        """The same on another device."""
        return replace(
            self,
            queries=self.queries.to(device),
            slate_B2M=self.slate_B2M.to(device, non_blocking=True),
            pair_B=self.pair_B.to(device, non_blocking=True),
        )


def pair_batch(
    pairs: Pairs, rows: np.ndarray, history_B: np.ndarray, *, max_history: int
) -> PairBatch:
    """Some pairs with their queries; `history_B` as for `slate_batch`."""
    queries = slate_batch(pairs.chosen.where(rows), history_B, max_history=max_history)
    rejected_BM = torch.from_numpy(pairs.as_rejected.padded(rows)).long()
    slate_B2M = torch.stack([queries.slate_BM, rejected_BM], 1)
    return PairBatch(queries, slate_B2M, torch.from_numpy(rows), len(rows), len(rows))


def pair_batches(
    pairs: Pairs,
    plan: SlatePlan,
    epoch: int,
    *,
    first_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[PairBatch]:
    """The batches of an epoch from `first_step` on; of each, this process's rows.

    Where rows are fewer than processes a process gets a row whose slates are empty.

    Args:
        pairs: each comes once.
        plan: its `positions_per_item` is of both slates together.
        epoch: of it and the plan's seed the order is a function.
        first_step: batches left out at the beginning.
        rank: of this process.
        world_size: processes.
    """
    for rows, history_B in plan.groups(pairs.chosen, epoch)[first_step:]:
        own, own_history_B, is_idle = share(rows, history_B, rank, world_size)
        batch = pair_batch(pairs, own, own_history_B, max_history=plan.max_history)
        batch = replace(batch, num_targets=len(rows), num_own_targets=0 if is_idle else len(own))
        if is_idle:
            batch = replace(batch, slate_B2M=torch.full_like(batch.slate_B2M, PAD))
        yield batch


def _lengths(columns: dict[str, pa.Array]) -> np.ndarray:
    chosen, rejected = (
        pc.fill_null(pc.list_value_length(columns[name]), 0).to_numpy()
        for name in ("chosen", "rejected")
    )
    wrong = np.flatnonzero((chosen != rejected) | (chosen < 1))
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"{len(wrong)} pairs have slates of differing length or none, first of slate"
            f" {columns['slate_id'][row]}: {int(chosen[row])} chosen, {int(rejected[row])} rejected"
        )
    lengths: np.ndarray = chosen
    return lengths
