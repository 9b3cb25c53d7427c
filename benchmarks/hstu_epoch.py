"""Seconds of one epoch on HSTU over those on Llama, at equal width, on the same MovieLens-100K.

Both run through the training loop as the same next-item model, with everything equal but the
backbone. Its loss is the cheapest there is, one draw of negatives for a batch: what is compared is
the backbones, and a softmax over all items would take the same seconds from both. HSTU is given
the times of events, too, which Llama has no use for.

Short histories and long ones weigh a layer's parts differently, so both are timed, and the worse
of the two ratios is reported.
"""

import statistics
from dataclasses import replace
from typing import Any, Literal

import torch

from benchmarks.sasrec_epoch import LOOP, read_movielens, seconds_of_epochs
from feature_store.settings import Settings
from training.data.histories import Histories
from training.settings.families import SasrecConfig

GOAL = 1.5
HISTORIES = (50, 200)
TOKENS_PER_BATCH = 8192
SHAPE = SasrecConfig(width=64, num_layers=2, num_heads=2, loss="sampled", num_negatives=512)
BACKBONES: tuple[Literal["hstu", "llama"], ...] = ("hstu", "llama")


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Median seconds per epoch of both, after a warm-up.

    Args:
        settings: the device, and where the data lies or is fetched to.
        quick: short histories only, once, to see that it runs.
    Returns:
        The measure; `parts` has the seconds of each history length.
    """
    from pipelines.sources.fetch import fetch

    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    histories = read_movielens(fetch("movielens-100k", settings))
    rounds, lengths = (1, HISTORIES[:1]) if quick else (3, HISTORIES)
    parts = {
        f"history {length}": seconds_of_both(histories, length, rounds, device)
        for length in lengths
    }
    worst = max(parts.values(), key=lambda seconds: seconds["hstu"] / seconds["llama"])
    return {
        "name": "hstu_epoch",
        "work": f"MovieLens-100K, {histories.num_events:,} targets; width {SHAPE.width}, "
        f"{SHAPE.num_layers} layers, {' and '.join(parts)}, the worse of them; {device}, "
        f"{torch.get_num_threads()} threads",
        "unit": "s",
        "ours": worst["hstu"],
        "peers": {"Llama": worst["llama"]},
        "ratio": worst["hstu"] / worst["llama"],
        "goal": GOAL,
        "parts": parts,
    }


def seconds_of_both(
    histories: Histories, length: int, rounds: int, device: str
) -> dict[str, float]:
    """Median over rounds, in which the two take turns at going first."""
    loop = replace(LOOP, max_history=length, tokens_per_batch=TOKENS_PER_BATCH)
    seconds: dict[str, list[float]] = {name: [] for name in BACKBONES}
    for number in range(rounds):
        for name in BACKBONES[:: -1 if number % 2 else 1]:
            shape = replace(SHAPE, backbone=name)
            seconds[name].append(seconds_of_epochs(histories, 1, device, shape=shape, loop=loop))
    return {name: statistics.median(taken) for name, taken in seconds.items()}
