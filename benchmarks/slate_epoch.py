"""Seconds of HiGR's epoch when slates of a user share a row of events, and when each reads its own.

MovieLens-100K cut into sessions as the preset cuts it, at most ten films each; every step of the
training: forward, backward, optimizer. Both say the same items under the same budget of positions
per batch; a shared row leaves a slate ten to fifty events of context, its own row fifty.
"""

from typing import Any

import numpy as np
import torch

from benchmarks.constrained_beam_step import CONTENT, take_turns, uneven_codes
from benchmarks.sasrec_epoch import read_movielens
from feature_store.settings import Settings
from training.data.histories import SECOND, Histories
from training.data.slate_batches import SlatePlan
from training.data.slates import Slates, events_before
from training.fit.fitting import LoopSettings
from training.fit.optimizer import make_optimizer
from training.models.higr.model import Higr
from training.settings.higr import HigrConfig

GOAL = 0.6
PAUSE_SECONDS, LARGEST = 30 * 60, 10
HISTORY, LEAST_HISTORY, POSITIONS = 50, 10, 4096
LEVELS, CODES = 3, 64


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Median seconds per epoch of both, after a warm-up.

    Args:
        settings: the device, and where the data lies or is fetched to.
        quick: a twentieth of the slates, once, to see that it runs.
    """
    from pipelines.sources.fetch import fetch

    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    slates = sessions(read_movielens(fetch("movielens-100k", settings)))
    if quick:
        slates = slates.where(np.arange(len(slates) // 20))
    plan = SlatePlan(HISTORY, POSITIONS, positions_per_item=LEVELS + 1)
    shared = SlatePlan(HISTORY, POSITIONS, LEAST_HISTORY, positions_per_item=LEVELS + 1)
    seconds = take_turns(
        {
            "shared": lambda: epoch(slates, shared, device),
            "own": lambda: epoch(slates, plan, device),
        },
        rounds=1 if quick else 3,
    )
    rows = {
        name: sum(len(batch.items_HL) for batch in each.batches(slates, 0))
        for name, each in (("shared", shared), ("own", plan))
    }
    return {
        "name": "slate_epoch",
        "work": f"MovieLens-100K, {len(slates):,} sessions, {len(slates.items):,} items; HiGR of"
        f" width {HigrConfig().width}; {rows['shared']:,} rows of events against {rows['own']:,};"
        f" {device}, {torch.get_num_threads()} threads",
        "unit": "s",
        "ours": seconds["shared"],
        "peers": {"a row for each slate": seconds["own"]},
        "ratio": seconds["shared"] / seconds["own"],
        "goal": GOAL,
    }


def sessions(histories: Histories) -> Slates:
    """Histories cut where somebody paused, and after ten items; sessions of one item are left."""
    pause = np.diff(histories.times, prepend=histories.times[0]) > PAUSE_SECONDS * SECOND
    pause |= np.diff(histories.users, prepend=-1) != 0
    first = np.flatnonzero(pause)
    place = np.arange(len(pause)) - np.repeat(first, np.diff(np.append(first, len(pause))))
    starts = np.flatnonzero(place % LARGEST == 0)
    lengths = np.diff(np.append(starts, len(pause)))
    user, started_at = histories.users[starts], histories.times[starts]
    slates = Slates(
        histories=histories,
        ids=np.arange(len(starts)).astype(str).astype(object),
        user=user,
        position=events_before(histories, user, started_at),
        started_at=started_at,
        ended_at=histories.times[starts + lengths - 1],
        offsets=np.append(starts, len(pause)),
        items=histories.items,
        strengths=histories.strengths,
        dwell=np.full(len(pause), np.nan, dtype=np.float32),
    )
    return slates.where(lengths > 1)


def epoch(slates: Slates, plan: SlatePlan, device: str) -> None:
    """Train a new model on every slate once."""
    torch.manual_seed(0)
    num_items = int(slates.histories.items.max()) + 1
    codes_VQ = torch.from_numpy(uneven_codes(num_items)[:, :LEVELS] % CODES).int()
    content_VE = torch.randn(num_items, CONTENT)
    model = Higr(HigrConfig(), codes_VQ, content_VE, (CODES,) * LEVELS).to(device).train()
    optimizer = make_optimizer(model, LoopSettings())
    for batch in plan.batches(slates, 0):
        batch = batch.to(device)
        (model(batch) / batch.num_targets).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
