"""What is compared in a step of training: a few contexts, each with candidates in tiers.

Of each context the columns are the item that came next, the first phase's own best candidates, and
the list that the event lies in. An item stands in the tier that the list gives it; what came next
is in the first where no list says otherwise, own candidates that were not shown in the last.

B rows of a batch, L positions, G contexts, λ own candidates, M items of a list, C = 1 + λ + M, E
events that train.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.data.batches import Batch
from training.data.preference_lists import PreferenceLists
from training.data.queries import PAD
from training.losses.tiered import TIERS


@dataclass(frozen=True)
class EventLists:
    """The preference lists of the events that train, as a step looks them up.

    Attributes:
        list_E: number of each event's list, int64; -1: it has none.
        items_SM: items of each list, int64, `PAD` beyond its end and for items without codes.
        tiers_SM: their tiers, int64, 0 for none.
    """

    list_E: Tensor
    items_SM: Tensor
    tiers_SM: Tensor

    @classmethod
    def of(cls, lists: PreferenceLists, list_E: np.ndarray, is_known_V: np.ndarray) -> "EventLists":
        """Lists, padded to the longest of those that an event lies in.

        Args:
            lists: that are over before anything is held out.
            list_E: of `PreferenceLists.of_events`.
            is_known_V: which items have codes.
        """
        used, number_E = np.unique(list_E[list_E >= 0], return_inverse=True)
        lists = lists.where(used)
        lengths = np.diff(lists.offsets)
        width = int(lengths.max(initial=0))
        inside_SM = np.arange(width) < lengths[:, None]
        items_SM = np.full(inside_SM.shape, PAD, dtype=np.int64)
        tiers_SM = np.zeros(inside_SM.shape, dtype=np.int64)
        is_known = is_known_V[lists.items]
        items_SM[inside_SM] = np.where(is_known, lists.items, PAD)
        tiers_SM[inside_SM] = np.where(is_known, lists.tiers, 0)
        places_E = np.full(len(list_E), -1)
        places_E[list_E >= 0] = number_E
        return cls(*map(torch.from_numpy, (places_E, items_SM, tiers_SM)))

    def at(self, event_G: Tensor) -> tuple[Tensor, Tensor]:
        """Items and tiers of some events' lists, [G, M] both; `PAD` and 0 without a list."""
        list_G = self.list_E[event_G.cpu()]
        if not len(self.items_SM):
            none = torch.zeros((len(list_G), 0), dtype=torch.int64)
            return none, none
        has_none_G1 = (list_G < 0)[:, None]
        place_G = list_G.clamp(min=0)
        return (
            self.items_SM[place_G].masked_fill(has_none_G1, PAD),
            self.tiers_SM[place_G].masked_fill(has_none_G1, 0),
        )


@dataclass(frozen=True)
class Offered:
    """What the first phase has answered in the place of some events, on a device.

    Attributes:
        place_E: of each event that trains, int64; -1: it was not asked for.
        items_Tλ: candidates, best first, int64, `PAD` beyond those there are.
        log_probs_Tλ: what it says of them; 0 beside `PAD`.
    """

    place_E: Tensor
    items_Tλ: Tensor
    log_probs_Tλ: Tensor

    def at(self, event_G: Tensor) -> tuple[Tensor, Tensor]:
        """Candidates of some events that were asked for, and what is said of them, [G, λ] both."""
        place_G = self.place_E[event_G]
        return self.items_Tλ[place_G], self.log_probs_Tλ[place_G]


@dataclass(frozen=True)
class Contexts:
    """Some of a batch's targets, and what is compared in the place of each.

    Attributes:
        row_G, column_G: where they are in the batch.
        items_GC: what came next, the λ own candidates, then the list; `PAD` for none.
        tiers_GC: 1 to 4; 0: not compared.
        num_own: λ.
    """

    row_G: Tensor
    column_G: Tensor
    items_GC: Tensor
    tiers_GC: Tensor
    num_own: int

    @property
    def own(self) -> slice:
        """The columns of the own candidates."""
        return slice(1, 1 + self.num_own)

    @property
    def tiers_without_repeats(self) -> Tensor:
        """The tiers, in which what came next does not count among the own candidates again."""
        is_repeat_GC = self.items_GC == self.items_GC[:, :1]
        is_repeat_GC[:, 0] = False
        return self.tiers_GC.masked_fill(is_repeat_GC, 0)


def drawn(batch: Batch, count: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of so many targets of a batch, by chance; fewer where there are fewer."""
    row_N, column_N = batch.is_target_BL.nonzero(as_tuple=True)
    places_G = torch.randperm(len(row_N), device="cpu")[:count].to(row_N.device)
    return row_N[places_G], column_N[places_G]


def contexts_of(
    batch: Batch,
    row_G: Tensor,
    column_G: Tensor,
    own_Gλ: Tensor,
    lists: EventLists | None,
) -> Contexts:
    """Tiers of what came next, own candidates and lists.

    What the row holds before a context is seen, and what it holds after it is wanted later: neither
    is compared, but for the list's own items that come later.

    Args:
        batch: of training.
        row_G: rows of the contexts.
        column_G: and their columns.
        own_Gλ: own candidates, each once.
        lists: of the events; None: there are none.
    """
    device = batch.items_BL.device
    items_GL = batch.items_BL[row_G]
    target_G1 = items_GL.gather(1, column_G[:, None])
    columns_L = torch.arange(items_GL.shape[1], device=device)
    seen_GL = items_GL.masked_fill(columns_L >= column_G[:, None], PAD)

    list_GM = tier_GM = own_Gλ.new_zeros((len(row_G), 0))
    events_BL = batch.events_BL
    if lists is not None and events_BL is not None:
        list_GM, tier_GM = (x.to(device) for x in lists.at(events_BL[row_G, column_G]))
    tier_GM = tier_GM.masked_fill(_among(list_GM, seen_GL) | (list_GM == PAD), 0)

    listed_target_GM = list_GM == target_G1
    target_tier_G1 = (
        (tier_GM * listed_target_GM).amax(1, keepdim=True)
        if list_GM.shape[1]
        else (torch.zeros_like(target_G1))
    )
    target_tier_G1 = torch.where(target_tier_G1 > 0, target_tier_G1, 1)
    tier_GM = tier_GM.masked_fill(listed_target_GM, 0)

    is_later_Gλ = _among(own_Gλ, items_GL)
    tier_Gλ = torch.full_like(own_Gλ, TIERS).masked_fill(is_later_Gλ | (own_Gλ == PAD), 0)
    if list_GM.shape[1]:
        same_GλM = (own_Gλ[:, :, None] == list_GM[:, None]) & (tier_GM > 0)[:, None]
        listed_Gλ = (tier_GM[:, None] * same_GλM).amax(2)
        tier_Gλ = torch.where(listed_Gλ > 0, listed_Gλ, tier_Gλ)
        tier_GM = tier_GM.masked_fill(same_GλM.any(1), 0)
    tier_Gλ = torch.where(own_Gλ == target_G1, target_tier_G1, tier_Gλ)
    return Contexts(
        row_G,
        column_G,
        torch.cat([target_G1, own_Gλ, list_GM], 1),
        torch.cat([target_tier_G1, tier_Gλ, tier_GM], 1),
        own_Gλ.shape[1],
    )


def _among(items_GX: Tensor, others_GY: Tensor) -> Tensor:
    """Whether each item is among its row's others, [G, X]."""
    return (items_GX[:, :, None] == others_GY[:, None]).any(2)
