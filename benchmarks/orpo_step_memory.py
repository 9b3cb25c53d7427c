"""What a step of the alignment needs of memory, and a step of the pretraining at equal tokens.

Peak bytes of weights, optimizer and all that a step allocates. ORPO reads a context once for both
slates of a pair and needs no second model. DPO is measured beside it in two ways: with the frozen
model's log-probabilities computed before the first epoch, as `align` does it, and with the frozen
model asked in every step.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.constrained_beam_step import CODES, CONTENT, LEVELS, uneven_codes
from benchmarks.slate_decode import HEADS, HISTORY, SLATE, WIDTH
from benchmarks.step_memory import step_peak
from feature_store.settings import Settings
from training.data.preferences import PairBatch
from training.data.slate_batches import SlateBatch
from training.models.higr.model import Higr
from training.models.slate.alignment import Aligned, pair_log_probs
from training.settings.alignment import AlignmentConfig
from training.settings.higr import HigrConfig

GOAL = 1.1
ITEMS = 10_000


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Peak MiB of a step of ORPO, DPO and the pretraining.

    Args:
        settings: the device.
        quick: a few rows, to see that it runs.
    """
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    pairs = 9 if quick else 72
    # Input positions, as `tokens_per_batch` counts them: events, and Q + 1 for an item of a slate.
    per_item = LEVELS + 1
    rows = pairs * (HISTORY + 2 * SLATE * per_item) // (HISTORY + SLATE * per_item)
    steps: dict[str, Callable[[Higr], Any]] = {
        "pretraining": lambda model: _pretraining(model, rows, device),
        "orpo": lambda model: _aligning(model, pairs, device, "orpo"),
        "dpo, references kept": lambda model: _aligning(model, pairs, device, "dpo"),
        "dpo, references in the step": lambda model: _beside_frozen(model, pairs, device),
    }
    peaks = {name: step_peak(*prepare(_model(device))) / 2**20 for name, prepare in steps.items()}
    pretraining = peaks.pop("pretraining")
    ours = peaks.pop("orpo")
    return {
        "name": "orpo_step_memory",
        "work": f"{pairs} pairs of slates of {SLATE} after {HISTORY} events against {rows} slates,"
        f" {rows * (HISTORY + SLATE * per_item):,} positions each; HiGR of width {WIDTH}, 3 planner"
        f" layers; {device}",
        "unit": "MiB",
        "ours": ours,
        "peers": {"pretraining": pretraining},
        "ratio": ours / pretraining,
        "goal": GOAL,
        "parts": {name: {"MiB": peak, "ratio": peak / pretraining} for name, peak in peaks.items()},
    }


def _model(device: str) -> Higr:
    torch.manual_seed(0)
    codes_VQ = torch.from_numpy(uneven_codes(ITEMS).astype(np.int32))
    content_VE = torch.randn(ITEMS, CONTENT)
    shape = HigrConfig(width=WIDTH, num_heads=HEADS)
    model = Higr(shape, codes_VQ, content_VE, (CODES,) * LEVELS)
    model.to(device).train()
    return model


def _batch(rows: int, device: str) -> SlateBatch:
    generator = torch.Generator().manual_seed(0)
    seconds_BL = 3600 * torch.arange(HISTORY).expand(rows, -1)
    return SlateBatch(
        torch.randint(ITEMS, (rows, HISTORY), generator=generator),
        torch.randint(-1, 4, (rows, HISTORY), generator=generator, dtype=torch.int8),
        seconds_BL,
        torch.arange(rows),
        torch.full((rows,), HISTORY),
        torch.full((rows,), 3600 * HISTORY),
        torch.randint(ITEMS, (rows, SLATE), generator=generator),
        rows * SLATE,
    ).to(device)


def _pairs(rows: int, device: str) -> PairBatch:
    queries = _batch(rows, device)
    slate_B2M = torch.stack([queries.slate_BM, queries.slate_BM.flip(1)], 1)
    return PairBatch(queries, slate_B2M, torch.arange(rows, device=device), rows, rows)


Step = tuple[nn.Module, Callable[[], torch.Tensor]]


def _pretraining(model: Higr, rows: int, device: str) -> Step:
    batch = _batch(rows, device)
    return model, lambda: model(batch) / batch.num_targets


def _aligning(model: Higr, pairs: int, device: str, method: Any) -> Step:
    batch = _pairs(pairs, device)
    references_P2 = torch.full((pairs, 2), -100.0, device=device) if method == "dpo" else None
    aligned = Aligned(model, AlignmentConfig(method=method), references_P2)
    return aligned, lambda: aligned(batch) / batch.num_targets


def _beside_frozen(model: Higr, pairs: int, device: str) -> Step:
    batch, frozen = _pairs(pairs, device), copy.deepcopy(model).eval()
    aligned = Aligned(model, AlignmentConfig(method="dpo"), torch.zeros(pairs, 2, device=device))

    def loss() -> torch.Tensor:
        with torch.no_grad():
            aligned.references_P2.copy_(pair_log_probs(frozen, batch)[0])
        return aligned(batch) / batch.num_targets

    # The frozen weights are there all the time, too: they count with the model's.
    aligned.frozen = frozen.requires_grad_(False)
    return aligned, loss
