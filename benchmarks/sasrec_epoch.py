"""Seconds of one SASRec epoch on MovieLens-100K with every one of its 100,000 events a target.

Ours runs through the training loop as a day's training does: one pass per window, every position a
target. The peer is the same model trained the way RecBole and most public code do it: every target
is a row of its own, the events before it padded to the full history, and only the last position is
learnt from. It feeds some forty positions for each of ours, so it is timed on a part of the
rows and scaled up; both parts are of the same mix of lengths.

RecBole 1.2.1 itself is not run, as it is no part of the environment: its figure is the one that was
once measured for it on two cores, and says so. The ratio is to the faster of the two peers.
"""

import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as pc
import torch
from torch import nn

from feature_store.settings import Settings
from training.data.batches import PAD, Batch
from training.data.histories import SECOND, Histories
from training.data.splits import Split, split_leave_last_out
from training.data.vocabulary import Vocabulary
from training.fit.clip import GradientClip
from training.fit.fitting import Fitting, LoopSettings
from training.fit.optimizer import make_optimizer
from training.models.sasrec import FAMILY
from training.models.sasrec.model import Sasrec
from training.settings.families import SasrecConfig

GOAL = 3.0
LOOP = LoopSettings(
    tokens_per_batch=2048,
    learning_rate=0.004,
    max_history=50,
    window_overlap=10,
    patience_epochs=99,
)
SHAPE = SasrecConfig(width=64, num_layers=2, num_heads=2, hidden_width=64)
ROWS_PER_STEP = 2048
RECBOLE = "RecBole 1.2.1 (about; measured once on two cores, not run here)"
RECBOLE_SECONDS = 110.0


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Median seconds per epoch after a warm-up, ours and one padded row per target.

    Args:
        settings: the device, and where the data lies or is fetched to.
        quick: one epoch and a hundredth of the peer's rows, to see that it runs.
    """
    from pipelines.sources.fetch import fetch

    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    histories = read_movielens(fetch("movielens-100k", settings))
    epochs, share = (1, 100) if quick else (5, 20)
    ours = seconds_of_epochs(histories, epochs, device)
    rows = seconds_of_padded_rows(histories, share, device)
    peers = {f"one padded row per target (1/{share} of the rows, scaled)": rows}
    return {
        "name": "sasrec_epoch",
        "work": f"MovieLens-100K, {histories.num_events:,} targets; width {SHAPE.width}, "
        f"{SHAPE.num_layers} layers, history {LOOP.max_history}, softmax over all items; {device}, "
        f"{torch.get_num_threads()} threads",
        "unit": "s",
        "ours": ours,
        "peers": {**peers, RECBOLE: RECBOLE_SECONDS},
        "ratio": ours / min(rows, RECBOLE_SECONDS),
        "goal": GOAL,
    }


def read_movielens(folder: Path) -> Histories:
    """All ratings as histories, in order of time, then of the file."""
    options = pc.ParseOptions(delimiter="\t")
    rows = pc.read_csv(folder / "ml-100k.inter", parse_options=options).to_pydict()
    user, item = np.array(rows["user_id:token"]), np.array(rows["item_id:token"])
    seconds = np.array(rows["timestamp:float"]).astype(np.int64)
    order = np.lexsort((seconds, user))
    ids, lengths = np.unique(user, return_counts=True)
    return Histories(
        user_ids=ids.astype(str).astype(object),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        items=(item[order] - 1).astype(np.int32),
        strengths=np.ones(len(order), dtype=np.int8),
        times=seconds[order] * SECOND,
    )


def seconds_of_epochs(
    histories: Histories,
    epochs: int,
    device: str,
    *,
    shape: SasrecConfig = SHAPE,
    loop: LoopSettings = LOOP,
) -> float:
    """Median of the loop's own epochs; the first only warms up."""
    fitting = Fitting(replace(loop, max_epochs=epochs + 1), device=device)
    _, report = FAMILY.fit(all_of(histories), shape, fitting, vocabulary_of(histories))
    return statistics.median(epoch["seconds"] for epoch in report.epochs[1:])


def seconds_of_padded_rows(histories: Histories, share: int, device: str) -> float:
    """An epoch with a row per target, from every `share`-th target."""
    model = Sasrec(replace(SHAPE, max_history=LOOP.max_history), vocabulary_of(histories).num_items)
    optimizer = make_optimizer(model.to(device), LOOP)
    clip = GradientClip(model, LOOP.gradient_clip_factor)
    batches = [
        padded_rows(histories, events)
        for events in np.array_split(
            np.arange(0, histories.num_events, share),
            max(1, histories.num_events // share // ROWS_PER_STEP),
        )
    ]
    learn(model, optimizer, clip, batches[0].to(device))
    started = time.perf_counter()
    for batch in batches:
        learn(model, optimizer, clip, batch.to(device))
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) * share


def padded_rows(histories: Histories, events: np.ndarray) -> Batch:
    """One row per event: the events before it, padded to the full history; itself the target."""
    width = LOOP.max_history + 1
    first = np.maximum(histories.offsets[histories.users[events]], events - LOOP.max_history)
    at = first[:, None] + np.arange(width)
    inside = at <= events[:, None]
    at = np.where(inside, at, 0)
    items_BL, strengths_BL, times_BL, is_target_BL = (
        np.where(inside, histories.items[at], PAD).astype(np.int64),
        np.where(inside, histories.strengths[at], 0).astype(np.int8),
        np.where(inside, histories.times[at] // SECOND, 0),
        inside & (at == events[:, None]),
    )
    return Batch(
        torch.from_numpy(items_BL),
        torch.from_numpy(strengths_BL),
        torch.from_numpy(times_BL),
        torch.from_numpy(is_target_BL),
        len(events),
    )


def learn(
    model: nn.Module, optimizer: torch.optim.Optimizer, clip: GradientClip, batch: Batch
) -> None:
    """One step, as the loop does it."""
    (model(batch) / batch.num_targets).backward()
    clip.cut()
    optimizer.step()
    optimizer.zero_grad()


def vocabulary_of(histories: Histories) -> Vocabulary:
    """Items up to the largest index that any event has."""
    return Vocabulary(int(histories.items.max()) + 1)


def all_of(histories: Histories) -> Split:
    """A split that trains on everything and validates on nothing."""
    split = split_leave_last_out(histories)
    nothing = np.zeros(len(split.test), dtype=bool)
    return replace(
        split,
        train=histories,
        validation=split.validation.where(nothing),
        test=split.test.where(nothing),
    )
