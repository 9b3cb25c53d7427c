"""What it costs to score a list after a history that is read once, and read for each candidate.

Both phases score every candidate: the log-probability of its codes, and the refined score. Ours
reads a history, then scores its candidates together; the peer takes history and candidate as rows
of one batch. Both say the same, which is checked before anything is timed. They take turns, so that
both see the same weather on the machine.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.rankgr_answers import LEVELS, device_of, model_of, two_ways
from benchmarks.slate_decode import HISTORY, questions
from feature_store.settings import Settings
from training.data.queries import Queries
from training.models.rankgr.model import Rankgr

GOAL = 0.1
CANDIDATES = 100
TOLERANCE = 1e-5
"""Largest difference between two ways to the same score."""


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Median milliseconds for a history's candidates, read once and read for each.

    Args:
        settings: the device.
        quick: a tenth of the items, one row and a round, to see that it runs.
    Raises:
        AssertionError: the two ways say different scores.
    """
    device = device_of(settings)
    num_items, rows, rounds = (10_000, 1, 1) if quick else (100_000, 4, 9)
    model, queries = model_of(num_items, device), questions(rows, num_items)
    draw = np.random.default_rng(1)
    items_BC = torch.from_numpy(draw.integers(0, num_items, (rows, CANDIDATES))).to(device)
    apart = float(
        (read_once(model, queries, items_BC) - read_for_each(model, queries, items_BC)).abs().max()
    )
    if apart > TOLERANCE:
        raise AssertionError(f"two ways, two answers: they differ by {apart:.2g}")
    return two_ways(
        "encode_once",
        f"{CANDIDATES} candidates of each of {rows} histories of {HISTORY} events, {LEVELS}"
        f" levels of codes, {num_items:,} items; width {model.config.width}; {device},"
        f" {torch.get_num_threads()} threads",
        {
            "once": lambda: read_once(model, queries, items_BC),
            "read for each": lambda: read_for_each(model, queries, items_BC),
        },
        each=rows,
        rounds=rounds,
        goal=GOAL,
    )


@torch.inference_mode()
def read_once(model: Rankgr, queries: Queries, items_BC: Tensor) -> Tensor:
    """Log-probabilities of codes and refined scores, [B, C, 2]."""
    assert model.decoder is not None
    state = model.read(queries)
    y_ND = state.expected.y_BD.repeat_interleave(items_BC.shape[1], 0)
    log_probs_NQ = model.decoder.log_probs(
        y_ND, model.items.codes(items_BC).flatten(0, 1), model.items
    )
    log_probs_BC = log_probs_NQ.sum(-1).view(items_BC.shape)
    return torch.stack([log_probs_BC, model.refine(state, items_BC, log_probs_BC)], -1)


def read_for_each(model: Rankgr, queries: Queries, items_BC: Tensor) -> Tensor:
    """The same of a row for each candidate, a history's at a time."""
    return torch.cat(
        [
            read_once(model, queries.where(np.full(len(item_C), row)), item_C[:, None]).transpose(
                0, 1
            )
            for row, item_C in enumerate(items_BC)
        ]
    )
