"""What it costs to rank 256 candidates of a history that is read once, and of one read for each.

Ours is the model's own `rank`: the history is encoded, its keys are kept, and candidates come in
micro-batches of a token each. The peer encodes history and candidate anew for every candidate, as
rows of one batch. Both say the same probabilities, which is checked before anything is timed. They
take turns, so that both see the same weather on the machine. Both backbones are timed and the worse
of the two ratios is reported.
"""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from benchmarks.constrained_beam_step import take_turns
from feature_store.settings import Settings
from training import inference
from training.data.queries import Queries
from training.models.unigrf.answers import MICRO_BATCH
from training.models.unigrf.interleave import interleave_times
from training.models.unigrf.model import Unigrf
from training.settings.unigrf import UnigrfConfig

GOAL = 0.1
CANDIDATES, HISTORY, ITEMS = 256, 200, 10_000
BACKBONES: tuple[Literal["hstu", "llama"], ...] = ("hstu", "llama")
TOLERANCE = 1e-4
"""Largest difference between two ways to the same probability."""


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Median milliseconds for a history's candidates, read once and read for each.

    Args:
        settings: the device.
        quick: short histories and one round, to see that it runs.
    Returns:
        The measure; `parts` has the milliseconds of each backbone.
    """
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    rows, history, rounds = (1, 20, 1) if quick else (4, HISTORY, 9)
    parts = {name: milliseconds(name, rows, history, rounds, device) for name in BACKBONES}
    worst = max(parts.values(), key=lambda part: part["once"] / part["for each"])
    return {
        "name": "mfalcon_256",
        "work": f"{CANDIDATES} candidates of each of {rows} histories of {history} events, two"
        f" tokens an event; width 64, 2 layers, hstu and llama, the worse of them; {MICRO_BATCH}"
        f" candidates at a time; {device}, {torch.get_num_threads()} threads",
        "unit": "ms",
        "ours": worst["once"],
        "peers": {"re-encoding each": worst["for each"]},
        "ratio": worst["once"] / worst["for each"],
        "goal": GOAL,
        "parts": parts,
    }


def milliseconds(
    backbone: Literal["hstu", "llama"], rows: int, history: int, rounds: int, device: str
) -> dict[str, float]:
    """Milliseconds per history, once and for each candidate."""
    torch.manual_seed(0)
    shape = UnigrfConfig(backbone=backbone, max_history=history, dropout=0.0)
    model = Unigrf(shape, ITEMS).to(device).eval()
    queries, candidate_BC = questions(rows, history)
    once = inference.rank(model, queries, candidate_BC)
    each = encoded_for_each(model, queries, candidate_BC)
    if abs(once - each).max() > TOLERANCE:
        raise AssertionError(f"two ways, two answers: they differ by {abs(once - each).max():.2g}")
    seconds = take_turns(
        {
            "once": lambda: inference.rank(model, queries, candidate_BC),
            "for each": lambda: encoded_for_each(model, queries, candidate_BC),
        },
        rounds=rounds,
    )
    return {name: 1000 * taken / rows for name, taken in seconds.items()}


def questions(rows: int, history: int) -> tuple[Queries, np.ndarray]:
    """Histories of random events an hour apart, and candidates for each."""
    draw = np.random.default_rng(0)
    times_BL = np.tile(np.arange(history) * 3600, (rows, 1))
    queries = Queries(
        items_BL=draw.integers(0, ITEMS, (rows, history), dtype=np.int32),
        strengths_BL=draw.integers(-1, 4, (rows, history), dtype=np.int8),
        times_BL=times_BL,
        asked_at_B=np.full(rows, history * 3600),
        lengths_B=np.full(rows, history),
        excluded=np.empty(0, dtype=np.int32),
        excluded_offsets=np.zeros(rows + 1, dtype=np.int64),
    )
    return queries, draw.integers(0, ITEMS, (rows, CANDIDATES))


@torch.inference_mode()
def encoded_for_each(model: Unigrf, queries: Queries, candidate_BC: np.ndarray) -> np.ndarray:
    """Probabilities from a full pass over history and candidate, a history's rows at a time."""
    device = model.items_VD.device
    found = []
    for row, candidate_C in enumerate(candidate_BC):

        def repeated(own_L: np.ndarray, last_C: np.ndarray) -> Tensor:
            rows_CL = np.tile(own_L, (CANDIDATES, 1))
            both = np.concatenate([rows_CL, last_C[:, None]], 1)
            return torch.from_numpy(both).to(device)

        items_CL = repeated(queries.items_BL[row].astype(np.int64), candidate_C)
        strengths_CL = repeated(queries.strengths_BL[row], np.zeros(CANDIDATES, dtype=np.int8))
        asked_C = np.full(CANDIDATES, queries.asked_at_B[row])
        times_CL = repeated(queries.times_BL[row], asked_C)
        x_CTD = model.embed(items_CL, strengths_CL)[:, :-1]
        x_CTD = model.backbone(x_CTD, interleave_times(times_CL))
        found.append(model.ranking_logits(x_CTD[:, -1]).sigmoid())
    probabilities: np.ndarray = torch.stack(found).cpu().numpy()
    return probabilities
