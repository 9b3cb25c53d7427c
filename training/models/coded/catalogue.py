"""The dense head: cosines of what is expected with every item.

    P( v | y ) = softmax_v( cos(H y, e_v) / τ )

over the catalogue, or over the target and some drawn items. e_v are the vectors that histories are
read with.

N positions, D width, V items.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.losses.next_item import chunked_softmax_loss
from training.models.coded.items import ItemVectors

LEAST_LENGTH = 1e-6
"""A shorter vector has no direction."""


class CatalogueHead(nn.Module):
    """From what is expected next to every item.

    Args:
        width: D.
        temperature: τ.
        num_negatives: items drawn for a step of training, uniformly; 0: all are compared.
    """

    def __init__(self, width: int, *, temperature: float, num_negatives: int) -> None:
        super().__init__()
        self.temperature, self.num_negatives = temperature, num_negatives
        self.expected = nn.Linear(width, width)
        nn.init.eye_(self.expected.weight)
        nn.init.zeros_(self.expected.bias)

    def loss(self, y_ND: Tensor, items: ItemVectors, target_N: Tensor) -> Tensor:
        """Nats, summed over positions; a drawn item that is the right one doesn't count."""
        x_ND = self.query(y_ND)
        if not self.num_negatives:
            return chunked_softmax_loss(x_ND, directions(items()), target_N)
        num_items, num_targets = len(items.codes_VQ), len(target_N)
        negative_R = torch.randint(num_items, (self.num_negatives,), device=x_ND.device)
        vectors = directions(items.of(torch.cat([target_N, negative_R])))
        positive_N = (x_ND * vectors[:num_targets]).sum(-1)
        negative_NR = x_ND @ vectors[num_targets:].T
        negative_NR = negative_NR.masked_fill(target_N[:, None] == negative_R, -torch.inf)
        logits_NS = torch.cat([positive_N[:, None], negative_NR], 1).float()
        return (logits_NS.logsumexp(1) - positive_N).sum()

    def logits(self, y: Tensor, items: ItemVectors) -> Tensor:
        """Of every item, [..., V]."""
        return self.query(y) @ directions(items()).T

    def query(self, y: Tensor) -> Tensor:
        """Vectors whose inner products with `directions` of items are logits, [..., D]."""
        return F.normalize(self.expected(y), dim=-1, eps=LEAST_LENGTH) / self.temperature


def directions(items: Tensor) -> Tensor:
    """Item vectors at unit length, [..., D]."""
    return F.normalize(items, dim=-1, eps=LEAST_LENGTH)
