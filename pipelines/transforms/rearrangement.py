"""Slates in the order of users and times → attempts at pairs of the kinds `ranking` and `interest`.

Runs in Spark's Python workers, on Arrow batches: Spark's own functions over arrays (`transform`,
`filter`) are interpreted and took ten times as long.

All chance is arithmetic on one number per slate. Its powers of `_STEP` modulo `PRIME` (Lehmer's
generator) are the draws; multiplied with one of them modulo `PRIME`, places and item indices come
in another order.

Arrays: S slates of a batch, V their items end to end, A attempts, W the items of attempts, I slates
that borrow, Q earlier slates of those, F items of the earlier slates.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import Preferences
from pipelines.transforms.ragged import Flags, Layout, Longs

KINDS = ("ranking", "interest", "diversity")
NONE_ENGAGED = "none engaged"
ONE_CHOSEN = "only one chosen"
ALL_ENGAGED = "all engaged, and nothing was left in earlier slates"
ALL_IN_SLATE = "every candidate is in the slate or was engaged with"
REPEATED = "the same as another pair"
_MADE = 0
_OUTCOMES = (None, NONE_ENGAGED, ONE_CHOSEN, ALL_ENGAGED, ALL_IN_SLATE, REPEATED)
"""Why an attempt came to nothing; None: it did not."""
PRIME = 2**31 - 1
_BITS = 31
"""What is taken modulo `PRIME` has as many."""
_STEP = 48_271
"""Its powers modulo `PRIME` are all the numbers below (Park and Miller)."""
_SLATE = ("day", "slate_id", "user_id", "started_at", "ended_at")


@dataclass(frozen=True)
class Rearrangement:
    """Attempts of slates from the first to the last day; slates before are only borrowed from.

    Args:
        config: shares, how much of a slate is replaced, and how far back it is borrowed.
        first, last: days.
    """

    config: Preferences
    first: date
    last: date

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """For `mapInArrow`.

        Args:
            batches: rows of `slates`, all of a user together, by started_at and slate_id, and
                number: by what each slate's chance is decided, from 1 to `PRIME` - 1.
        Yields:
            The columns of `_SLATE`, chosen, kind, pair, rejected, reason, source, newest_source.
        """
        before: pa.RecordBatch | None = None
        for batch in batches:
            known = batch if before is None else pa.concat_batches([before, batch])
            slates = Slates(known, self.config)
            asked_S = self._of_the_days(known)
            asked_S[: known.num_rows - batch.num_rows] = False
            yield from self.attempts(slates, asked_S)
            # The next batch may begin in the middle of a user.
            before = known.slice(max(known.num_rows - self.config.earlier_slates, 0))

    def attempts(self, slates: "Slates", asked_S: Flags) -> Iterator[pa.RecordBatch]:
        """A batch of each kind that slates are asked for."""
        kinds: dict[str, Callable[[Slates, Longs, Longs], _Found]] = {
            "ranking": self._ranking,
            "interest": self._interest,
        }
        for kind, attempt in kinds.items():
            count_S = np.where(asked_S, slates.counts(kind), 0)
            asked = Layout(count_S)
            slate_A, pair_A = asked.rows_V, asked.places_V
            if not len(slate_A):
                continue
            found = attempt(slates, slate_A, slates.draws(kind, slate_A, pair_A))
            repeated_A = _repeated(found, slate_A, most=int(count_S.max()))
            outcome_A = np.where(
                (found.outcome_A == _MADE) & repeated_A, _OUTCOMES.index(REPEATED), found.outcome_A
            )
            yield pa.record_batch(
                {
                    **slates.columns(slate_A),
                    "kind": pa.repeat(kind, len(slate_A)),
                    "pair": pa.array(pair_A, pa.int32()),
                    "rejected": found.layout.lists(found.items_W, null_R=outcome_A != _MADE),
                    "reason": pa.array(_OUTCOMES, pa.string()).take(pa.array(outcome_A)),
                    "source": found.source_A,
                    "newest_source": found.newest_A,
                }
            )

    def _of_the_days(self, batch: pa.RecordBatch) -> Flags:
        days = batch["day"].to_numpy(zero_copy_only=False)
        found: Flags = (days >= np.datetime64(self.first)) & (days <= np.datetime64(self.last))
        return found

    def _ranking(self, slates: "Slates", slate_A: Longs, draw_A: Longs) -> "_Found":
        """The chosen in another order; where chance gives the same, rotated by one."""
        layout, source_W = slates.chosen.taken(slate_A)
        items_W = slates.chosen_items[source_W]
        by_W = _mixed(items_W, draw_A[layout.rows_V])
        permuted_W = items_W[layout.order_by(by_W, bits=_BITS)]
        next_W = (layout.places_V + 1) % layout.lengths_R[layout.rows_V]
        rotated_W = items_W[layout.starts_R[layout.rows_V] + next_W]
        same_A = layout.all(permuted_W == items_W)
        by_length = [_OUTCOMES.index(outcome) for outcome in (NONE_ENGAGED, ONE_CHOSEN, None)]
        return _Found(
            layout,
            np.where(same_A[layout.rows_V], rotated_W, permuted_W),
            np.array(by_length)[np.minimum(layout.lengths_R, 2)],
            pa.repeat("the chosen in another order", len(slate_A)),
            slates.batch["ended_at"].take(pa.array(slate_A)),
        )

    def _interest(self, slates: "Slates", slate_A: Longs, draw_A: Longs) -> "_Found":
        """The chosen with some of them, at places by chance, exchanged.

        Disliked items of the slate come first, then those left in it, by chance; then borrowed.
        """
        most_S = np.ceil(slates.chosen.lengths_R * self.config.replaced_share).astype(np.int64)
        asked_S = np.zeros(len(most_S), np.bool_)
        asked_S[slate_A] = True
        loan = slates.borrowed(np.flatnonzero(asked_S & (slates.left.lengths_R < most_S)))
        candidates_S = slates.left.lengths_R + loan.layout.lengths_R
        replaced_A = np.minimum(candidates_S, most_S)[slate_A]
        own_A = np.minimum(slates.left.lengths_R[slate_A], replaced_A)

        layout, source_W = slates.chosen.taken(slate_A)
        rows_W = layout.rows_V
        in_turn = layout.order_by(_mixed(layout.places_V, draw_A[rows_W]), bits=_BITS)
        turn_W = np.empty_like(in_turn)
        turn_W[in_turn] = layout.places_V
        left, source_L = slates.left.taken(slate_A)
        by_L = _mixed(slates.left_items[source_L], draw_A[left.rows_V])
        left_L = slates.left_items[source_L][left.order(slates.left_strengths[source_L], by_L)]

        items_W = slates.chosen_items[source_W]
        from_left_W = turn_W < own_A[rows_W]
        rows = rows_W[from_left_W]
        items_W[from_left_W] = left_L[left.starts_R[rows] + turn_W[from_left_W]]
        borrowed_W = ~from_left_W & (turn_W < replaced_A[rows_W])
        rows = rows_W[borrowed_W]
        place = turn_W[borrowed_W] - own_A[rows]
        items_W[borrowed_W] = loan.items[loan.layout.starts_R[slate_A[rows]] + place]

        outcomes = [NONE_ENGAGED, None, ALL_IN_SLATE]
        conditions = [layout.lengths_R == 0, replaced_A > 0, loan.something_left_S[slate_A]]
        lent_A = loan.newest_from_S[slate_A]
        return _Found(
            layout,
            items_W,
            np.select(
                conditions,
                [_OUTCOMES.index(outcome) for outcome in outcomes],
                _OUTCOMES.index(ALL_ENGAGED),
            ),
            _said(own_A, replaced_A - own_A),
            # Items of one's own slate are as new as it; of borrowed ones the first is the newest.
            slates.batch["ended_at"].take(pa.array(np.where(own_A > 0, slate_A, lent_A))),
        )


@dataclass(frozen=True)
class _Found:
    """Rejected slates of one kind, and what came of each attempt: a place in `_OUTCOMES`."""

    layout: Layout
    items_W: Longs
    outcome_A: Longs
    source_A: pa.Array
    newest_A: pa.Array


@dataclass(frozen=True)
class _Loan:
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
        return Layout(self._numbers(pc.list_value_length(self.batch["item_indices"])))

    @cached_property
    def items_V(self) -> Longs:
        """Item indices, as they were shown."""
        return self._numbers(self.batch["item_indices"].flatten())

    @cached_property
    def strengths_V(self) -> Longs:
        """What came of each item."""
        return self._numbers(self.batch["strengths"].flatten())

    @cached_property
    def chosen(self) -> Layout:
        """Of engaged items: strongest first, then longest dwell (unknown: shortest), then place."""
        return self.shown.kept(self._engaged_V)

    @cached_property
    def chosen_items(self) -> Longs:
        """Item indices in the layout `chosen`."""
        engaged = np.flatnonzero(self._engaged_V)
        dwell = self.batch["dwell_seconds"].flatten().to_numpy()[engaged]
        haste = np.where(np.isnan(dwell), np.inf, -dwell)
        return self.items_V[engaged[self.chosen.order(-self.strengths_V[engaged], haste)]]

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
        """The columns of `_SLATE` and chosen, a row per attempt."""
        rows = pa.array(slate_A)
        chosen = self.chosen.lists(self.chosen_items)
        columns = {name: self.batch[name].take(rows) for name in _SLATE}
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
        draw_S = self._numbers(self.batch["number"]) / PRIME
        counts_S: Longs = (np.ceil(end - draw_S) - np.ceil(start - draw_S)).astype(np.int64)
        return counts_S

    def draws(self, kind: str, slate_A: Longs, pair_A: Longs) -> Longs:
        """What decides the chance of each attempt, from 1 to `PRIME` - 1."""
        exponents = [
            1 + pair * len(KINDS) + KINDS.index(kind) for pair in range(pair_A.max(initial=0) + 1)
        ]
        powers = np.array([pow(_STEP, exponent, PRIME) for exponent in exponents])
        draws_A: Longs = self._numbers(self.batch["number"])[slate_A] * powers[pair_A] % PRIME
        return draws_A

    def borrowed(self, slate_I: Longs) -> _Loan:
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
        return _Loan(layout, item_F[lent], newest_from_S, something_left_S)

    def _earlier(self, slate_I: Longs) -> tuple[Longs, Longs]:
        """Places in `slate_I` and the earlier slates of each, newest first."""
        user_S = self.batch["user_id"].dictionary_encode().indices.to_numpy()
        start_S, end_S = (
            self._numbers(self.batch[name].cast(pa.int64())) for name in ("started_at", "ended_at")
        )
        day_S = self._numbers(self.batch["day"].cast(pa.int32()))
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

    @staticmethod
    def _numbers(column: pa.Array) -> Longs:
        numbers: Longs = column.to_numpy(zero_copy_only=False).astype(np.int64)
        return numbers


def asked_for_diversity(
    config: Preferences, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Slates that are asked for pairs of the kind `diversity`, for `mapInArrow`.

    Args:
        config: shares, and from which strength on an item is chosen.
        batches: rows of `slates` in any order, with number.
    Yields:
        The columns of `_SLATE`, chosen, item_indices, and count: pairs that are asked for.
    """
    for batch in batches:
        slates = Slates(batch, config)
        count_S = slates.counts("diversity")
        asked = np.flatnonzero(count_S)
        yield pa.record_batch(
            {
                **slates.columns(asked),
                "item_indices": batch["item_indices"].take(pa.array(asked)),
                "count": pa.array(count_S[asked], pa.int32()),
            }
        )


def _repeated(found: _Found, slate_A: Longs, *, most: int) -> Flags:
    """Whether an attempt's list is that of an earlier one of the same slate."""
    repeated_A = np.zeros(len(slate_A), np.bool_)
    for back in range(1, most):
        later = np.flatnonzero(slate_A[back:] == slate_A[:-back]) + back
        layout, source_W = found.layout.taken(later)
        _, other_W = found.layout.taken(later - back)
        repeated_A[later] |= layout.all(found.items_W[source_W] == found.items_W[other_W])
    return repeated_A


def _mixed(numbers: Longs, draws: Longs) -> Longs:
    return (numbers + 1) * draws % PRIME


def _said(own_A: Longs, borrowed_A: Longs) -> pa.Array:
    """Where items come from; few texts are distinct."""
    distinct, place_A = np.unique(own_A << _BITS | borrowed_A, return_inverse=True)
    texts = [
        f"{both >> _BITS} left in the slate, {both & PRIME} in earlier ones"
        for both in distinct.tolist()
    ]
    return pa.array(texts, pa.string()).take(pa.array(place_A))
