"""What a training step needs of memory at its peak."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from training.fit.fitting import LoopSettings
from training.fit.optimizer import make_optimizer


def step_peak(module: nn.Module, loss: Callable[[], torch.Tensor]) -> float:
    """Most bytes alive in a step: weights and optimizer states, and what the step allocates.

    Takes two steps, so the weights move. On a GPU the allocator is asked; on the CPU the profiler.

    Args:
        module: its parameters that need a gradient are trained; all weights and buffers count.
        loss: of a batch, reduced.
    """
    trained = nn.ParameterList(p for p in module.parameters() if p.requires_grad)
    optimizer = make_optimizer(trained, LoopSettings())

    def step() -> None:
        loss().backward()
        nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    if next(module.parameters()).device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return float(torch.cuda.max_memory_allocated())
    states = [value for entry in optimizer.state.values() for value in entry.values()]
    held = sum(each.nbytes for each in [*module.parameters(), *module.buffers(), *states])
    return float(held + allocated_peak(step))


def allocated_peak(work: Callable[[], None]) -> int:
    """Most bytes that a piece of work on the CPU holds at a time of what it allocates itself."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    changes = sorted(
        (event.start_ns(), event.nbytes())
        for event in found.profiler.kineto_results.events()
        if event.name() == "[memory]"
    )
    return int(np.cumsum([change for _, change in changes]).max(initial=0))
