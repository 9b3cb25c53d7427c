"""Slates in the order of users and times → their items in tiers, and items that weren't shown.

Runs in Spark's Python workers, on Arrow batches, as `rearrangement` does.

Arrays: S slates of a batch, A those whose lists are made, V the items shown in them, W the items
that were drawn, X all items of lists.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import PreferenceLists
from pipelines.transforms.listed_items import ListedItems, TableFiles
from pipelines.transforms.pseudo_exposures import Carried, Drawn, PseudoExposures, ShownSoFar
from pipelines.transforms.ragged import Flags, Layout, Longs, longs
from pipelines.transforms.shown_slates import by_feedback

ONE_TIER = "all shown are of one tier, and no pseudo-exposures are asked for"
NOTHING_TO_DRAW = "all shown are of one tier, and the user had been shown all that was drawn"
PSEUDO = 4
"""The tier of what wasn't shown."""
BEAM = "beam"
"""Column of a model's beam, where there are beams."""
COLUMNS = ("day", "slate_id", "user_id", "started_at", "ended_at")
"""What a list repeats of its slate."""


@dataclass(frozen=True)
class Tiers:
    """Lists of slates from the first to the last day; slates before tell what had been shown.

    Args:
        config: strengths of tiers, how much of each, and the pseudo-exposures.
        items: files of the catalogue.
        first, last: days.
    """

    config: PreferenceLists
    items: TableFiles
    first: date
    last: date

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """For `mapInArrow`.

        Args:
            batches: rows of `slates`, all of a user together, by started_at and slate_id, and
                number: by what each slate's chance is decided, from 1 to `PRIME` - 1, and, where
                beams are asked for, beam: items of the slate's beam, best first, or null.
        Yields:
            The columns of `COLUMNS`, item_indices, tiers, reason (null: there is a list),
            num_in_tiers, num_cut, num_missing, is_of_beam.
        """
        listed = ListedItems.read(self.items)
        pseudo = PseudoExposures(listed, self.config.pseudo_exposures, self.config.window_days)
        before = Carried.nothing()
        for batch in batches:
            if batch.num_rows:
                so_far = ShownSoFar(batch, before)
                yield self._lists(so_far, np.flatnonzero(self._of_the_days(batch)), pseudo)
                if self.config.pseudo_exposures:
                    # The next batch may begin in the middle of a user.
                    before = so_far.carried()

    def _of_the_days(self, batch: pa.RecordBatch) -> Flags:
        days = batch["day"].to_numpy(zero_copy_only=False)
        asked: Flags = (days >= np.datetime64(self.first)) & (days <= np.datetime64(self.last))
        return asked

    def _lists(self, so_far: ShownSoFar, slate_A: Longs, pseudo: PseudoExposures) -> pa.RecordBatch:
        asked = so_far.batch.take(pa.array(slate_A))
        items_V, tiers_V, rows_V, num_cut_A = self._shown(asked)
        drawn, is_of_beam_A = _drawn(so_far, slate_A, asked, pseudo)
        kept = Layout.of(rows_V, asked.num_rows)
        lists = Layout(kept.lengths_R + drawn.count_A)
        items_X = np.empty(len(lists.rows_V), np.int64)
        tiers_X = np.full(len(items_X), PSEUDO)
        place_V = lists.starts_R[rows_V] + kept.places_V
        items_X[place_V], tiers_X[place_V] = items_V, tiers_V
        place_W = (lists.starts_R + kept.lengths_R)[drawn.rows_W] + drawn.turns_W
        items_X[place_W] = drawn.items_W
        num_in_AT = _counted(lists.rows_V, tiers_X, asked.num_rows)
        nothing = pa.scalar(NOTHING_TO_DRAW if pseudo.wanted else ONE_TIER)
        made_A = pa.array((num_in_AT > 0).sum(axis=1) > 1)
        return pa.record_batch(
            {
                **{name: asked[name] for name in COLUMNS},
                "item_indices": lists.lists(items_X),
                "tiers": lists.lists(tiers_X),
                "reason": pc.if_else(made_A, pa.scalar(None, pa.string()), nothing),
                "num_in_tiers": Layout(np.full(len(num_in_AT), PSEUDO)).lists(num_in_AT.ravel()),
                "num_cut": pa.array(num_cut_A, pa.int32()),
                "num_missing": pa.array(pseudo.wanted - drawn.count_A, pa.int32()),
                "is_of_beam": pa.array(is_of_beam_A),
            }
        )

    def _shown(self, asked: pa.RecordBatch) -> tuple[Longs, Longs, Longs, Longs]:
        """What lists keep of what was shown: items, tiers and rows; and how many are cut of each.

        Strength falls within a row, so that tiers rise.
        """
        layout = Layout(longs(pc.list_value_length(asked["item_indices"])))
        items_V, strengths_V = (longs(asked[name].flatten()) for name in _FEEDBACK)
        dwell_V = asked["dwell_seconds"].flatten().to_numpy()
        order = by_feedback(layout, items_V, strengths_V, dwell_V, longs(asked["number"]))
        items_V, strengths_V = items_V[order], strengths_V[order]
        config = self.config
        tiers_V = (
            3 - (strengths_V >= config.second_strength) - (strengths_V >= config.first_strength)
        )
        in_tiers = Layout(_counted(layout.rows_V, tiers_V, asked.num_rows).ravel())
        keep_V = in_tiers.places_V < self.config.most_per_tier
        num_cut_A = layout.lengths_R - layout.kept(keep_V).lengths_R
        return items_V[keep_V], tiers_V[keep_V], layout.rows_V[keep_V], num_cut_A


def _drawn(
    so_far: ShownSoFar, slate_A: Longs, asked: pa.RecordBatch, pseudo: PseudoExposures
) -> tuple[Drawn, Flags]:
    """Items that weren't shown, and for which slates they are of a beam; for the rest by chance."""
    number_A = longs(asked["number"])
    if BEAM not in asked.schema.names:
        return pseudo.draw(so_far, slate_A, number_A), np.zeros(len(slate_A), np.bool_)
    drawn = pseudo.of_beams(so_far, slate_A, asked[BEAM])
    is_of_beam_A = drawn.count_A > 0
    rest = np.flatnonzero(~is_of_beam_A)
    return drawn.beside(pseudo.draw(so_far, slate_A[rest], number_A[rest]), rest), is_of_beam_A


_FEEDBACK = ("item_indices", "strengths")


def _counted(rows_X: Longs, tiers_X: Longs, num_rows: int) -> Longs:
    """Items of each row and tier: [rows, `PSEUDO`]."""
    found = np.bincount(rows_X * PSEUDO + tiers_X - 1, minlength=num_rows * PSEUDO)
    return found.reshape(num_rows, PSEUDO)
