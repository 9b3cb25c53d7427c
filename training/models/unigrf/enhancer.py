"""UniGRF's ranking-driven enhancer: the ranking head chooses among retrieval's negatives.

Of the items drawn at a position (arXiv:2504.16454; formulas lost, docs/mechanics.md, Enhancer):
- hard-to-detect disliked items: the m with the largest relative score, high where retrieval likes
  an item that ranking does not;
- potential favourites: items that ranking scores above a threshold; they are no negatives.

The number of negatives stays what it was: what is left out is replaced by other drawn items.

N positions, P items drawn for each, R negatives, m of them hard, E training events.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.settings.unigrf import UnigrfConfig

MAX_REMEMBERED = 200_000_000
"""Item numbers kept between epochs; more are refused."""
PROBED_EVENTS = 8192
"""in_step: events whose hard negatives are kept for a look at how often they come back."""
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
    "random_later",
)


def relative_scores(retrieval: Tensor, ranking: Tensor, form: str) -> Tensor:
    """High where retrieval likes what ranking does not; both scores are in (0, 1).

    Example:
        >>> retrieval, ranking = torch.tensor([0.75, 0.75, 0.25]), torch.tensor([0.25, 0.75, 0.25])
        >>> relative_scores(retrieval, ranking, "ratio").tolist()
        [3.0, 1.0, 1.0]
        >>> relative_scores(retrieval, ranking, "difference").tolist()
        [0.5, 0.0, 0.0]
        >>> [round(score, 3) for score in relative_scores(retrieval, ranking, "amplified").tolist()]
        [1.237, 0.75, 0.25]
    """
    if form == "ratio":
        return retrieval / ranking.clamp(min=1e-6)
    if form == "difference":
        return retrieval - ranking
    return retrieval * (retrieval - ranking).exp()


def retrieval_scores(logits_NP: Tensor, temperature: float, kind: str) -> Tensor:
    """Similarities as scores in (0, 1).

    Args:
        logits_NP: similarities over the temperature.
        temperature: what they were divided by.
        kind: see `UnigrfConfig.retrieval_score`.
    """
    if kind == "plain":
        return (logits_NP * temperature).sigmoid()
    if kind == "tempered":
        return logits_NP.sigmoid()
    centred_NP = logits_NP - logits_NP.mean(1, keepdim=True)
    # Not `std`, which takes longer on a CPU than everything else here.
    variance_N1 = centred_NP.square().mean(1, keepdim=True)
    return centred_NP.mul_(variance_N1.clamp(min=1e-12).rsqrt()).sigmoid_()


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

    @property
    def counts_NP(self) -> Tensor:
        """Which of the drawn items are negatives, bool."""
        nothing = torch.zeros_like(self.favourite_NP)
        return nothing.scatter(1, self.negative_NR, self.counts_NR)


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
        drawn_NP: item numbers; -1 for none. Under `carried` the first m columns are those of the
            last epoch, and are negatives before all others.
        target_N: the right item of each position.
        logits_NP: similarities over the temperature.
        ranking_NP: ranking scores in (0, 1); NaN where there is none: not hard, no favourite.
    """
    may_count_NP = (drawn_NP != target_N[:, None]) & (drawn_NP >= 0)
    favourite_NP = may_count_NP & (ranking_NP > config.favourite_threshold)
    if config.favourites == "off":
        favourite_NP = torch.zeros_like(favourite_NP)
    retrieval_NP = retrieval_scores(logits_NP, config.temperature, config.retrieval_score)
    relative_NP = relative_scores(retrieval_NP, ranking_NP, config.relative_score)
    may_be_hard_NP = may_count_NP & ~favourite_NP & ~ranking_NP.isnan()
    relative_NP = relative_NP.masked_fill(~may_be_hard_NP, -torch.inf)
    hard = relative_NP.topk(min(config.hard_negatives, relative_NP.shape[1]), 1)
    hard_Nm = drawn_NP.gather(1, hard.indices).masked_fill(hard.values.isneginf(), _NOBODY)
    is_hard_NP = torch.zeros_like(may_count_NP)
    if config.mining == "in_step":
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
    """What is remembered of earlier epochs, and counts of what was chosen."""

    def __init__(self, config: UnigrfConfig) -> None:
        self._config = config
        self._stride = 1
        self._hard_Em = torch.empty(0, config.hard_negatives, dtype=torch.int32)
        self._counts = torch.zeros(len(COUNTED), dtype=torch.float64)

    def prepare(self, num_events: int) -> None:
        """Make room for the hard negatives of a training set's events; forgets what there was.

        Raises:
            ValueError: more item numbers than memory is meant to hold, or several processes, of
                which each would know its own rows' only.
        """
        carried = self._config.mining == "carried"
        if carried and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError(
                "mining=carried needs one process: an event is another process's from epoch to"
                " epoch; set mining to in_step, or start torchrun with one process"
            )
        wanted = num_events * self._config.hard_negatives
        if carried and wanted > MAX_REMEMBERED:
            raise ValueError(
                f"carrying {self._config.hard_negatives} hard negatives of each of"
                f" {num_events:,} events keeps {wanted:,} numbers, at most {MAX_REMEMBERED:,} are"
                " kept: set mining to in_step, or a smaller hard_negatives"
            )
        self._stride = 1 if carried else max(1, -(-num_events // PROBED_EVENTS))
        rows = -(-num_events // self._stride)
        shape = (rows, self._config.hard_negatives)
        self._hard_Em = torch.full(shape, _NOBODY, dtype=torch.int32)

    def state(self) -> dict[str, Tensor]:
        """What a fit that goes on needs."""
        return {"hard": self._hard_Em, "counts": self._counts}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._hard_Em, self._counts = state["hard"].clone(), state["counts"].clone()

    def draw(self, num_items: int, event_N: Tensor | None, N: int, device: torch.device) -> Tensor:
        """Items for each position: under `carried` the last epoch's hard ones first, then random.

        Args:
            num_items: V.
            event_N: number of each position's training event; None where it is of no epoch.
            N: how many positions.
            device: where.
        """
        config = self._config
        if config.mining == "in_step":
            return torch.randint(num_items, (N, config.pool), device=device)
        # Some more than are needed, in place of those that turn out to be favourites.
        spare = config.num_negatives // 4 if config.favourites != "off" else 0
        shape = (N, config.num_negatives + spare)
        random_NP = torch.randint(num_items, shape, device=device)
        if event_N is None or not len(self._hard_Em):
            return random_NP
        self._hard_Em = self._hard_Em.to(device)
        return torch.cat([self._hard_Em[event_N].long(), random_NP], 1)

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
        # As many of the last drawn, which are random whatever the mining.
        random_Nm = drawn_NP[:, drawn_NP.shape[1] - hard_Nm.shape[1] :]
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
        self._counts = self._counts.to(hard_Nm.device) + torch.stack(
            [
                (drawn_NP >= 0).sum(),
                chosen.favourite_NP.sum(),
                is_hard_Nm.sum(),
                both,
                before,
                ((hard_Nm[:, :, None] == later_N1L) & is_hard_Nm[:, :, None]).any(2).sum(),
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
            "random_later_share": ("random_later", "hard"),
        }
        return {name: found[a] / found[b] for name, (a, b) in shares.items() if found[b]}
