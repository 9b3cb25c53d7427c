"""Which items belong together: what a contrastive tokenizer pulls together.

Two sources (docs/mechanics.md, Positives of the tokenizer): an item's nearest neighbours by
embedding, and pairs given, as items that the same people took to.

Legend: N items, D embedding width, S neighbours of an item, P pairs, B anchors of a batch.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from training.tokenizers.quantize import chunks


def neighbours(embeddings_ND: Tensor, rows_B: Tensor, count: int) -> Tensor:
    """The most similar other items, by cosine, of some rows, best first.

    Returns:
        Shape [B,S], int64; S = `count`, or N − 1 where that is less.
    Example:
        >>> neighbours(torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0]]), torch.tensor([0]), 5)
        tensor([[1, 2]])
    """
    unit_ND = torch.nn.functional.normalize(embeddings_ND.float(), dim=1)
    width = min(count, len(unit_ND) - 1)
    found_BS = torch.empty((len(rows_B), width), dtype=torch.int64, device=unit_ND.device)
    for chunk in chunks(len(rows_B), len(unit_ND)):
        rows = rows_B[chunk]
        cosine = unit_ND[rows] @ unit_ND.T
        cosine[torch.arange(len(rows), device=rows.device), rows] = -2
        found_BS[chunk] = cosine.topk(width, dim=1).indices
    return found_BS


def pairs_among(pairs_P2: Tensor, is_kept_N: Tensor) -> Tensor:
    """The pairs of which both items are kept, as rows of the kept items alone.

    Example:
        >>> pairs = torch.tensor([[0, 2], [1, 2], [3, 2]])
        >>> pairs_among(pairs, torch.tensor([True, False, True, True])).tolist()
        [[0, 1], [2, 1]]
    """
    place_N = is_kept_N.long().cumsum(0) - 1
    return place_N[pairs_P2[is_kept_N[pairs_P2].all(1)]]


@dataclass(frozen=True)
class Positives:
    """From what the positive of an anchor is drawn.

    Args:
        neighbours_NS: nearest neighbours by embedding; S may be 0.
        offsets_N: [N+1]; the items given for item i are `partners_P[offsets[i]:offsets[i + 1]]`.
        partners_P: second items of the pairs.
        given_share: how often an anchor that has both is drawn a given one.
    """

    neighbours_NS: Tensor
    offsets_N: Tensor
    partners_P: Tensor
    given_share: float

    @classmethod
    def of(
        cls, embeddings_ND: Tensor, pairs_P2: Tensor | None, *, num_neighbours: int, share: float
    ) -> Self:
        """Positives of a catalogue.

        Args:
            embeddings_ND: on any device.
            pairs_P2: rows (anchor, positive), int64; None where nobody gives any.
            num_neighbours: S; 0 leaves the embeddings out.
            share: of given ones, from 0 to 1.
        Raises:
            ValueError: a pair names a row that is not there, or an item and itself.
        """
        num_items = len(embeddings_ND)
        pairs_P2 = torch.zeros((0, 2), dtype=torch.int64) if pairs_P2 is None else pairs_P2.cpu()
        wrong = (pairs_P2 < 0).any(1) | (pairs_P2 >= num_items).any(1)
        wrong |= pairs_P2[:, 0] == pairs_P2[:, 1]
        if wrong.any():
            raise ValueError(
                f"{int(wrong.sum())} of {len(pairs_P2)} pairs are not of two of the {num_items} "
                f"items, the first {pairs_P2[wrong][0].tolist()}"
            )
        order = pairs_P2[:, 0].sort(stable=True).indices
        count_N = torch.bincount(pairs_P2[:, 0], minlength=num_items)
        rows = torch.arange(num_items, device=embeddings_ND.device)
        return cls(
            neighbours(embeddings_ND, rows, num_neighbours).cpu(),
            torch.cat([torch.zeros(1, dtype=torch.int64), count_N.cumsum(0)]),
            pairs_P2[order, 1],
            share,
        )

    def draw(self, anchors_B: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A positive for each anchor; the anchor itself where it has none.

        Args:
            anchors_B: rows, on the CPU.
            generator: on the CPU.
        Returns:
            Rows [B], and whether they are positives [B], bool.
        """
        positive_B, has_B = anchors_B, torch.zeros(len(anchors_B), dtype=torch.bool)
        draws_XB = torch.rand((3, len(anchors_B)), generator=generator)
        num_neighbours = self.neighbours_NS.shape[1]
        if num_neighbours:
            place_B = (draws_XB[0] * num_neighbours).long()
            positive_B, has_B = self.neighbours_NS[anchors_B, place_B], ~has_B
        if len(self.partners_P):
            start_B = self.offsets_N[anchors_B]
            count_B = self.offsets_N[anchors_B + 1] - start_B
            # A uniform draw times a count may round up to the count itself.
            place_B = (draws_XB[1] * count_B).long().clamp(max=(count_B - 1).clamp(min=0))
            is_given_B = (count_B > 0) & (~has_B | (draws_XB[2] < self.given_share))
            partner_B = self.partners_P[(start_B + place_B).clamp(max=len(self.partners_P) - 1)]
            positive_B = torch.where(is_given_B, partner_B, positive_B)
            has_B = has_B | is_given_B
        return positive_B, has_B

    def facts(self) -> dict[str, int]:
        """How many items have a positive of each source."""
        has_given_N = self.offsets_N.diff() > 0
        has_neighbours_N = torch.full_like(has_given_N, self.neighbours_NS.shape[1] > 0)
        return {
            "pairs_given": len(self.partners_P),
            "items_with_given": int(has_given_N.sum()),
            "items_with_neighbours": int(has_neighbours_N.sum()),
            "items_without_positive": int((~has_given_N & ~has_neighbours_N).sum()),
        }
