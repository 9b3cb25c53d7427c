"""UniGRF's ranking-driven enhancer: the ranking head chooses among retrieval's negatives.

Of the items drawn at a position (arXiv:2504.16454; formulas lost, docs/mechanics.md, Enhancer):
- hard-to-detect disliked items: the m with the largest retrieval score over ranking score;
- potential favourites: items that ranking scores above a quantile of its scores; they are no
  negatives.

The number of negatives stays what it was: what is left out is replaced by other drawn items.

N positions, P items drawn for each, R negatives, m of them hard, E training events.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.settings.unigrf import UnigrfConfig

PROBED_EVENTS = 8192
"""Events whose hard negatives are kept for a look at how often they come back."""
QUANTILE_SCORES = 65_536
"""Of a batch's scores so many say where the favourites begin."""
_NOBODY = -1
_LATER_ITEMS = 64
"""Later events of a row that hard negatives are looked for in."""
COUNTED = (
    "drawn",
    "favourites",
    "hard",
    "hard_in_both",
    "hard_before",
    "hard_later",
    "favourites_later",
    "random_later",
)


def retrieval_scores(logits_NP: Tensor) -> Tensor:
    """Sigmoids of similarities, standardised over what was drawn at a position.

    A sigmoid of cosines lies in [.27, .73], one of cosines over the temperature at 0 or 1.
    """
    centred_NP = logits_NP - logits_NP.mean(1, keepdim=True)
    # Not `std`, which takes longer on a CPU than everything else here.
    variance_N1 = centred_NP.square().mean(1, keepdim=True)
    return centred_NP.mul_(variance_N1.clamp(min=1e-12).rsqrt()).sigmoid_()


