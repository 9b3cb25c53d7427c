"""How families that say whole slates are fitted."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from training.data.slate_batches import SlateBatch, SlatePlan
from training.data.slate_splits import SlateSplit
from training.data.slates import Order, Slates
from training.data.splits import NO_DATA, Data, Split
from training.data.vocabulary import Vocabulary
from training.evaluation.slate import recommended_slates, slate_metrics
from training.fit.distributed import Processes
from training.fit.fitting import FitReport, Fitting, LoopSettings
from training.fit.loop import fit_objective
from training.fit.objective import Curves
from training.models.interface import Family
from training.models.slate.model import SlateModel
from training.settings import FAMILIES

CUTOFF = 10
Model = TypeVar("Model", bound=SlateModel)


class SlateObjective:
    """Every slate is said after its context; validation is what of later slates is said right.

    Args:
        slates: what trains and what validates: items in the order to be said, all with codes.
        settings: of the loop.
        positions_per_item: input positions that the model needs for an item of a slate.
        order: of the config. `engaged` draws the order of items of equal strength and dwell anew
            each epoch; validation has a fixed one.
    """

    def __init__(
        self,
        slates: SlateSplit,
        settings: LoopSettings,
        positions_per_item: int,
        order: Order,
    ) -> None:
        self.train, self.settings = slates.train, settings
        self.validation = _evenly(slates.validation, settings.max_validation_targets)
        self.positions_per_item, self.order = positions_per_item, order

    def plan(self, world_size: int) -> SlatePlan:
        """How slates become batches of so many processes."""
        context = np.minimum(self.train.position, self.settings.max_history).sum()
        positions = int(context) + self.positions_per_item * len(self.train.items)
        return SlatePlan(
            max_history=self.settings.max_history,
            positions_per_batch=self.settings.positions_per_step(positions, world_size),
            least_history=min(self.settings.window_overlap, self.settings.max_history),
            positions_per_item=self.positions_per_item,
            draws_ties=self.order == "engaged",
            seed=self.settings.seed,
        )

    def num_batches(self, epoch: int, *, world_size: int) -> int:
        """Steps of an epoch."""
        return len(self.plan(world_size).groups(self.train, epoch))

    def batches(
        self, epoch: int, *, first_step: int, rank: int, world_size: int
    ) -> Iterator[SlateBatch]:
        """Batches of the training slates."""
        return self.plan(world_size).batches(
            self.train, epoch, first_step=first_step, rank=rank, world_size=world_size
        )

    def validate(self, model: nn.Module, fitting: Fitting, group: Processes) -> dict[str, float]:
        """Loss in nats per item, and unless that decides NDCG@10 of the slates that are said.

        Raises:
            ValueError: the fit is to stop by AUC, which no slate has.
        """
        metric = self.settings.validation_metric
        if metric == "auc":
            raise ValueError(
                f"a slate has no AUC to stop by; set training.overrides.{model.family}"
                ".validation_metric to ndcg@10 or loss"
            )
        if not len(self.validation):
            return {}
        model.eval()
        total, count = group.sum(np.array(self._loss(model, group))).tolist()
        found = {"validation_loss": total / count}
        if metric == "loss":
            return found | {"validation": found["validation_loss"]}
        own = self.validation.where(
            np.arange(len(self.validation)) % group.world_size == group.rank
        )
        slates_SM = recommended_slates(
            model,
            own,
            CUTOFF,
            max_history=self.settings.max_history,
            exclude_seen=fitting.exclude_seen,
        )
        gains = slate_metrics(slates_SM, own, (CUTOFF,))[f"ndcg@{CUTOFF}"]
        sums = group.sum(np.array([gains.sum(), len(gains)])).tolist()
        return found | {"validation": sums[0] / sums[1]}

    @torch.inference_mode()
    def _loss(self, model: nn.Module, group: Processes) -> tuple[float, int]:
        """Summed loss of this process's share of the validation, and its items."""
        total, count = 0.0, 0
        slates = self.validation
        plan = replace(self.plan(1), least_history=None, draws_ties=False)
        for number, batch in enumerate(plan.batches(slates, 0)):
            if number % group.world_size == group.rank:
                with group.mixed_precision():
                    total += float(model(batch.to(group.device)))
                count += batch.num_own_targets
        return total, count

    def objection(self, curves: Curves) -> str:
        """None: a model of slates can only get worse by validation."""
        return ""

    def content(self) -> Iterator[np.ndarray]:
        """Queries and items of all slates that train or validate."""
        histories = self.train.histories
        yield from (histories.items, histories.strengths, histories.times, histories.offsets)
        for slates in (self.train, self.validation):
            yield from (slates.user, slates.position, slates.offsets, slates.items)


