"""Whether HiGR's two steps work together: is the plan heeded, and does it point at the items?

The failures that the paper names (MECHANICS §3.7), each as a number:

* a plan that points elsewhere: the rank of the true item among all by cos(p_m, item);
* a planner that is ignored: the loss with another row's plan, or with the mean plan, in its place;
* items that do not know each other: the log-probability of whole slates, to be compared between a
  model with `planner_feedback = item` and one with `latent`.

S slates, B rows, M places, Q levels, D width, V items, N items of all slates.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.data.queries import PAD
from training.data.slate_batches import SlateBatch, SlatePlan
from training.data.slates import Slates
from training.models.higr.model import Higr

ROWS = 2048
"""Padded positions of a batch."""


@dataclass(frozen=True)
class PlanReport:
    """What the planner is worth on some slates.

    Attributes:
        slate_log_prob: mean log-probability of a slate, nats; of an item that is to say, of its
            codes given those before it.
        loss: nats per item.
        loss_of_shuffled_plans: with the plans of other rows of the batch.
        loss_of_mean_plan: with one plan for all rows and places, the mean.
        rank_share: mean place of the true item by cos(p_m, item), as a share of the catalogue:
            0 where it is always the nearest, about 0.5 where the plan says nothing of it.
        median_rank: of the same, from 1.
    """

    slate_log_prob: float
    loss: float
    loss_of_shuffled_plans: float
    loss_of_mean_plan: float
    rank_share: float
    median_rank: float

    @property
    def is_ignored(self) -> bool:
        """Whether another's plan does as well: the items are said from something else."""
        return self.loss_of_shuffled_plans <= self.loss


@torch.inference_mode()
def plan_report(model: Higr, slates: Slates, *, max_history: int, seed: int = 0) -> PlanReport:
    """Measure the planner on slates as they are learnt (`training.models.slate.fit.learnable`).

    The context that a generator may be told besides is left in its place.

    Raises:
        ValueError: there are fewer than two slates: nobody's plan could stand in for another's.
    """
    if len(slates) < 2:
        raise ValueError(f"{len(slates)} slates, expected at least 2 to exchange plans between")
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    known_V = torch.nonzero(model.codes_VQ[:, 0] >= 0)[:, 0]
    unit_VD = F.normalize(model.item_vectors(known_V), dim=-1)
    mean_D = _mean_plan(model, slates, max_history)
    losses, ranks = np.zeros(3), []
    for batch in _batches(model, slates, max_history):
        slate_B1M = batch.slate_BM[:, None]
        plan_B1MD, context_BD = model.plan(batch, slate_B1M)
        other_B = torch.randperm(len(slate_B1M), generator=generator).to(context_BD.device)
        plans = (plan_B1MD, plan_B1MD[other_B], mean_D.expand_as(plan_B1MD))
        for number, plan in enumerate(plans):
            losses[number] -= float(model.item_log_probs(plan, context_BD, slate_B1M).sum())
        ranks.append(_ranks(plan_B1MD[:, 0], batch.slate_BM, known_V, unit_VD))
    rank_N = torch.cat(ranks).float()
    per_item = losses / len(slates.items)
    return PlanReport(
        slate_log_prob=-float(losses[0]) / len(slates),
        loss=float(per_item[0]),
        loss_of_shuffled_plans=float(per_item[1]),
        loss_of_mean_plan=float(per_item[2]),
        rank_share=float((rank_N - 1).mean() / max(1, len(known_V) - 1)),
        median_rank=float(rank_N.median()),
    )


def _mean_plan(model: Higr, slates: Slates, max_history: int) -> Tensor:
    total_D, count = torch.zeros(model.config.width, device=model.codes_VQ.device), 0
    for batch in _batches(model, slates, max_history):
        plan_B1MD, _ = model.plan(batch, batch.slate_BM[:, None])
        is_target_BM = batch.is_target_BM
        total_D += plan_B1MD[:, 0][is_target_BM].sum(0)
        count += int(is_target_BM.sum())
    return total_D / count


def _ranks(plan_BMD: Tensor, slate_BM: Tensor, known_V: Tensor, unit_VD: Tensor) -> Tensor:
    """Place of each true item by cosine, from 1, ties in the middle, [N]."""
    is_item_BM = slate_BM != PAD
    cosine_NV = F.normalize(plan_BMD[is_item_BM], dim=-1) @ unit_VD.T
    place_N1 = torch.searchsorted(known_V, slate_BM[is_item_BM])[:, None]
    own_N1 = cosine_NV.gather(1, place_N1)
    above_N, equal_N = (cosine_NV > own_N1).sum(1), (cosine_NV == own_N1).sum(1)
    return above_N + (equal_N + 1) / 2


def _batches(model: Higr, slates: Slates, max_history: int) -> Iterator[SlateBatch]:
    plan = SlatePlan(max_history, ROWS, positions_per_item=model.positions_per_item)
    for batch in plan.batches(slates, 0):
        yield batch.to(model.codes_VQ.device)
