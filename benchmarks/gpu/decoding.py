"""What answers cost: a wide constrained beam behind a large decoder, and whole slates."""

from collections.abc import Callable
from typing import Any, Literal

import torch

from benchmarks import slate_decode
from benchmarks.constrained_beam_step import CODES, decoder_step, take_turns, uneven_codes
from benchmarks.gpu.machine import Machine
from training.backbones.llama import LlamaConfig
from training.decoding.beam import beam_search
from training.decoding.trie import CodeTrie

LEVELS = 4
FEEDBACKS: tuple[Literal["item", "latent"], ...] = ("item", "latent")


def measure_beam(machine: Machine) -> dict[str, Any]:
    """Milliseconds of a beam of 200 over 4 × 256 codes, and the share of them that the mask takes.

    Behind 8 layers of width 1,024 that have read 16 histories of 2,048 positions; 200,000 items.
    """
    shape = LlamaConfig(width=1024, num_layers=8, num_heads=16, dropout=0.0)
    num_items, rows, beam, positions, rounds = 200_000, 16, 200, 2048, 10
    if machine.is_small:
        shape = LlamaConfig(width=32, num_layers=1, num_heads=2, dropout=0.0)
        num_items, rows, beam, positions, rounds = 1000, 2, 8, 16, 1
    codes = uneven_codes(num_items, levels=LEVELS)
    trie = CodeTrie.from_codes(codes, num_codes=(CODES,) * LEVELS).to(machine.device)
    figures = {}
    for name, is_bfloat16 in (("float32", False), ("bfloat16", True)):
        with (
            torch.inference_mode(),
            torch.autocast(machine.device, dtype=torch.bfloat16, enabled=is_bfloat16),
        ):
            step = decoder_step(
                rows, device=machine.device, shape=shape, positions=positions, levels=LEVELS
            )

            def search(constrained: bool, step: Any = step) -> Callable[[], object]:
                return lambda: beam_search(
                    step, trie, num_rows=rows, beam_width=beam, constrained=constrained
                )

            seconds = take_turns({"with": search(True), "without": search(False)}, rounds=rounds)
        figures[name] = {
            "ms": 1000 * seconds["with"],
            "ms_without_mask": 1000 * seconds["without"],
            "mask_share": 1 - seconds["without"] / seconds["with"],
        }
    return figures


def measure_slates(machine: Machine) -> dict[str, Any]:
    """Milliseconds per slate of HiGR, by feedback, and of the flat decoder; and their ratio."""
    figures: dict[str, Any] = {}
    for feedback in FEEDBACKS:
        taken = slate_decode.milliseconds_per_slate(
            feedback, machine.device, quick=machine.is_small
        )
        figures[feedback] = {"ms": taken, "ratio": taken["higr"] / taken["flat"]}
    return figures
