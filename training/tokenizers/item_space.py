"""What a tokenizer reads of an item: its content, who took to it, or both beside each other.

Content comes from an encoder, and every item may have it. Who took to an item stands in a vector
that only items with training events have; for the others it is guessed from content by a ridge
map, so that a new item has both. Both halves have length 1, so that each counts as much.

Legend: N items, E content width, C collaborative width, D width of what is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

_RIDGE = 10.0
"""Penalty on the map's weights, in items: content and vectors have length 1."""
_NAMES = ("space.ridge", "space.turn", "space.reads_content")


@dataclass(frozen=True)
class ItemSpace:
    """How a generation joins the halves.

    Attributes:
        ridge_EC: content and a one → the collaborative half, turned, [E+1,C].
        turn_CC: rotation of the vectors of the day on which the space was made to those of the
            generation before, so that what is alike has the same place in both.
        reads_content: whether content is one of the halves.
    """

    ridge_EC: Tensor
    turn_CC: Tensor
    reads_content: bool

    @classmethod
    def of(
        cls,
        content_NE: Tensor,
        people_NC: Tensor,
        took_N: Tensor,
        *,
        reads_content: bool,
        earlier_NC: Tensor | None = None,
    ) -> Self:
        """The space of a catalogue.

        Args:
            content_NE: unit vectors; zeros where an item has no content.
            people_NC: unit vectors of the items that somebody took to.
            took_N: which these are, bool, at least one.
            reads_content: whether content is one of the halves.
            earlier_NC: the collaborative half under the generation before; zeros for an item that
                had none. None: there is no such generation, nothing is turned.
        """
        turn_CC = torch.eye(people_NC.shape[1])
        if earlier_NC is not None:
            turn_CC = procrustes(people_NC[took_N], earlier_NC[took_N])
        is_told_N = took_N & content_NE.any(1)
        ridge_EC = _ridge(_with_one(content_NE[is_told_N]), people_NC[is_told_N] @ turn_CC)
        return cls(ridge_EC, turn_CC, reads_content)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self | None:
        """The space that a tokenizer keeps; None: it reads content alone."""
        if any(name not in state for name in _NAMES):
            return None
        ridge_EC, turn_CC, reads_content = (state[name] for name in _NAMES)
        return cls(ridge_EC, turn_CC, bool(reads_content))

    @property
    def state(self) -> dict[str, Tensor]:
        """Its tensors, as a tokenizer keeps them beside its own."""
        values = (self.ridge_EC, self.turn_CC, torch.tensor(self.reads_content))
        return dict(zip(_NAMES, values, strict=True))

    def read(self, content_NE: Tensor, people_NC: Tensor, took_N: Tensor) -> Tensor:
        """What the tokenizer reads, [N,D]: content first; zeros for an item with neither half.

        Args:
            content_NE: unit vectors; zeros where an item has no content.
            people_NC: unit vectors of the day on which the space was made.
            took_N: which items have one; the others' are guessed from content.
        """
        has_content_N1 = content_NE.any(1, keepdim=True)
        guessed_NC = normalize(_with_one(content_NE) @ self.ridge_EC, dim=1) * has_content_N1
        half_NC = torch.where(took_N[:, None], people_NC @ self.turn_CC, guessed_NC)
        return torch.cat([content_NE, half_NC], 1) if self.reads_content else half_NC


def procrustes(from_NC: Tensor, to_NC: Tensor) -> Tensor:
    """The rotation (or reflection) R that makes `‖from · R − to‖` least (Schönemann 1966), [C,C].

    Example:
        >>> turned = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
        >>> procrustes(torch.eye(2), turned).round(decimals=3).abs()
        tensor([[0., 1.],
                [1., 0.]])
    """
    left_CC, _, right_CC = torch.linalg.svd((from_NC.T @ to_NC).double())
    return (left_CC @ right_CC).float()


def _with_one(content_NE: Tensor) -> Tensor:
    return torch.cat([content_NE, torch.ones(len(content_NE), 1)], 1)


def _ridge(features_NF: Tensor, wanted_NC: Tensor) -> Tensor:
    """`argmin_W ‖X W − Y‖² + λ ‖W‖²`, [F,C]; zeros without rows."""
    features, wanted = features_NF.double(), wanted_NC.double()
    gram_FF = features.T @ features + _RIDGE * torch.eye(features.shape[1], dtype=torch.float64)
    return torch.linalg.solve(gram_FF, features.T @ wanted).float()
