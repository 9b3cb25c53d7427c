"""What item vectors say of what people do next, before any code or model is made of them.

Legend: N items, D width, P pairs of items.
"""

import numpy as np
import torch
from torch import Tensor

from training.data.histories import Histories
from training.data.splits import Targets

MOST_PAIRS = 50_000
_OTHERS = 64
"""Random items that a pair is held against."""


def pairs_met(targets: Targets) -> np.ndarray:
    """Items that somebody took to one after the other, the second a target: int64, [P,2].

    At most `MOST_PAIRS`, evenly spread. Mere exposures and repeats are none.
    """
    histories = targets.histories
    events = targets.events[targets.position > 0]
    took = histories.strengths != 0
    events = events[took[events] & took[events - 1]]
    pairs_P2: np.ndarray = np.stack(
        [histories.items[events - 1], histories.items[events]], 1
    ).astype(np.int64)
    pairs_P2 = pairs_P2[pairs_P2[:, 0] != pairs_P2[:, 1]]
    every = max(1, -(-len(pairs_P2) // MOST_PAIRS))
    return np.ascontiguousarray(pairs_P2[::every])


def is_unseen(pairs_P2: np.ndarray, train: Histories) -> np.ndarray:
    """Which pairs nobody took to one after the other in training, bool, [P]."""
    follows = train.positions[1:] > 0
    numbers = train.items.astype(np.int64)
    size = 1 + max(int(numbers.max(initial=0)), int(pairs_P2.max(initial=0)))
    seen = np.unique((numbers[:-1] * size + numbers[1:])[follows])
    is_new_P: np.ndarray = ~np.isin(pairs_P2[:, 0] * size + pairs_P2[:, 1], seen)
    return is_new_P


def nearer_than_random(vectors_ND: Tensor, pairs_P2: Tensor, *, seed: int = 0) -> float:
    """How often the second item of a pair is nearer to the first, by cosine, than a random one.

    Ties count half; .5 is chance, 1 the best there is.

    Args:
        vectors_ND: of every item that a pair names.
        pairs_P2: at least one.
        seed: of the random items.
    Example:
        >>> near = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.0, 1.0]])
        >>> nearer_than_random(near, torch.tensor([[2, 3]])) > 0.6
        True
    """
    unit_ND = torch.nn.functional.normalize(vectors_ND.float(), dim=1)
    generator = torch.Generator().manual_seed(seed)
    others_PO = torch.randint(len(unit_ND), (len(pairs_P2), _OTHERS), generator=generator)
    won = 0.0
    for first, pairs in enumerate(pairs_P2.split(2_000)):
        others = others_PO[first * 2_000 :][: len(pairs)]
        anchors_PD = unit_ND[pairs[:, 0]]
        given_P1 = (anchors_PD * unit_ND[pairs[:, 1]]).sum(1, keepdim=True)
        random_PO = torch.einsum("pd,pod->po", anchors_PD, unit_ND[others])
        won += float(((given_P1 > random_PO) + 0.5 * (given_P1 == random_PO)).mean(1).sum())
    return won / len(pairs_P2)
