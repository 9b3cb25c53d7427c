"""Synthetic people whose next item can be learnt: what a bare machine has in the place of data.

An item is mostly followed by the one with the next number, as in a series; else it is drawn by a
power law. Half of the people like what the other half dislikes. The last events are slates, too.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.clicks import features_of, impressions_of
from benchmarks.constrained_beam_step import CONTENT, uneven_codes
from training.data.histories import SECOND, Histories
from training.data.impressions import Impressions
from training.data.slate_splits import SlateSplit, split_slates_leave_last_out
from training.data.slates import Slates
from training.data.splits import Split, split_leave_last_out
from training.data.vocabulary import Vocabulary

FOLLOWS = 0.8
"""Share of events whose item is one more than the item before."""
MEDIAN_EVENTS, SPREAD, FEWEST, MOST = 96, 1.04, 20, 2314
"""MovieLens-1M's events a person: log-normal with its median and its ratio of mean and median, cut
off at its extremes."""
SLATES, SLATE = 4, 4
"""Slates of a person, and items of each."""


@dataclass(frozen=True)
class World:
    """A split of events, the same as impressions, slates, and a catalogue with semantic IDs."""

    split: Split
    slates: SlateSplit
    vocabulary: Vocabulary

    @cached_property
    def impressions(self) -> Impressions:
        """Every event; people are of two tribes, and items of the kinds that these like."""
        histories = self.split.test.histories
        people, items = np.arange(histories.num_users), np.arange(self.vocabulary.num_items)
        features = features_of(people % 2, items // 5 % 2, histories.user_ids)
        return impressions_of(histories, features)


def movielens_1m() -> World:
    """As many people and items as MovieLens-1M has, and about as many events: a million."""
    draw = np.random.default_rng(0)
    lengths = np.exp(np.log(MEDIAN_EVENTS) + SPREAD * draw.standard_normal(6040))
    return world(np.clip(lengths, FEWEST, MOST).astype(np.int64), num_items=3706)


def small(people: int = 40, *, num_items: int = 60, num_levels: int = 3) -> World:
    """People with 24 events each among 60 items; the catalogue may be larger than that."""
    return world(np.full(people, 24), num_items=60, num_listed=num_items, num_levels=num_levels)


def world(
    lengths: np.ndarray, *, num_items: int, num_listed: int = 0, num_levels: int = 3
) -> World:
    """People with so many events each.

    Args:
        lengths: events of each person, int64, at least `SLATES` × `SLATE`.
        num_items: that are met.
        num_listed: of the catalogue; 0: those that are met.
        num_levels: of semantic IDs.
    """
    histories = _histories(lengths, num_items)
    num_listed = max(num_items, num_listed)
    vectors_VD = np.random.default_rng(1).standard_normal((num_listed, CONTENT))
    codes_VQ = uneven_codes(num_listed, levels=num_levels).astype(np.int32)
    return World(
        split_leave_last_out(histories),
        split_slates_leave_last_out(_slates(histories)),
        Vocabulary(num_listed, codes_VQ, "synthetic", vectors_VD.astype(np.float32)),
    )


def _histories(lengths: np.ndarray, num_items: int) -> Histories:
    draw = np.random.default_rng(2)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    place, users = np.arange(offsets[-1]), np.repeat(np.arange(len(lengths)), lengths)
    weight = 1 / np.arange(1, num_items + 1) ** 0.8
    drawn = draw.choice(num_items, len(place), p=weight / weight.sum())
    begins = draw.random(len(place)) >= FOLLOWS
    begins[offsets[:-1]] = True
    first = np.maximum.accumulate(np.where(begins, place, 0))
    items = (drawn[first] + place - first) % num_items
    is_liked = (items // 5 + users) % 2 == 0
    seconds = np.cumsum(1 + np.exp(draw.normal(3, 2, len(place))).astype(np.int64))
    return Histories(
        user_ids=np.array([f"u{number:05d}" for number in range(len(lengths))], dtype=object),
        offsets=offsets,
        items=items.astype(np.int32),
        strengths=np.where(is_liked, 2, 0).astype(np.int8),
        times=seconds * SECOND,
    )


def _slates(histories: Histories) -> Slates:
    """The last events of each person, cut into slates."""
    people = histories.num_users
    user = np.repeat(np.arange(people), SLATES)
    position = np.repeat(histories.lengths, SLATES) + SLATE * np.tile(np.arange(-SLATES, 0), people)
    first = histories.offsets[user] + position
    events = (first[:, None] + np.arange(SLATE)).ravel()
    return Slates(
        histories=histories,
        ids=np.array([f"s{number:05d}" for number in range(len(user))], dtype=object),
        user=user,
        position=position,
        started_at=histories.times[first],
        ended_at=histories.times[first + SLATE - 1],
        offsets=SLATE * np.arange(len(user) + 1),
        items=histories.items[events],
        strengths=histories.strengths[events],
        dwell=np.full(len(events), np.nan, dtype=np.float32),
    )
