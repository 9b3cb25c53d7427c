"""The number that stops a training: measured on events that the weights did not see."""

import numpy as np
import torch
from torch import nn

from training.data.batches import BatchPlan
from training.data.contexts import contexts_of
from training.data.splits import Targets
from training.distributed import Processes
from training.evaluation.ranking import auc, log_loss
from training.fitting import Fitting

CUTOFF = 10


def validate(
    model: nn.Module, plan: BatchPlan, targets: Targets, fitting: Fitting, group: Processes
) -> dict[str, float]:
    """What the weights are worth, over all processes; each measures a share of the targets.

    Args:
        model: what is trained, a `TrainableModel` and `Recommender`.
        plan: how histories become batches; used by the metric `loss`.
        targets: of these `max_validation_targets` are measured, evenly spread.
        fitting: the metric and whether seen items are filtered.
        group: the processes.
    Returns:
        `validation`, the metric that decides: mean NDCG@10 over targets or AUC (larger is better),
        or mean loss in nats (smaller is better). Of a model that can rank `validation_auc` and
        `validation_logloss`, too: that one task gets worse while the other decides must be seen.
        Nothing without targets, no AUC without both kinds of feedback.
    """
    settings = fitting.settings
    model.eval()
    count = min(len(targets), settings.max_validation_targets)
    chosen = np.linspace(0, len(targets) - 1, count).astype(np.int64)
    own = targets.where(chosen[group.rank :: group.world_size])
    found: dict[str, float] = {}
    if getattr(model, "ranks", False) and count:
        found |= _ranking(model, own, fitting, group)
    if settings.validation_metric == "auc":
        return found | (
            {"validation": found["validation_auc"]} if "validation_auc" in found else {}
        )
    if settings.validation_metric == "loss":
        measured = _loss(model, plan, targets.where(chosen), group)
    else:
        measured = _ndcg(model, own, fitting)
    total, num_measured = group.sum(np.array(measured)).tolist()
    return found | ({"validation": total / num_measured} if num_measured else {})


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


def _ranking(
    model: nn.Module, targets: Targets, fitting: Fitting, group: Processes
) -> dict[str, float]:
    """AUC and mean LogLoss of the feedback on the targets."""
    row, items, said = 0, targets.items, []
    questions = contexts_of(targets, max_history=fitting.settings.max_history, exclude_seen=False)
    for contexts in questions:
        said.append(model.rank(contexts, items[row : row + len(contexts), None])[:, 0])
        row += len(contexts)
    said_T = np.concatenate([np.empty(0, dtype=np.float32), *said]).astype(np.float64)
    strengths_T = targets.histories.strengths[targets.events]
    said_T, positive_T = group.gather(np.stack([said_T, strengths_T >= fitting.positive_strength]))
    label_T = positive_T > 0
    found = {"validation_logloss": float(log_loss(said_T, label_T).mean())}
    if label_T.any() and not label_T.all():
        found["validation_auc"] = auc(said_T, label_T)
    return found
