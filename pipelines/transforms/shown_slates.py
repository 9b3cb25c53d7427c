"""A batch of `slates` in Spark's Python workers: what was chosen, left, borrowed, and its chance.

All chance is arithmetic on one number per slate. Its powers of `STEP` modulo `PRIME` (Lehmer's
generator) are the draws.

Arrays: S slates of a batch, V their items end to end, A attempts, I slates that borrow, Q earlier
slates of those, F items of the earlier slates.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import Preferences
from pipelines.transforms.ragged import Flags, Layout, Longs, Numbers, longs

KINDS = ("ranking", "interest", "diversity")
PRIME = 2**31 - 1
STEP = 48_271
"""Its powers modulo `PRIME` are all the numbers below (Park and Miller)."""
COLUMNS = ("day", "slate_id", "user_id", "started_at", "ended_at")
"""What an attempt repeats of its slate."""


def mixed(numbers: Longs, draws: Longs) -> Longs:
    """Numbers below `PRIME` - 1, which come in another order by these for each draw."""
    return (numbers + 1) * draws % PRIME


def by_feedback(
    layout: Layout, items_V: Longs, strengths_V: Longs, dwell_V: Numbers, number_R: Longs
) -> Longs:
    """Items sorted within their slates: strongest, longest dwell (unknown: shortest), chance.

    Nothing says which of two items of equal strength and dwell was better.

    Args:
        layout: which of the items lie in which slate.
        items_V: item indices.
        strengths_V: what came of each.
        dwell_V: seconds spent on each; NaN: not known.
        number_R: of each slate, from 1 to `PRIME` - 1.
    """
    haste_V = np.where(np.isnan(dwell_V), np.inf, -dwell_V)
    # Products alone leave few orders: x, 2x and 3x modulo a prime never come as 2x, 3x, x.
    chance_V = (mixed(items_V, number_R[layout.rows_V]) + STEP) ** 2 % PRIME
    return layout.order(-strengths_V, haste_V, chance_V)


@dataclass(frozen=True)
class Loan:
    """Items of earlier slates that a slate may borrow, those of the newest slate first.

    Args:
        layout: how many each slate has; none for a slate that wasn't asked about.
        items: item indices.
        newest_from_S: the slate from which the first of them comes; without any, the slate itself.
        something_left_S: whether anything was left in the earlier slates, borrowable or not.
    """

    layout: Layout
    items: Longs
    newest_from_S: Longs
    something_left_S: Flags


@dataclass(frozen=True)
class Slates:
    """A batch of `slates`: which items were chosen in each, and which were left.

    Args:
        batch: rows of `slates`, with number.
        config: from which strength on an item is chosen, and up to which it was left.
    """

    batch: pa.RecordBatch
    config: Preferences

    @cached_property
    def shown(self) -> Layout:
        """All items."""
        return Layout(longs(pc.list_value_length(self.batch["item_indices"])))

    @cached_property
    def items_V(self) -> Longs:
        """Item indices, as they were shown."""
        return longs(self.batch["item_indices"].flatten())

    @cached_property
    def strengths_V(self) -> Longs:
        """What came of each item."""
        return longs(self.batch["strengths"].flatten())

    @cached_property
    def chosen(self) -> Layout:
        """Of engaged items, sorted by their feedback."""
        return self.shown.kept(self._engaged_V)

    @cached_property
    def chosen_items(self) -> Longs:
        """Item indices in the layout `chosen`."""
        return self.items_V[self._chosen_order]

    @cached_property
    def chosen_strengths(self) -> Longs:
        """What came of each item in the layout `chosen`, falling within a slate."""
        return self.strengths_V[self._chosen_order]

    @cached_property
    def _chosen_order(self) -> Longs:
        engaged = np.flatnonzero(self._engaged_V)
        order = by_feedback(
            self.chosen,
            self.items_V[engaged],
            self.strengths_V[engaged],
            self.batch["dwell_seconds"].flatten().to_numpy()[engaged],
            longs(self.batch["number"]),
        )
        return engaged[order]

    @cached_property
    def left(self) -> Layout:
        """The items left or disliked, as they were shown."""
        return self.shown.kept(self._left_V)

    @cached_property
    def left_items(self) -> Longs:
        """Item indices in the layout `left`."""
        return self.items_V[self._left_V]

    @cached_property
    def left_strengths(self) -> Longs:
        """What came of each item in the layout `left`: 0, or below 0 if it was disliked."""
        return self.strengths_V[self._left_V]

    def columns(self, slate_A: Longs) -> dict[str, pa.Array]:
        """The columns of `COLUMNS` and chosen, a row per attempt."""
        rows = pa.array(slate_A)
        chosen = self.chosen.lists(self.chosen_items)
        columns = {name: self.batch[name].take(rows) for name in COLUMNS}
        return {**columns, "chosen": chosen.take(rows)}

    def counts(self, kind: str) -> Longs:
        """How many of each slate's pairs are of a kind: its share, rounded up or down by chance.

        Systematic sampling: of `pairs_per_context` points one apart, shifted by one draw per
        slate, those that fall on the kind's part of the line.
        """
        config = self.config
        shares = [config.ranking, config.interest, config.diversity]
        place = KINDS.index(kind)
        start, end = (
            config.pairs_per_context * sum(shares[:n]) / sum(shares) for n in (place, place + 1)
        )
        draw_S = longs(self.batch["number"]) / PRIME
        counts_S: Longs = (np.ceil(end - draw_S) - np.ceil(start - draw_S)).astype(np.int64)
        return counts_S

    def draws(self, kind: str, slate_A: Longs, pair_A: Longs) -> Longs:
        """What decides the chance of each attempt, from 1 to `PRIME` - 1."""
        exponents = [
            1 + pair * len(KINDS) + KINDS.index(kind) for pair in range(pair_A.max(initial=0) + 1)
        ]
        powers = np.array([pow(STEP, exponent, PRIME) for exponent in exponents])
        draws_A: Longs = longs(self.batch["number"])[slate_A] * powers[pair_A] % PRIME
        return draws_A

    def borrowed(self, slate_I: Longs) -> Loan:
        """What some slates may borrow from the user's earlier ones.

        Earlier are the last `earlier_slates` that had ended when a slate started, not more than
        `window_days` before. What the user engaged with in any of them isn't borrowed, nor what
        the slate shows anyway.
        """
        num_slates = len(self.shown.lengths_R)
        row_Q, earlier_Q = self._earlier(slate_I)
        left, source_F = self.left.taken(earlier_Q)
        row_F, item_F = row_Q[left.rows_V], self.left_items[source_F]
        liked, source = self._liked.taken(earlier_Q)
        shown, of_shown = self.shown.taken(slate_I)
        # A key is a row and an item.
        not_lent = np.concatenate(
            [
                row_Q[liked.rows_V] << 32 | self._liked_items[source],
                shown.rows_V << 32 | self.items_V[of_shown],
            ]
        )
        key_F = row_F << 32 | item_F
        distinct, first = np.unique(key_F, return_index=True)
        lent = np.sort(first[~np.isin(distinct, not_lent)])
        slate_of_lent = slate_I[row_F[lent]]
        layout = Layout.of(slate_of_lent, num_slates)
        newest_from_S = np.arange(num_slates)
        some_S = layout.lengths_R > 0
        from_lent = earlier_Q[left.rows_V[lent]]
        newest_from_S[some_S] = from_lent[layout.starts_R[some_S]]
        something_left_S = np.zeros(num_slates, np.bool_)
        something_left_S[slate_I[row_F]] = True
        return Loan(layout, item_F[lent], newest_from_S, something_left_S)

    def _earlier(self, slate_I: Longs) -> tuple[Longs, Longs]:
        """Places in `slate_I` and the earlier slates of each, newest first."""
        user_S = self.batch["user_id"].dictionary_encode().indices.to_numpy()
        start_S, end_S = (
            longs(self.batch[name].cast(pa.int64())) for name in ("started_at", "ended_at")
        )
        day_S = longs(self.batch["day"].cast(pa.int32()))
        back = 1 + np.arange(self.config.earlier_slates)
        earlier_IE = slate_I[:, None] - back[None, :]
        there_IE = earlier_IE >= 0
        earlier_IE = np.maximum(earlier_IE, 0)
        there_IE &= user_S[earlier_IE] == user_S[slate_I, None]
        there_IE &= end_S[earlier_IE] <= start_S[slate_I, None]
        there_IE &= day_S[earlier_IE] > day_S[slate_I, None] - self.config.window_days
        return np.nonzero(there_IE)[0], earlier_IE[there_IE]

    @cached_property
    def _engaged_V(self) -> Flags:
        return self.strengths_V >= self.config.positive_strength

    @cached_property
    def _left_V(self) -> Flags:
        return self.strengths_V <= self.config.negative_strength

    @cached_property
    def _liked(self) -> Layout:
        return self.shown.kept(~self._left_V)

    @cached_property
    def _liked_items(self) -> Longs:
        return self.items_V[~self._left_V]
