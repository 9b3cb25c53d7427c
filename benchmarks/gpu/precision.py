"""What bfloat16 and compilation change, in loss and in seconds, from the same weights on.

Each variant goes twice through the same batches: the first time warms up and compiles, the second
time is timed. Nothing is dropped, because a compiled model draws otherwise.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.configurations import CONFIGURATIONS, fresh, objective_of
from benchmarks.gpu.machine import Machine, synchronise
from benchmarks.gpu.synthetic import World, movielens_1m, small
from training.fit.clip import GradientClip
from training.fit.distributed import Processes
from training.fit.fitting import LoopSettings
from training.fit.objective import TrainingBatch
from training.fit.optimizer import make_optimizer

NEURAL = ("sasrec", "sasrec, hstu", "tiger", "rankgr", "unigrf", "higr", "flat_slate", "groupce")
COMPILED = ("sasrec, hstu", "tiger")
"""Two of them: to compile a backbone takes a minute."""


@dataclass(frozen=True)
class Variant:
    """How a model computes."""

    is_bfloat16: bool = False
    is_compiled: bool = False


VARIANTS = {
    "float32": Variant(),
    "bfloat16": Variant(is_bfloat16=True),
    "bfloat16, compiled": Variant(is_bfloat16=True, is_compiled=True),
}
"""The first is what the others are compared with."""


def measure(machine: Machine) -> dict[str, Any]:
    """Every neural family in float32 and in bfloat16."""
    variants = {name: each for name, each in VARIANTS.items() if not each.is_compiled}
    return _measure(machine, NEURAL, variants)


def measure_compiled(machine: Machine) -> dict[str, Any]:
    """Two families on HSTU, compiled, too; a CPU compiles nothing, as in the loop."""
    return _measure(machine, COMPILED, VARIANTS)


def _measure(
    machine: Machine, names: tuple[str, ...], variants: Mapping[str, Variant]
) -> dict[str, Any]:
    world, steps = (small(), 2) if machine.is_small else (movielens_1m(), 20)
    loop = LoopSettings(
        tokens_per_batch=1024 if machine.is_small else 25_600,
        max_history=20 if machine.is_small else 200,
    )
    return {name: compare(name, world, loop, steps, machine.device, variants) for name in names}


def compare(
    name: str,
    world: World,
    loop: LoopSettings,
    steps: int,
    device: str,
    variants: Mapping[str, Variant],
) -> dict[str, Any]:
    """One configuration by every variant.

    Returns:
        By variant what `run` finds; of all but the first also `loss_difference`, the share by which
        the loss of the second pass differs, and `time_ratio`, its seconds over those of the first.
    """
    model = fresh(CONFIGURATIONS[name], world, dropout=0.0, max_history=loop.max_history)
    epoch = objective_of(model, world, loop).batches(0, first_step=0, rank=0, world_size=1)
    batches = [batch.to(device) for batch in islice(epoch, steps)]
    figures: dict[str, Any] = {}
    for variant, how in variants.items():
        model = fresh(CONFIGURATIONS[name], world, dropout=0.0, max_history=loop.max_history)
        figures[variant] = run(model.to(device).train(), batches, loop, device, how)
        reference = next(iter(figures.values()))
        if figures[variant] is not reference:
            figures[variant] |= {
                "loss_difference": figures[variant]["loss"] / reference["loss"] - 1,
                "time_ratio": figures[variant]["step_ms"] / reference["step_ms"],
            }
    return figures


def run(
    model: nn.Module, batches: list[TrainingBatch], loop: LoopSettings, device: str, how: Variant
) -> dict[str, Any]:
    """Two passes through the batches.

    Returns:
        First loss and mean loss of the second pass, nats per target; milliseconds of a step of the
        second pass; seconds of the first pass; whether it was compiled.
    """
    is_compiled = False
    if how.is_compiled:
        torch.compiler.reset()
        is_compiled = Processes(0, 1, torch.device(device)).compile(model.backbone)
    optimizer, clip = make_optimizer(model, loop), GradientClip(model, loop.gradient_clip_factor)
    seconds, losses = [], []
    for _ in range(2):
        synchronise(device)
        started = time.perf_counter()
        losses.append([learn(model, optimizer, clip, batch, device, how) for batch in batches])
        synchronise(device)
        seconds.append(time.perf_counter() - started)
    return {
        "first_loss": float(losses[0][0]),
        "loss": float(torch.stack(losses[1]).mean()),
        "step_ms": 1000 * seconds[1] / len(batches),
        "first_pass_seconds": seconds[0],
        "is_compiled": is_compiled,
    }


def learn(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    clip: GradientClip,
    batch: TrainingBatch,
    device: str,
    how: Variant,
) -> Tensor:
    """One step, as the loop does it; its loss per target, which is not waited for."""
    with torch.autocast(device, dtype=torch.bfloat16, enabled=how.is_bfloat16):
        loss = model(batch) / max(1, batch.num_targets)
    loss.backward()
    clip.cut()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach().float()
