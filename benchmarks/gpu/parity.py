"""Whether a GPU and a CPU say the same with the same weights, in float32, for every family.

Weights are fitted on the device, in the loop, and loaded on both. Negatives are drawn by each
device's own generator: losses that draw are not compared.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.gpu.configurations import CONFIGURATIONS, Configuration, objective_of
from benchmarks.gpu.machine import Machine
from benchmarks.gpu.synthetic import World, small
from training import inference
from training.data.queries import Queries, TopK
from training.fit.fitting import Fitting, LoopSettings
from training.models import MODELS, weights
from training.settings.spec import LISTS

PLACES = 10
LOSS_GOAL = 1e-4
"""Largest share by which the losses may differ."""
PROBABILITY_GOAL = 1e-5
"""Largest difference of probabilities that agree."""
LISTS_GOAL = 0.99
"""Least share of lists that have to be equal, place by place."""
SHAPE = {"width": 32, "num_heads": 2, "dropout": 0.0}


def measure(machine: Machine) -> dict[str, Any]:
    """By configuration what `compare` finds."""
    people, epochs = (40, 1) if machine.is_small else (300, 6)
    loop = LoopSettings(
        max_epochs=epochs,
        tokens_per_batch=1024,
        learning_rate=1e-2,
        warmup_steps=5,
        max_history=20,
        validation_metric="loss",
    )
    figures = {}
    for name, each in CONFIGURATIONS.items():
        world = small(people, num_items=each.num_items, num_levels=each.num_levels)
        figures[name] = _parity(each, world, loop, machine.device)
    return figures


def _parity(
    configuration: Configuration, world: World, loop: LoopSettings, device: str
) -> dict[str, Any]:
    family = MODELS[configuration.family]
    config = configuration.config(**({} if configuration.is_counted else SHAPE))
    fitting = Fitting(loop, device=device)
    data = {"slates": world.slates, "impressions": world.impressions}
    fitted, report = family.fit(world.split, config, fitting, world.vocabulary, data)
    with tempfile.TemporaryDirectory() as folder:
        weights.save(fitted, Path(folder))
        one, other = (weights.load(Path(folder), family, each) for each in ("cpu", device))
    figures = compare(one, other, world, loop, learns=not configuration.draws)
    if report.epochs:
        figures["fitted_loss"] = report.epochs[-1]["loss"]
        figures["fitted_in"] = report.facts["precision"]
    return figures


def compare(
    one: Any, other: Any, world: World, loop: LoopSettings, *, learns: bool = True
) -> dict[str, Any]:
    """How far apart two copies of a model are.

    Args:
        one: on a CPU.
        other: on the device.
        world: asks and teaches.
        loop: whose first batch is learnt from.
        learns: whether losses are compared, of a model that has one.
    Returns:
        Shares by which losses and gradients differ (None where they aren't compared), of a model
        that recommends the share of lists that are equal and the largest difference of scores at a
        place, of one that ranks that of probabilities, and whether the two agree.
    """
    loss = gradient = None
    if learns and isinstance(one, nn.Module):
        loss, gradient = _difference_of_learning(one, other, world, loop)
    queries = questions(world, loop.max_history)
    figures: dict[str, Any] = {
        "loss_difference": loss,
        "gradient_difference": gradient,
        "agrees": (loss or 0.0) <= LOSS_GOAL,
    }
    items_BC = np.tile(np.arange(5, dtype=np.int32), (len(queries), 1))
    if LISTS & one.answers:
        lists = [inference.recommend(model, queries, PLACES) for model in (one, other)]
        equal = float((lists[0].items_Bk == lists[1].items_Bk).all(1).mean())
        figures |= {"equal_lists": equal, "score_difference": _difference_of_scores(*lists)}
        figures["agrees"] &= equal >= LISTS_GOAL
        items_BC = lists[0].items_Bk[:, :5]
    if "feedback" in one.answers:
        p_BC, q_BC = (inference.rank(model, queries, items_BC) for model in (one, other))
        difference = float(np.nanmax(np.abs(p_BC - q_BC)))
        figures["probability_difference"] = difference
        figures["agrees"] &= difference <= PROBABILITY_GOAL
    return figures


def questions(world: World, max_history: int) -> Queries:
    """What comes after each person's test context."""
    test = world.split.test
    return Queries.of(
        test.histories, test.questions.each(), max_history=max_history, exclude_seen=True
    )


def _difference_of_learning(
    one: nn.Module, other: nn.Module, world: World, loop: LoopSettings
) -> tuple[float, float]:
    """Shares by which loss and gradient of the first batch differ."""
    batch = next(
        iter(objective_of(one, world, loop).batches(0, first_step=0, rank=0, world_size=1))
    )
    losses, gradients = [], []
    for model in (one, other):
        device = next(model.parameters()).device
        loss = model(batch.to(device))
        loss.backward()
        losses.append(float(loss.detach()))
        parts = [p.grad.flatten().cpu() for p in model.parameters() if p.grad is not None]
        gradients.append(torch.cat(parts))
        model.zero_grad(set_to_none=True)
    distance = float((gradients[0] - gradients[1]).norm() / gradients[0].norm())
    return abs(losses[1] / losses[0] - 1), distance


def _difference_of_scores(one: TopK, other: TopK) -> float:
    is_there_Bk = np.isfinite(one.scores_Bk) & np.isfinite(other.scores_Bk)
    return float(np.abs(one.scores_Bk - other.scores_Bk)[is_there_Bk].max(initial=0.0))
