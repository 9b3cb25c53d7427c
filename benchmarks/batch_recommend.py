"""What it costs to answer many users in batches, and one after the other.

Both ask `training.inference.recommend`, as `recommend` does every night: ours all users at once,
the peer one user at a time. Both give the same lists, which is checked before anything is timed.
They take turns, so that both see the same weather on the machine.
"""

from typing import Any

import numpy as np
import torch

from benchmarks.rankgr_answers import LEVELS, device_of, model_of, two_ways
from benchmarks.slate_decode import HISTORY, questions
from feature_store.settings import Settings
from training import inference
from training.data.queries import Queries, TopK
from training.models.rankgr.model import Rankgr

GOAL = 0.1
PLACES = 20
TOLERANCE = 1e-5
"""Scores that differ by less are equal: their items may change places."""


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Median milliseconds per user, in batches and one by one.

    Args:
        settings: the device.
        quick: fewer items and users and a round, to see that it runs.
    Raises:
        AssertionError: the two ways give different lists.
    """
    device = device_of(settings)
    num_items, users, rounds = (10_000, 4, 1) if quick else (20_000, 256, 5)
    model, queries = model_of(num_items, device), questions(users, num_items)
    require_same(inference.recommend(model, queries, PLACES), one_by_one(model, queries))
    return two_ways(
        "batch_recommend",
        f"lists of {PLACES} for {users} users after {HISTORY} events, {LEVELS} levels of"
        f" codes, {num_items:,} items, {model.config.candidates} candidates; width"
        f" {model.config.width}; {device}, {torch.get_num_threads()} threads",
        {
            "batches": lambda: inference.recommend(model, queries, PLACES),
            "one by one": lambda: one_by_one(model, queries),
        },
        each=users,
        rounds=rounds,
        goal=GOAL,
    )


def one_by_one(model: Rankgr, queries: Queries) -> TopK:
    """The lists of a loop over users."""
    return TopK.concatenate(
        [
            inference.recommend(model, queries.rows(row, row + 1), PLACES)
            for row in range(len(queries))
        ]
    )


def require_same(one: TopK, other: TopK) -> None:
    """Compare lists, up to the order of items whose scores are equal.

    Raises:
        AssertionError: scores or items differ.
    """
    apart = float(abs(one.scores_Bk - other.scores_Bk).max())
    if apart > TOLERANCE:
        raise AssertionError(f"two ways, two lists: scores differ by {apart:.2g}")
    is_near_Bk = abs(np.diff(one.scores_Bk, axis=1, append=-np.inf)) <= TOLERANCE
    is_tied_Bk = is_near_Bk | np.pad(is_near_Bk, ((0, 0), (1, 0)))[:, :-1]
    differs_Bk = (one.items_Bk != other.items_Bk) & ~is_tied_Bk
    if differs_Bk.any():
        raise AssertionError(f"two ways, two lists: {int(differs_Bk.sum())} places differ")
