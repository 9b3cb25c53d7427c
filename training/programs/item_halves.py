"""Content and who took to it, side by side: what tokenizers read of a catalogue.

Legend: N items, E content width, C collaborative width.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from training.data.histories import Histories
from training.programs.errors import ProgramError
from training.programs.item_vectors import ItemVectors
from training.tokenizers.item_space import ItemSpace


@dataclass(frozen=True)
class CollaborativeVectors:
    """A day's vectors of items that somebody took to before the border.

    Args:
        vectors: of these items.
        num_users: who took to each, int64, [N].
    """

    vectors: ItemVectors
    num_users: np.ndarray

    @classmethod
    def from_arrow(cls, rows: pa.Table) -> "CollaborativeVectors":
        """Rows of `collaborative_vectors` of one day."""
        rows = rows.sort_by("item_index")
        vectors = ItemVectors.from_arrow("collaborative", rows)
        return cls(vectors, rows["num_users"].to_numpy())

    @property
    def num_events(self) -> int:
        """Pairs of a user and an item that the vectors were made from."""
        return int(self.num_users.sum())

    def refuse_leak(self, train: Histories) -> None:
        """Make sure that the vectors know of no more than may be trained on.

        Raises:
            ProgramError: of an item more users are counted than there are in the histories.
        """
        size = 1 + int(max(self.vectors.item_indices.max(), train.items.max(initial=0)))
        taken = np.unique(train.users.astype(np.int64) * size + train.items)
        most = np.bincount(taken % size, minlength=size)[self.vectors.item_indices]
        leaking = int((self.num_users > most).sum())
        if leaking:
            raise ProgramError(
                f"{leaking:,} of {len(most):,} rows of 'collaborative_vectors' know of events that "
                "are held out (evaluation.protocol, holdout_days, validation_days); run "
                "build_collaborative_vectors again under these settings"
            )


@dataclass(frozen=True)
class ItemHalves:
    """Both halves of every item that has one of them.

    Args:
        encoder: of the content.
        item_indices: ascending, int64, [N].
        content_NE: unit vectors; zeros for an item of which nothing but its id is known.
        people_NC: unit vectors; zeros for an item that nobody took to.
    """

    encoder: str
    item_indices: np.ndarray
    content_NE: Tensor
    people_NC: Tensor

    @classmethod
    def of(cls, content: ItemVectors, people: CollaborativeVectors) -> "ItemHalves":
        """The halves of a catalogue."""
        told = content.with_content()
        indices = np.union1d(content.item_indices, people.vectors.item_indices)
        return cls(
            content.encoder,
            indices,
            placed(told.item_indices, told.embeddings_ND, indices),
            placed(people.vectors.item_indices, people.vectors.embeddings_ND, indices),
        )

    @property
    def took_N(self) -> Tensor:
        """Which items somebody took to, bool."""
        return self.people_NC.any(1)

    def space(self, *, reads_content: bool, earlier: ItemVectors | None) -> ItemSpace:
        """How a generation joins the halves.

        Args:
            reads_content: whether content is one of them.
            earlier: the collaborative half under the generation before.
        """
        earlier_NC = None
        if earlier is not None:
            earlier_NC = placed(earlier.item_indices, earlier.embeddings_ND, self.item_indices)
        return ItemSpace.of(
            self.content_NE,
            self.people_NC,
            self.took_N,
            reads_content=reads_content,
            earlier_NC=earlier_NC,
        )

    def read_by(self, space: ItemSpace) -> ItemVectors:
        """What a tokenizer reads; items of which there is nothing to read are left out."""
        joined_ND = space.read(self.content_NE, self.people_NC, self.took_N)
        is_there_N = joined_ND.any(1)
        return ItemVectors(
            self.encoder, self.item_indices[is_there_N.numpy()], joined_ND[is_there_N]
        )


def placed(indices: np.ndarray, vectors_MD: Tensor, among: np.ndarray) -> Tensor:
    """Vectors at their items' places, zeros elsewhere, [N,D].

    Args:
        indices: the items of the vectors; those that are not among the others are left out.
        vectors_MD: theirs.
        among: ascending, [N].
    """
    placed_ND = torch.zeros(len(among), vectors_MD.shape[1])
    is_there_M = np.isin(indices, among)
    places = np.searchsorted(among, indices[is_there_M])
    placed_ND[torch.from_numpy(places)] = vectors_MD[torch.from_numpy(is_there_M)]
    return placed_ND
