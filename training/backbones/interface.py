"""What a causal sequence model offers: one pass over whole histories, and cheap continuations.

Rows are right-padded: a causal model can't see what comes after a position, so padding changes
nothing and needs no mask.

Times are optional, in seconds. They say when each position happened. What a position is asked, what
comes after it, it is asked when the next position happened; so one column more, [B, L + 1], says
when the last position is asked, and without it that is at once. Beyond a row's end times say when
the row's own question is asked, as `Contexts.times_BL` does.

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
        self, memory: Memory, lengths_B: Tensor, x_BSD: Tensor, time_B: Tensor | None = None
    ) -> tuple[Tensor, Memory]:
        """S more positions of each row, [B, S, D], and the memory of the rows with these.

        What `extend` says of the one continuation. The longer rows are `lengths_B` + S long, and
        may be continued or appended to in their turn.
        """
        ...


def longer_by(old_BHLE: Tensor, new_BHSE: Tensor, lengths_B: Tensor) -> Tensor:
    """Right-padded rows with S more positions each, behind their own ends, [B, H, L + S, E].

    Args:
        old_BHLE: rows.
        new_BHSE: what comes behind them.
        lengths_B: positions of each row that are not padding, int64.
    """
    place_BS = lengths_B[:, None] + torch.arange(new_BHSE.shape[2], device=lengths_B.device)
    room_BHTE = F.pad(old_BHLE, (0, 0, 0, new_BHSE.shape[2]))
    return room_BHTE.scatter(2, place_BS[:, None, :, None].expand_as(new_BHSE), new_BHSE)
