"""What it costs to decode only semantic IDs that exist: a beam search with the tree and without.

The model, the beam and the rows are the same; the two searches take turns, so that both see the
same weather on the machine. The catalogue is uneven, as real ones are: a few prefixes hold many
items, most hold one or two.
"""

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from training.backbones.llama import Llama, LlamaConfig
from training.decoding.beam import StepFunction, beam_search
from training.decoding.trie import CodeTrie

if TYPE_CHECKING:  # a bare GPU machine has no pydantic
    from feature_store.settings import Settings

GOAL = 1.05
LEVELS, CODES, BEAM, CONTENT = 3, 256, 20, 448
SHAPE = LlamaConfig(width=128, num_layers=4, num_heads=4, dropout=0.0)
POSITIONS = 61


def measure(settings: "Settings", *, quick: bool = False) -> dict[str, Any]:
    """Median milliseconds per level of the search, with the constraint and without it.

    Args:
        settings: the device.
        quick: a tenth of the items and a few rounds, to see that it runs.
    """
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    num_items, num_rows, rounds = (10_000, 8, 3) if quick else (100_000, 64, 25)
    trie = CodeTrie.from_codes(uneven_codes(num_items), num_codes=(CODES,) * LEVELS).to(device)
    with torch.inference_mode():
        step = decoder_step(num_rows, device=device)

        def search(constrained: bool) -> Callable[[], object]:
            return lambda: beam_search(
                step, trie, num_rows=num_rows, beam_width=BEAM, constrained=constrained
            )

        seconds = take_turns({"with": search(True), "without": search(False)}, rounds=rounds)
    with_ms, without_ms = (1000 * seconds[name] / LEVELS for name in ("with", "without"))
    return {
        "name": "constrained_beam_step",
        "work": f"{num_rows} rows, beam {BEAM}, {LEVELS} levels of {CODES} codes, {num_items:,} "
        f"items; decoder of width {SHAPE.width} with {SHAPE.num_layers} layers over {POSITIONS} "
        f"tokens; {device}",
        "unit": "ms",
        "ours": with_ms,
        "peers": {"without constraint": without_ms},
        "ratio": with_ms / without_ms,
        "goal": GOAL,
    }


def uneven_codes(num_items: int, *, levels: int = LEVELS) -> np.ndarray:
    """Distinct tuples; a code is drawn by a power law whose order the code above it turns."""
    generator = np.random.default_rng(0)
    weight = 1 / np.arange(1, CODES + 1) ** 0.6
    found = np.zeros((0, levels), dtype=np.int64)
    while len(found) < num_items:
        rank = generator.choice(CODES, size=(2 * num_items, levels), p=weight / weight.sum())
        rank[:, 1:] = (rank[:, 1:] + 37 * rank[:, :-1]) % CODES
        found = np.unique(np.concatenate([found, rank]), axis=0)
    return generator.permutation(found)[:num_items]


def decoder_step(
    num_rows: int,
    *,
    device: str,
    shape: LlamaConfig = SHAPE,
    positions: int = POSITIONS,
    levels: int = LEVELS,
) -> StepFunction:
    """One step of a decoder of TIGER's form with random weights, its history read beforehand.

    Args:
        num_rows: histories.
        device: where it computes.
        shape: of the decoder.
        positions: of each history.
        levels: codes of a semantic ID.
    """
    torch.manual_seed(0)
    width = shape.width
    backbone = Llama(shape).to(device).eval()
    tokens = nn.Embedding(levels * CODES, width).to(device)
    heads = [nn.Linear(width, CODES, bias=False).to(device) for _ in range(levels)]
    history_BLD = torch.randn((num_rows, positions, width), device=device)
    x_BLD, memory = backbone.remember(history_BLD)
    length_B = torch.full((num_rows,), positions, device=device)

    def step(prefix_BWl: Tensor, parent_BW: Tensor) -> Tensor:
        level = prefix_BWl.shape[-1]
        if level == 0:
            return heads[0](x_BLD[:, -1:])
        offset_l = CODES * torch.arange(level, device=device)
        x_BWlD = backbone.extend(memory, length_B, tokens(prefix_BWl + offset_l))
        return heads[level](x_BWlD[:, :, -1])

    return step


def take_turns(work: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Median seconds of each after a warm-up; the order turns around every round."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 2):
        for name in sorted(work, reverse=bool(number % 2)):
            _wait()
            started = time.perf_counter()
            work[name]()
            _wait()
            if number >= 2:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
