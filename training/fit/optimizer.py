"""What moves the weights: AdamW and the curve of its learning rate."""

import math

import torch
from torch import nn

from training.fit.fitting import LoopSettings

FINAL_LEARNING_RATE_SHARE = 0.05
"""Where the cosine ends, so that the last epochs still learn."""


def learning_rate_share(step: int, *, warmup_steps: int, num_steps: int) -> float:
    """Share of the peak learning rate: a linear rise, then half a cosine down to 5 %.

    Example:
        >>> [round(learning_rate_share(s, warmup_steps=2, num_steps=10), 3) for s in (0, 1, 6, 10)]
        [0.5, 1.0, 0.525, 0.05]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = min(1.0, (step - warmup_steps) / max(1, num_steps - warmup_steps))
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return FINAL_LEARNING_RATE_SHARE + (1 - FINAL_LEARNING_RATE_SHARE) * cosine


def make_optimizer(model: nn.Module, settings: LoopSettings) -> torch.optim.Optimizer:
    """AdamW; biases, norms and other vectors are not decayed."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
