"""What a causal sequence model offers: one pass over whole histories, and cheap continuations.

Rows are right-padded: a causal model can't see what comes after a position, so padding changes
nothing and needs no mask.

Times are optional, in seconds. They say when each position happened. What a position is asked, what
comes after it, it is asked when the next position happened; so one column more, [B, L + 1], says
when the last position is asked, and without it that is at once. Beyond a row's end times say when
the row's own question is asked, as `Queries.times_BL` does.

B rows, L positions, W continuations of a row, S positions of each continuation, D width.
"""

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

Memory = Any
"""What a backbone keeps of a history to continue it; its own business."""


class Backbone(Protocol):
    """A causal sequence model from vectors to vectors of the same width."""

    def __call__(self, x_BLD: Tensor, times_BL: Tensor | None = None) -> Tensor:
        """One vector per position, made from it and the positions before it. [B, L, D].

        Args:
            x_BLD: what stands at each position.
            times_BL: when, int64, [B, L] or [B, L + 1]; a backbone without a notion of time
                ignores them.
        """
        ...

    def at(self, x_BLD: Tensor, place_B: Tensor, times_BL: Tensor | None = None) -> Tensor:
        """The vector of one position of each row, [B, D], for less than those of all.

        Args:
            x_BLD: what stands at each position.
            place_B: which position, int64.
            times_BL: as above.
        """
        ...

    def remember(self, x_BLD: Tensor, times_BL: Tensor | None = None) -> tuple[Tensor, Memory]:
        """The same vectors, and what `extend` needs to continue the rows."""
        ...

    def extend(
        self, memory: Memory, lengths_B: Tensor, x_BWSD: Tensor, time_B: Tensor | None = None
    ) -> Tensor:
        """Vectors of W separate continuations of each row, S positions each. [B, W, S, D].

        Equal to calling the model on row ‖ continuation, without running the row again.

        Args:
            memory: from `remember`.
            lengths_B: positions of each remembered row that are not padding, int64.
            x_BWSD: the continuations' input vectors; they don't see each other.
            time_B: when all of a row's continuations happen and are asked about, int64; given
                where `remember` was given times.
        """
        ...

    def append(
        self,
        memory: Memory,
        lengths_B: Tensor,
        x_BSD: Tensor,
        time_B: Tensor | None = None,
        *,
        in_place: bool = False,
    ) -> tuple[Tensor, Memory]:
        """S more positions of each row, [B, S, D], and the memory of the rows with these.

        What `extend` says of the one continuation. The longer rows are `lengths_B` + S long, and
        may be continued or appended to in their turn.

        Args:
            memory: from `remember`, `append`, or, if `in_place`, from `reserve`.
            lengths_B: positions of each remembered row that are not padding, int64.
            x_BSD: the rows' input vectors.
            time_B: as for `extend`.
            in_place: fill the room that was reserved instead of copying all rows; not for training.
        """
        ...

    def reserve(self, memory: Memory, positions: int) -> Memory:
        """A copy of a memory with room for so many more positions of each row."""
        ...

    def select(self, memory: Memory, rows: Tensor) -> Memory:
        """A copy of some rows of a memory, in the given order; a row may come several times."""
        ...


def reserved(old_BHLE: Tensor, positions: int) -> Tensor:
    """Right-padded rows with so many more columns, [B, H, L + positions, E]."""
    return F.pad(old_BHLE, (0, 0, 0, positions))


def selected(old_BHLE: Tensor, rows: Tensor) -> Tensor:
    """Some rows, in the given order, [len(rows), H, L, E].

    Looked up like embeddings, whose gradients are added row by row; those of `index_select` are
    added number by number, which takes several times as long on a CPU.
    """
    return F.embedding(rows, old_BHLE.flatten(1)).view(-1, *old_BHLE.shape[1:])


def placed(old_BHLE: Tensor, new_BHSE: Tensor, place_BS: Tensor, *, in_place: bool) -> Tensor:
    """Right-padded rows with S more positions each.

    Args:
        old_BHLE: rows.
        new_BHSE: what is put into them.
        place_BS: where, int64: behind the end of each row.
        in_place: write into `old_BHLE`, which has room; else into a copy that is S longer.
    """
    longer = old_BHLE if in_place else reserved(old_BHLE, new_BHSE.shape[2])
    rows_B1 = torch.arange(len(place_BS), device=place_BS.device)[:, None]
    # Whole heads at once: a third of what it takes to scatter numbers.
    longer[rows_B1, :, place_BS] = new_BHSE.transpose(1, 2)
    return longer