def fit_slates(
    model_class: type[Model],
    slates: SlateSplit,
    config: Any,
    fitting: Fitting,
    vocabulary: Vocabulary,
) -> tuple[Model, FitReport]:
    """Train a family on slates, those of their items that have a semantic ID.

    Args:
        model_class: of the family.
        slates: that train and that stop the training, with the events that are read.
        config: the shape; `max_history` is taken from `fitting`.
        fitting: how.
        vocabulary: the catalogue with its codes.
    Raises:
        ValueError: no slate has an item to be learnt, or the vocabulary has no semantic IDs
            or not what they were made of.
    """
    level_sizes, codes_VQ = vocabulary.level_sizes, vocabulary.require_codes()
    content_VE = torch.from_numpy(vocabulary.require_vectors())
    config = replace(config, max_history=fitting.settings.max_history)
    learnt = learnable(slates, config, codes_VQ)
    torch.manual_seed(fitting.settings.seed)
    model = model_class(config, torch.from_numpy(codes_VQ), content_VE, level_sizes)
    objective = SlateObjective(
        learnt, fitting.settings, model.positions_per_item, model.config.order
    )
    report = fit_objective(model, objective, fitting)
    shown = slates.train
    facts = {
        "generation": vocabulary.generation,
        "level_sizes": list(level_sizes),
        "train_slates": len(learnt.train),
        "train_slates_left_out": len(shown) - len(learnt.train),
        "validation_slates": len(learnt.validation),
        "train_slate_items": len(learnt.train.items),
        "train_slate_items_without_code": int((codes_VQ[shown.items, 0] < 0).sum()),
    }
    return model, replace(report, facts={**report.facts, **facts})


def slate_family(model_class: type[Model]) -> Family:
    """A class of slate models as a family: fitted as all of them are.

    A fit raises ValueError where there are no slates, as well as what `fit_slates` raises.
    """

    def fit(
        split: Split,
        config: Any,
        fitting: Fitting,
        vocabulary: Vocabulary,
        data: Data = NO_DATA,
        /,
    ) -> tuple[Model, FitReport]:
        if "slates" not in data:
            raise ValueError(
                "this family learns slates, and there are none; run build_slates for the day"
            )
        return fit_slates(model_class, data["slates"], config, fitting, vocabulary)

    return Family.of(FAMILIES[model_class.family], model_class, fit)


def learnable(slates: SlateSplit, config: Any, codes_VQ: np.ndarray) -> SlateSplit:
    """Slates as a model learns them: items that are wanted and have codes, in order.

    Raises:
        ValueError: none has an item to be learnt.
    """
    has_code_V = codes_VQ[:, 0] >= 0
    wanted = slates.keeping(lambda histories: has_code_V[histories.items]).map(
        lambda part: part.targets(config.order, minimum_strength=config.minimum_strength)
    )
    wanted = wanted.map(lambda part: part.keeping_items(has_code_V[part.items]))
    if not len(wanted.train):
        raise ValueError(
            f"none of {len(slates.train)} training slates has an item with a semantic ID"
            f" and a strength of {config.minimum_strength} or more; lower minimum_strength"
        )
    return wanted


def _evenly(slates: Slates, count: int) -> Slates:
    """So many slates, evenly spread over those there are."""
    count = min(count, len(slates))
    return slates.where(np.linspace(0, len(slates) - 1, count).astype(np.int64))
