"""Somebody else's package: a family that recommends, one that only ranks, and a tokenizer.

Tests install it by a .dist-info folder beside a copy of this file.
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch

from training.fit.fitting import FitReport
from training.models.interface import PAD, Family
from training.models.ranking import best_items
from training.settings.bounds import AboveZero
from training.tokenizers.rq_kmeans import RqKMeans


class Counted:
    """What models that count have in common: their state is the question."""

    def rows_at_once(self, queries, k, num_candidates):
        return 64

    def read(self, queries):
        return queries

    def select(self, state, rows):
        return state.where(rows)

    @property
    def sizes(self):
        return {}

    def state_dict(self):
        return {"counts": torch.from_numpy(self.counts)}

    @classmethod
    def from_weights(cls, config, sizes, tensors):
        return cls(config, tensors["counts"].numpy())

    def __init__(self, config, counts):
        self.config, self.counts = config, counts


@dataclass(frozen=True)
class FollowerConfig:
    """Shape of the follower."""

    popularity: AboveZero = 0.5
    """Weight of an item's own count beside the counts of what it followed."""


class Follower(Counted):
    """Recommends what came after the last item; `counts` is [V, V]."""

    family = "follower"
    answers = frozenset({"lists", "slates"})

    def recommend(self, state, k):
        last_B = state.items_BL[np.arange(len(state)), np.maximum(state.lengths_B - 1, 0)]
        own_V = self.config.popularity * self.counts.sum(axis=0)
        scores_BV = np.where((state.lengths_B > 0)[:, None], self.counts[last_B], 0) + own_V
        return best_items(torch.from_numpy(scores_BV.astype(np.float32)), state, k)


def fit_follower(split, config, fitting, vocabulary, data):
    train, V = split.train, vocabulary.num_items
    follows = np.flatnonzero(train.positions > 0)
    pairs = train.items[follows - 1].astype(np.int64) * V + train.items[follows]
    counts = np.bincount(pairs, minlength=V * V).reshape(V, V).astype(np.float32)
    return Follower(config, counts), FitReport(facts={"config": asdict(config)})


@dataclass(frozen=True)
class TasterConfig:
    """Shape of the taster."""

    prior: AboveZero = 2.0
    """Events of either kind that every item begins with."""


class Taster(Counted):
    """Ranks by the share of positive feedback on an item; `counts` is [V, 2]. No lists."""

    family = "taster"
    answers = frozenset({"feedback"})

    def rank(self, state, items_BC):
        counts = self.counts + self.config.prior
        share_V = np.append(counts[:, 1] / counts.sum(axis=1), 0.5)
        known_BC = (items_BC >= 0) & (items_BC < len(self.counts))
        liked_BC = share_V[np.where(known_BC, items_BC, -1)]
        return np.where(items_BC == PAD, np.nan, liked_BC).astype(np.float32)


def fit_taster(split, config, fitting, vocabulary, data):
    train = split.train
    liked = train.strengths >= fitting.positive_strength
    cells = train.items.astype(np.int64) * 2 + liked
    counts = np.bincount(cells, minlength=2 * vocabulary.num_items).reshape(-1, 2)
    return Taster(config, counts.astype(np.float32)), FitReport(facts={"config": asdict(config)})


FOLLOWER = Family(
    name="follower",
    config_class=FollowerConfig,
    model_class=Follower,
    fit=fit_follower,
    by_epochs=False,
)
TASTER = Family(
    name="taster",
    config_class=TasterConfig,
    answers=frozenset({"feedback"}),
    model_class=Taster,
    fit=fit_taster,
    by_epochs=False,
)


class OtherKMeans(RqKMeans):
    """A tokenizer of another name."""

    kind = "other_kmeans"
