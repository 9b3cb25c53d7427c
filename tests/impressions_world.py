"""People of some tribes who were shown items: whose clicks follow from tribe and item."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from benchmarks.clicks import features_of, impressions_of
from training.data.histories import DAY, SECOND, Histories
from training.data.impressions import Impressions
from training.data.splits import Split, split_rolling
from training.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class World:
    """Impressions with the split of the events that they are."""

    split: Split
    impressions: Impressions
    vocabulary: Vocabulary
    probability_N: np.ndarray

    @property
    def data(self):
        """What the family reads beside histories and catalogue."""
        return {"impressions": self.impressions}


def world(
    *,
    num_users=60,
    num_items=30,
    each=40,
    tribes=3,
    kinds=3,
    seed=0,
    certainty=2.0,
    days=8,
    positive=2,
):
    """Everybody is shown items at random; a tribe clicks on its own kind.

    Args:
        certainty: log-odds of a click on one's own kind are this, and else its negative less 1.
        days: over which exposures are spread; the last validates, and the two before it, test.
        positive: strength of a click; other exposures have 0.
    """
    draw = np.random.default_rng(seed)
    tribe_U, kind_V = np.arange(num_users) % tribes, np.arange(num_items) % kinds
    user_N = np.repeat(np.arange(num_users), each)
    item_N = draw.integers(0, num_items, len(user_N)).astype(np.int32)
    is_own_N = tribe_U[user_N] == kind_V[item_N]
    probability_N = 1 / (1 + np.exp(-np.where(is_own_N, certainty, -certainty - 1)))
    strength_N = np.where(draw.random(len(user_N)) < probability_N, positive, 0).astype(np.int8)
    place_N = np.tile(np.arange(each), num_users)
    time_N = (place_N * days * DAY // each + draw.integers(0, 3600, len(user_N)) * SECOND).astype(
        np.int64
    )
    order = np.lexsort((time_N, user_N))
    item_N, strength_N, time_N = item_N[order], strength_N[order], time_N[order]
    probability_N = probability_N[order]
    ids = np.array([f"u{number:03d}" for number in range(num_users)], dtype=object)
    histories = Histories(ids, np.arange(num_users + 1) * each, item_N, strength_N, time_N)
    features = features_of(tribe_U, kind_V, ids)
    impressions = impressions_of(histories, features)
    split = split_rolling(
        histories,
        date(1970, 1, 1) + timedelta(days=days - 1),
        holdout_days=1,
        validation_days=2,
    )
    return World(split, impressions, Vocabulary(num_items), probability_N)