def least_favourite(ranking_NP: Tensor, share: float) -> Tensor:
    """Score above which that share of the scores lies; infinite where there are no scores.

    Args:
        ranking_NP: ranking scores; NaN where there is none.
        share: of the scores, 0 to 1.
    Example:
        >>> scores = torch.tensor([[0.1, 0.2, float("nan")], [0.3, 0.4, 0.5]])
        >>> least_favourite(scores, 0.4)
        tensor(0.3000)
    """
    scores = ranking_NP[~ranking_NP.isnan()]
    scores = scores[:: max(1, -(-len(scores) // QUANTILE_SCORES))]
    below = len(scores) - round(share * len(scores))
    if not share or not below:
        return torch.full_like(ranking_NP.sum(), torch.inf)
    return scores.kthvalue(below).values


@dataclass(frozen=True)
class Chosen:
    """Which of the items drawn a position's loss is made of.

    Attributes:
        negative_NR: columns of the drawn items, int64.
        counts_NR: whether the column is a negative; False where too few were left.
        favourite_NP: drawn items that ranking takes for favourites, bool; they are negatives only
            where too few other items were drawn.
        hard_Nm: items found hard in this step, int64; -1 where fewer were.
    """

    negative_NR: Tensor
    counts_NR: Tensor
    favourite_NP: Tensor
    hard_Nm: Tensor


def choose(
    config: UnigrfConfig,
    drawn_NP: Tensor,
    target_N: Tensor,
    logits_NP: Tensor,
    ranking_NP: Tensor,
) -> Chosen:
    """Negatives, favourites and hard items among those drawn.

    Args:
        config: m, R, and how scores are combined.
        drawn_NP: item numbers; -1 for none.
        target_N: the right item of each position.
        logits_NP: similarities over the temperature.
        ranking_NP: ranking scores in (0, 1); NaN where there is none: not hard, no favourite.
    """
    may_count_NP = (drawn_NP != target_N[:, None]) & (drawn_NP >= 0)
    favourite_NP = may_count_NP & (ranking_NP > least_favourite(ranking_NP, config.favourite_share))
    relative_NP = retrieval_scores(logits_NP) / ranking_NP.clamp(min=1e-6)
    may_be_hard_NP = may_count_NP & ~favourite_NP & ~ranking_NP.isnan()
    relative_NP = relative_NP.masked_fill(~may_be_hard_NP, -torch.inf)
    hard = relative_NP.topk(min(config.hard_negatives, relative_NP.shape[1]), 1)
    hard_Nm = drawn_NP.gather(1, hard.indices).masked_fill(hard.values.isneginf(), _NOBODY)
    is_hard_NP = torch.zeros_like(may_count_NP)
    is_hard_NP = is_hard_NP.scatter(1, hard.indices, ~hard.values.isneginf())
    others_NP = may_count_NP & ~favourite_NP & ~is_hard_NP
    # Favourites where nobody else is left: without negatives nothing is learnt.
    in_turn = (is_hard_NP, others_NP, favourite_NP, ~may_count_NP)
    negative_NR = _first_of(in_turn, min(config.num_negatives, drawn_NP.shape[1]))
    return Chosen(negative_NR, may_count_NP.gather(1, negative_NR), favourite_NP, hard_Nm)


def _first_of(in_turn: Sequence[Tensor], count: int) -> Tensor:
    """`count` columns of each row: those of the first mask, then of the next, and so on.

    Within a mask the first ones; together the masks hold every column once. int64, ascending.
    """
    taken_NP, left_N1 = torch.zeros_like(in_turn[0]), count
    for mask_NP in in_turn:
        taken_NP = taken_NP | (mask_NP & (mask_NP.cumsum(1, dtype=torch.int32) <= left_N1))
        left_N1 = count - taken_NP.sum(1, keepdim=True)
        if not left_N1.any():
            break
    return taken_NP.nonzero()[:, 1].view(-1, count)


class Enhancer:
    """Counts of what was chosen, and what was hard of some events, to see it come back."""

    def __init__(self, config: UnigrfConfig) -> None:
        self._stride = 1
        self._hard_Em = torch.empty(0, config.hard_negatives, dtype=torch.int32)
        self._counts = torch.zeros(len(COUNTED), dtype=torch.float64)

    def prepare(self, num_events: int) -> None:
        """Make room for the hard negatives of some of a training set's events."""
        self._stride = max(1, -(-num_events // PROBED_EVENTS))
        shape = (-(-num_events // self._stride), self._hard_Em.shape[1])
        self._hard_Em = torch.full(shape, _NOBODY, dtype=torch.int32)

    def state(self) -> dict[str, Tensor]:
        """What a fit that goes on needs."""
        return {"hard": self._hard_Em, "counts": self._counts}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._hard_Em, self._counts = state["hard"].clone(), state["counts"].clone()

    def note(
        self,
        chosen: Chosen,
        drawn_NP: Tensor,
        event_N: Tensor | None,
        scored_N: Tensor,
        later_NL: Tensor,
    ) -> None:
        """Remember what was found hard, and count.

        Args:
            chosen: of this step.
            drawn_NP: what it was chosen from.
            event_N: number of each position's training event; None: nothing is remembered.
            scored_N: positions where ranking scored anything, bool.
            later_NL: items that come later in the position's row, -1 beyond its end.
        """
        hard_Nm = chosen.hard_Nm
        random_Nm = drawn_NP[:, : hard_Nm.shape[1]]
        is_hard_Nm = hard_Nm >= 0
        before, both = (
            torch.zeros((), device=hard_Nm.device),
            torch.zeros((), device=hard_Nm.device),
        )
        if event_N is not None and len(self._hard_Em) and hard_Nm.shape[1]:
            tracked_N = (event_N % self._stride == 0) & scored_N
            rows = event_N[tracked_N] // self._stride
            self._hard_Em = self._hard_Em.to(hard_Nm.device)
            last_Nm, now_Nm = self._hard_Em[rows].long(), hard_Nm[tracked_N]
            again = (now_Nm[:, :, None] == last_Nm[:, None]) & (now_Nm >= 0)[:, :, None]
            had_N1 = (last_Nm >= 0).any(1, keepdim=True)
            before, both = ((now_Nm >= 0) & had_N1).sum(), again.any(2).sum()
            self._hard_Em[rows] = now_Nm.to(torch.int32)
        later_N1L = later_NL[:, None, :_LATER_ITEMS]
        row_F, column_F = chosen.favourite_NP.nonzero().unbind(1)
        favourite_F1, later_FL = drawn_NP[row_F, column_F][:, None], later_N1L[row_F, 0]
        self._counts = self._counts.to(hard_Nm.device) + torch.stack(
            [
                (drawn_NP >= 0).sum(),
                chosen.favourite_NP.sum(),
                is_hard_Nm.sum(),
                both,
                before,
                ((hard_Nm[:, :, None] == later_N1L) & is_hard_Nm[:, :, None]).any(2).sum(),
                (favourite_F1 == later_FL).any(1).sum(),
                ((random_Nm[:, :, None] == later_N1L).any(2) & is_hard_Nm).sum(),
            ]
        )

    def end_epoch(self, total: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """Close an epoch: how many drawn items were favourites, and what became of hard ones.

        Args:
            total: sums numbers over all processes.
        """
        found = dict(zip(COUNTED, total(self._counts.cpu().numpy()).tolist(), strict=True))
        self._counts = torch.zeros_like(self._counts)
        shares = {
            "favourites_share": ("favourites", "drawn"),
            "hard_repeated_share": ("hard_in_both", "hard_before"),
            "hard_later_share": ("hard_later", "hard"),
            "favourites_later_share": ("favourites_later", "favourites"),
            "random_later_share": ("random_later", "hard"),
        }
        return {name: found[a] / found[b] for name, (a, b) in shares.items() if found[b]}
