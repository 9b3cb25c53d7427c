"""Every existing semantic ID as a prefix tree in flat tensors: legal next codes are one gather.

The tree is the CSR form of STATIC (youtube/static-constraint-decoding) for lexicographically sorted
IDs. Nodes of a depth are numbered in that order, so a node's children are one run of the next
depth and need no pointer array: child number `rank` of node `s` is node `first[s] + rank`. The
items of a leaf hang below it in the same way, so two items with one ID (a bucket) are no special
case.

Legend: N items, Q levels, P nodes of a depth, K codes of a level, B rows, W beams, E seen items.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

DENSE_ENTRIES = 1 << 22
"""A level whose nodes × codes stay below this may keep a dense table (21 MB at most)."""
DENSE_FILL = 0.25
"""… and does where its busiest node has at least this share of the level's codes as children:
reading a whole row is then cheaper than gathering its children one by one."""


@dataclass(frozen=True)
class Branches:
    """The children of every node of one depth.

    Args:
        first: the children of node `s` are nodes `first[s]` to `first[s+1]` of the next depth.
            Shape [P+1], int64.
        code: the code that leads to each node of the next depth. Shape [P_next], int64.
        ranks: 0 … widest − 1, the columns that a node's children are gathered into.
        num_codes: K, the level's vocabulary.
        widest: most children that a node of this depth has.
        illegal: dense form: whether a code leads nowhere. Shape [P,K], bool; None: no dense form.
        child: dense form: the child that a code leads to, 0 where illegal. Shape [P,K], int32.
    """

    first: Tensor
    code: Tensor
    ranks: Tensor
    num_codes: int
    widest: int
    illegal: Tensor | None = None
    child: Tensor | None = None

    def to(self, device: torch.device | str) -> "Branches":
        """The same on another device."""
        moved = {
            name: value.to(device) for name, value in vars(self).items() if torch.is_tensor(value)
        }
        return replace(self, **moved)

    def parent(self, node: Tensor) -> Tensor:
        """The node of this depth that each node of the next depth hangs from, any shape."""
        return torch.searchsorted(self.first[1:], node, right=True)


@dataclass(frozen=True)
class CodeTrie:
    """The legal semantic IDs of a catalogue, and the items behind them.

    Args:
        branches: one per level, the root's first.
        leaf_first: the items of leaf `s` are slots `leaf_first[s]` to `leaf_first[s+1]`. Shape
            [leaves+1].
        slot_item: item of each slot, ascending within a leaf. Shape [N].
        item_slot: slot of each item, -1 for an item without codes. Shape [largest item + 1].
        largest_bucket: most items that share one ID.
    """

    branches: tuple[Branches, ...]
    leaf_first: Tensor
    slot_item: Tensor
    item_slot: Tensor
    largest_bucket: int

    @classmethod
    def from_codes(
        cls,
        codes: np.ndarray | Tensor,
        *,
        num_codes: tuple[int, ...] | None = None,
        items: np.ndarray | None = None,
    ) -> "CodeTrie":
        """The tree of a semantic-ID table.

        Args:
            codes: one row per item, in any order. Shape [N,Q]. A row with a negative code is an
                item without an ID: it is left out.
            num_codes: vocabulary of each level, as the model's heads have it; default: the largest
                code of the level plus one.
            items: item index of each row; default: the row's number.
        Raises:
            ValueError: no row has an ID, codes is not two-dimensional, a code is outside its
                level's vocabulary, or an item comes twice.
        Example:
            >>> trie = CodeTrie.from_codes(np.array([[0, 1], [2, 0], [0, 3]]))
            >>> trie.lookup(torch.tensor([[0, 3], [0, 2]]))
            tensor([ 1, -1])
            >>> trie.items_of(torch.tensor([1]))
            tensor([[2]])
        """
        codes = np.asarray(codes, dtype=np.int64)
        if codes.ndim != 2 or codes.shape[1] == 0:
            raise ValueError(f"codes have shape {list(codes.shape)}, expected [items, levels]")
        items = np.arange(len(codes)) if items is None else np.asarray(items, dtype=np.int64)
        has_id = (codes >= 0).all(axis=1)
        codes, items = codes[has_id], items[has_id]
        if len(codes) == 0:
            raise ValueError("no item has a semantic ID: a tree needs at least one")
        sizes = _vocabulary(codes, num_codes)
        if len(np.unique(items)) != len(items):
            raise ValueError("an item comes twice: a tree holds one semantic ID per item")
        order = np.lexsort((items, *reversed(codes.T)))
        codes, items = codes[order], items[order]
        starts = _run_starts(codes)
        branches = tuple(
            _branches(codes[below, level], above, below, size)
            for level, ((above, below), size) in enumerate(
                zip(pairwise(starts), sizes, strict=True)
            )
        )
        leaf_first = np.append(starts[-1], len(items))
        item_slot = np.full(items.max() + 1, -1, dtype=np.int64)
        item_slot[items] = np.arange(len(items))
        return cls(
            branches,
            torch.from_numpy(leaf_first),
            torch.from_numpy(items),
            torch.from_numpy(item_slot),
            int(np.diff(leaf_first).max()),
        )

    @property
    def num_levels(self) -> int:
        """Q."""
        return len(self.branches)

    @property
    def num_codes(self) -> tuple[int, ...]:
        """K of each level."""
        return tuple(branches.num_codes for branches in self.branches)

    @property
    def num_leaves(self) -> int:
        """Distinct semantic IDs."""
        return len(self.leaf_first) - 1

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.leaf_first.device

    def to(self, device: torch.device | str) -> "CodeTrie":
        """The same tree on another device."""
        return CodeTrie(
            tuple(branches.to(device) for branches in self.branches),
            self.leaf_first.to(device),
            self.slot_item.to(device),
            self.item_slot.to(device),
            self.largest_bucket,
        )

    def without(self, items: np.ndarray) -> "CodeTrie | None":
        """The tree of the other items; None where there is none.

        Args:
            items: item indices; an item without an ID is passed over.
        Example:
            >>> trie = CodeTrie.from_codes(np.array([[0, 1], [2, 0], [0, 3]]))
            >>> trie.without(np.array([0])).lookup(torch.tensor([[0, 1], [0, 3]]))
            tensor([-1,  0])
        """
        stays = np.isin(self.slot_item.cpu().numpy(), items, invert=True)
        if not stays.any():
            return None
        codes, slots = self._codes_of_slots().cpu().numpy(), self.slot_item.cpu().numpy()
        other = CodeTrie.from_codes(codes[stays], num_codes=self.num_codes, items=slots[stays])
        return other.to(self.device)

    def _codes_of_slots(self) -> Tensor:
        """The ID of the item of each slot, [N, Q]."""
        node = torch.arange(self.num_leaves, device=self.device)
        node = node.repeat_interleave(self.leaf_first.diff())
        codes = []
        for branches in reversed(self.branches):
            codes.append(branches.code[node])
            node = branches.parent(node)
        return torch.stack(codes[::-1], 1)

    def lookup(self, codes: Tensor) -> Tensor:
        """Leaf of each tuple of codes, -1 where no item has it.

        Args:
            codes: any leading shape, then Q.
        Returns:
            The leading shape, int64.
        """
        node = torch.zeros(codes.shape[:-1], dtype=torch.int64, device=codes.device)
        exists = torch.ones_like(node, dtype=torch.bool)
        for branches, code in zip(self.branches, codes.unbind(-1), strict=True):
            # The run of children is sorted by code: a search bounded by the run's ends.
            low, high = branches.first[node], branches.first[node + 1]
            end = high
            for _ in range(branches.widest.bit_length()):
                middle = (low + high) // 2
                below = branches.code[middle.clamp(max=len(branches.code) - 1)] < code
                below &= middle < high
                low, high = torch.where(below, middle + 1, low), torch.where(below, high, middle)
            found = low.clamp(max=len(branches.code) - 1)
            exists &= (low < end) & (branches.code[found] == code)
            node = torch.where(exists, found, 0)
        return torch.where(exists, node, -1)

    def items_of(self, leaf: Tensor) -> Tensor:
        """Items of each leaf, ascending, padded with -1; leaf -1 has none.

        Returns:
            The shape of `leaf`, then the largest bucket; int64.
        """
        place = torch.arange(self.largest_bucket, device=leaf.device)
        slot = self.leaf_first[leaf.clamp(min=0)].unsqueeze(-1) + place
        there = (slot < self.leaf_first[leaf.clamp(min=0) + 1].unsqueeze(-1)) & (
            leaf.unsqueeze(-1) >= 0
        )
        return torch.where(there, self.slot_item[slot.clamp(max=len(self.slot_item) - 1)], -1)

    def exhausted(self, seen_BE: Tensor, *, skip_empty: bool = True) -> list["Exhausted | None"]:
        """Nodes below which each row has nothing left, once what it has seen is taken away.

        A leaf is exhausted when all its items are seen, a node when all its children are. Masking
        these at every level, and not only the leaves, is what lets a beam of width W always
        return W unseen IDs where so many exist: no beam is spent on an empty branch.

        Args:
            seen_BE: item indices, repeats allowed, padded with -1; an item without an ID is
                passed over.
            skip_empty: look whether a depth has any at all, for which a GPU waits once; False in
                loops, where waiting costs more than masking nothing.
        Returns:
            Per depth 1…Q; None at a depth where no row has any, if that was looked at.
        """
        known = (seen_BE >= 0) & (seen_BE < len(self.item_slot))
        slot_BE = self.item_slot[torch.where(known, seen_BE, 0)]
        absent = len(self.slot_item)
        slot_BE = torch.where(known & (slot_BE >= 0), slot_BE, absent).sort(-1).values
        counts_BE = _begins_run(slot_BE) & (slot_BE < absent)
        node_BE, is_gone_BE = slot_BE, counts_BE
        if self.largest_bucket > 1:
            node_BE, is_gone_BE = _emptied(slot_BE, counts_BE, self.leaf_first)
        depths = []
        for branches in reversed(self.branches):
            parent_BE, above_gone_BE = _emptied(node_BE, is_gone_BE, branches.first)
            depths.append(Exhausted(node_BE, parent_BE, is_gone_BE))
            node_BE, is_gone_BE = parent_BE, above_gone_BE
        if not skip_empty:
            return list(depths[::-1])
        any_gone = torch.stack([depth.is_gone_BE.any() for depth in depths]).tolist()
        return [depth if gone else None for depth, gone in zip(depths, any_gone, strict=True)][::-1]


class ListedTrie:
    """A model's tree without what the catalogue no longer lists; the last one is kept."""

    def __init__(self) -> None:
        self._kept: tuple[CodeTrie, np.ndarray, CodeTrie | None] | None = None

    def of(self, trie: CodeTrie, unlisted: np.ndarray) -> CodeTrie | None:
        """`trie.without(unlisted)`; None where nothing is left."""
        if not len(unlisted):
            return trie
        kept = self._kept
        if kept is None or kept[0] is not trie or not np.array_equal(kept[1], unlisted):
            kept = self._kept = (trie, unlisted, trie.without(unlisted))
        return kept[2]


