"""Slates in the order of users and times → attempts at pairs of the kinds `ranking` and `interest`.

Runs in Spark's Python workers, on Arrow batches: Spark's own functions over arrays (`transform`,
`filter`) are interpreted and took ten times as long.

Places and item indices come in another order when they are multiplied with a slate's draw modulo
`PRIME` (`shown_slates`).

Arrays: S slates of a batch, A attempts, W the items of attempts, L the items left of their slates.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from pipelines.config import Preferences
from pipelines.transforms.ragged import Flags, Layout, Longs
from pipelines.transforms.shown_slates import PRIME, Slates, mixed

NONE_ENGAGED = "none engaged"
ONE_CHOSEN = "only one chosen"
ONE_STRENGTH = "all chosen are of one strength"
ALL_ENGAGED = "all engaged, and nothing was left in earlier slates"
ALL_IN_SLATE = "every candidate is in the slate or was engaged with"
REPEATED = "the same as another pair"
_MADE = 0
_OUTCOMES = (None, NONE_ENGAGED, ONE_CHOSEN, ONE_STRENGTH, ALL_ENGAGED, ALL_IN_SLATE, REPEATED)
"""Why an attempt came to nothing; None: it did not."""
_BITS = 31
"""What is taken modulo `PRIME` has as many."""


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
            The columns of `shown_slates.COLUMNS`, chosen, kind, pair, rejected, reason, source,
            newest_source.
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

    def attempts(self, slates: Slates, asked_S: Flags) -> Iterator[pa.RecordBatch]:
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

    def _ranking(self, slates: Slates, slate_A: Longs, draw_A: Longs) -> "_Found":
        """The chosen with weaker feedback before stronger; by chance, else rotated by one.

        Two orders whose strengths are the same at every place are equally good.
        """
        layout, source_W = slates.chosen.taken(slate_A)
        items_W, strengths_W = slates.chosen_items[source_W], slates.chosen_strengths[source_W]
        permuted = layout.order_by(mixed(items_W, draw_A[layout.rows_V]), bits=_BITS)
        next_W = (layout.places_V + 1) % layout.lengths_R[layout.rows_V]
        rotated = layout.starts_R[layout.rows_V] + next_W
        as_good_A = layout.all(strengths_W[permuted] == strengths_W)
        outcome_A = np.select(
            [
                layout.lengths_R == 0,
                layout.lengths_R == 1,
                layout.all(strengths_W[rotated] == strengths_W),
            ],
            [_OUTCOMES.index(each) for each in (NONE_ENGAGED, ONE_CHOSEN, ONE_STRENGTH)],
            _MADE,
        )
        return _Found(
            layout,
            items_W[np.where(as_good_A[layout.rows_V], rotated, permuted)],
            outcome_A,
            pa.repeat("the chosen, weaker feedback before stronger", len(slate_A)),
            slates.batch["ended_at"].take(pa.array(slate_A)),
        )

    def _interest(self, slates: Slates, slate_A: Longs, draw_A: Longs) -> "_Found":
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
        in_turn = layout.order_by(mixed(layout.places_V, draw_A[rows_W]), bits=_BITS)
        turn_W = np.empty_like(in_turn)
        turn_W[in_turn] = layout.places_V
        left, source_L = slates.left.taken(slate_A)
        by_L = mixed(slates.left_items[source_L], draw_A[left.rows_V])
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


def asked_for_diversity(
    config: Preferences, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Slates that are asked for pairs of the kind `diversity`, for `mapInArrow`.

    Args:
        config: shares, and from which strength on an item is chosen.
        batches: rows of `slates` in any order, with number.
    Yields:
        The columns of `shown_slates.COLUMNS`, chosen, item_indices, and count: pairs that are
        asked for.
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


def _said(own_A: Longs, borrowed_A: Longs) -> pa.Array:
    """Where items come from; few texts are distinct."""
    distinct, place_A = np.unique(own_A << _BITS | borrowed_A, return_inverse=True)
    texts = [
        f"{both >> _BITS} left in the slate, {both & PRIME} in earlier ones"
        for both in distinct.tolist()
    ]
    return pa.array(texts, pa.string()).take(pa.array(place_A))
