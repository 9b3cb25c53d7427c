"""What a causal sequence model offers: one pass over whole histories, and cheap continuations.

B rows, L positions, W continuations of a row, S positions of each continuation, D width.
"""

from typing import Any, Protocol

from torch import Tensor

Memory = Any
"""What a backbone keeps of a history to continue it; its own business."""


class Backbone(Protocol):
    """A causal sequence model from vectors to vectors of the same width."""

    def __call__(self, x_BLD: Tensor) -> Tensor:
        """One vector per position, made from it and the positions before it. [B, L, D].

        Rows are right-padded: a causal model can't see what comes after a position, so padding
        changes nothing and needs no mask.
        """
        ...

    def remember(self, x_BLD: Tensor) -> tuple[Tensor, Memory]:
        """The same vectors, and what `extend` needs to continue the rows."""
        ...

    def extend(self, memory: Memory, lengths_B: Tensor, x_BWSD: Tensor) -> Tensor:
        """Vectors of W separate continuations of each row, S positions each. [B, W, S, D].

        Equal to calling the model on row ‖ continuation, without running the row again.

        Args:
            memory: from `remember`.
            lengths_B: positions of each remembered row that are not padding, int64.
            x_BWSD: the continuations' input vectors; they don't see each other.
        """
        ...