@dataclass(frozen=True)
class Exhausted:
    """Nodes of one depth that have nothing left; entries that don't count are marked, not moved.

    Args:
        node_BE: nodes, ascending within a row.
        parent_BE: the node above each.
        is_gone_BE: which entries count; the others repeat a node, or stand for none.
    """

    node_BE: Tensor
    parent_BE: Tensor
    is_gone_BE: Tensor


def _emptied(child_BE: Tensor, counts_BE: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """Parents of ascending children, and which of them have lost all their children.

    Everything stays in place and in order (parents of ascending children ascend), so one sort at
    the items serves all depths.
    """
    num_nodes = len(first) - 1
    parent_BE = torch.searchsorted(first[1:], child_BE, right=True)
    begins_BE = _begins_run(parent_BE)
    run_BE = begins_BE.cumsum(1) - 1
    lost_BE = torch.zeros_like(run_BE).scatter_add_(1, run_BE, counts_BE.long()).gather(1, run_BE)
    node_BE = parent_BE.clamp(max=num_nodes - 1)
    whole_BE = lost_BE == first[node_BE + 1] - first[node_BE]
    return parent_BE, begins_BE & whole_BE & (parent_BE < num_nodes)


def _begins_run(sorted_BE: Tensor) -> Tensor:
    """Where a value differs from the one before it in its row."""
    begins_BE = torch.ones_like(sorted_BE, dtype=torch.bool)
    begins_BE[:, 1:] = sorted_BE[:, 1:] != sorted_BE[:, :-1]
    return begins_BE


def _vocabulary(codes: np.ndarray, num_codes: tuple[int, ...] | None) -> tuple[int, ...]:
    largest = codes.max(axis=0)
    sizes = tuple(int(code) + 1 for code in largest) if num_codes is None else tuple(num_codes)
    if len(sizes) != codes.shape[1] or any(largest >= np.array(sizes)):
        raise ValueError(
            f"the largest codes are {largest.tolist()}, the vocabularies {list(sizes)}: expected "
            "one vocabulary per level, each above its largest code"
        )
    return sizes


def _run_starts(codes: np.ndarray) -> list[np.ndarray]:
    """Per depth 0…Q the row at which each node's run begins, rows sorted."""
    starts = [np.zeros(1, dtype=np.int64)]
    new = np.zeros(len(codes), dtype=bool)
    new[0] = True
    for column in codes.T:
        new[1:] |= column[1:] != column[:-1]
        starts.append(np.flatnonzero(new))
    return starts


def _branches(code: np.ndarray, above: np.ndarray, below: np.ndarray, num_codes: int) -> Branches:
    first = np.append(np.searchsorted(below, above), len(below))
    widest = int(np.diff(first).max())
    sparse = Branches(
        torch.from_numpy(first), torch.from_numpy(code), torch.arange(widest), num_codes, widest
    )
    if len(above) * num_codes > DENSE_ENTRIES or widest < DENSE_FILL * num_codes:
        return sparse
    child = torch.full((len(above), num_codes), -1, dtype=torch.int32)
    node = torch.arange(len(below))
    child[sparse.parent(node), sparse.code] = node.int()
    return replace(sparse, illegal=child < 0, child=child.clamp(min=0))
