"""The number that stops a training: measured on events that the weights did not see."""

import numpy as np
import torch
from torch import nn

from training.data.batches import BatchPlan
from training.data.contexts import contexts_of
from training.data.splits import Targets
from training.distributed import Processes
from training.fitting import Fitting

CUTOFF = 10


def validate(
    model: nn.Module, plan: BatchPlan, targets: Targets, fitting: Fitting, group: Processes
) -> float | None:
    """The validation metric over all processes, each of which measures a share of the targets.

    Args:
        model: what is trained, a `TrainableModel` and `Recommender`.
        plan: how histories become batches; used by the metric `loss`.
        targets: of these `max_validation_targets` are measured, evenly spread.
        fitting: the metric and whether seen items are filtered.
        group: the processes.
    Returns:
        Mean NDCG@10 over targets (larger is better), or mean loss in nats (smaller is better);
        None without targets.
    """
    settings = fitting.settings
    model.eval()
    count = min(len(targets), settings.max_validation_targets)
    chosen = np.linspace(0, len(targets) - 1, count).astype(np.int64)
    if settings.validation_metric == "loss":
        measured = _loss(model, plan, targets.where(chosen), group)
    else:
        own = chosen[group.rank :: group.world_size]
        measured = _ndcg(model, targets.where(own), fitting)
    total, num_measured = group.sum(np.array(measured)).tolist()
    return total / num_measured if num_measured else None


@torch.inference_mode()
def _loss(
    model: nn.Module, plan: BatchPlan, targets: Targets, group: Processes
) -> tuple[float, int]:
    """Summed loss of this process's share of the targets, and how many they are."""
    total, count = 0.0, 0
    for batch in plan.only(targets, rank=group.rank, world_size=group.world_size):
        with group.mixed_precision():
            total += float(model(batch.to(group.device)))
        count += int(batch.is_target_BL.sum())
    return total, count


def _ndcg(model: nn.Module, targets: Targets, fitting: Fitting) -> tuple[float, int]:
    """Summed NDCG@10 of the targets, 1 / log2(rank + 1) of the one right item; their number."""
    total, row, items = 0.0, 0, targets.items
    questions = contexts_of(
        targets, max_history=fitting.settings.max_history, exclude_seen=fitting.exclude_seen
    )
    for contexts in questions:
        found_Bk = model.recommend(contexts, CUTOFF).items_Bk
        hit_Bk = found_Bk == items[row : row + len(contexts), None]
        total += float((hit_Bk / np.log2(np.arange(2, CUTOFF + 2))).sum())
        row += len(contexts)
    return total, row
