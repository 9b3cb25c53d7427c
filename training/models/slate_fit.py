"""How families that say whole slates are fitted, saved and loaded."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from training.course import Curves
from training.data.slate_batches import SlateBatch, SlatePlan
from training.data.slates import Slates, SlateSplit
from training.data.splits import Split
from training.data.vocabulary import Vocabulary
from training.distributed import Processes
from training.evaluation.slate import said_slates, slate_metrics
from training.fitting import FitReport, Fitting, LoopSettings
from training.loop import fit_course
from training.models.interface import Family
from training.models.slate_model import SlateModel

CUTOFF = 10
Model = TypeVar("Model", bound=SlateModel)


class SlateCourse:
    """Every slate is said after its context; validation is what of later slates is said right.

    Args:
        slates: what trains and what validates: items in the order to be said, all with codes.
        settings: of the loop.
        positions_per_item: input positions that the model needs for an item of a slate.
    """

    def __init__(self, slates: SlateSplit, settings: LoopSettings, positions_per_item: int) -> None:
        self.train, self.settings = slates.train, settings
        self.validation = _evenly(slates.validation, settings.max_validation_targets)
        self.positions_per_item = positions_per_item

    def plan(self, world_size: int) -> SlatePlan:
        """How slates become batches of so many processes."""
        return SlatePlan(
            max_history=self.settings.max_history,
            positions_per_batch=self.settings.tokens_per_batch * world_size,
            least_history=min(self.settings.window_overlap, self.settings.max_history),
            positions_per_item=self.positions_per_item,
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
        said_SM = said_slates(
            model,
            own,
            CUTOFF,
            max_history=self.settings.max_history,
            exclude_seen=fitting.exclude_seen,
        )
        gains = slate_metrics(said_SM, own, (CUTOFF,))[f"ndcg@{CUTOFF}"]
        sums = group.sum(np.array([gains.sum(), len(gains)])).tolist()
        return found | {"validation": sums[0] / sums[1]}

    @torch.inference_mode()
    def _loss(self, model: nn.Module, group: Processes) -> tuple[float, int]:
        """Summed loss of this process's share of the validation, and its items."""
        total, count = 0.0, 0
        slates, plan = self.validation, replace(self.plan(1), least_history=None)
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
        """Contexts and items of all slates that train or validate."""
        histories = self.train.histories
        yield from (histories.items, histories.strengths, histories.times, histories.offsets)
        for slates in (self.train, self.validation):
            yield from (slates.user, slates.position, slates.offsets, slates.items)


def fit_slates(
    model_class: type[Model], split: Split, config: Any, fitting: Fitting, vocabulary: Vocabulary
) -> tuple[Model, FitReport]:
    """Train a family on the split's slates, those of their items that have a semantic ID.

    Args:
        model_class: of the family.
        split: with slates.
        config: the shape; `max_history` is taken from `fitting`.
        fitting: how.
        vocabulary: the catalogue with its codes.
    Raises:
        ValueError: there are no slates, none has an item to be learnt, or the vocabulary has no
            semantic IDs.
    """
    level_sizes, codes_VQ = vocabulary.level_sizes, vocabulary.codes_VQ
    config = replace(config, max_history=fitting.settings.max_history)
    slates = learnable(split, config, codes_VQ)
    torch.manual_seed(fitting.settings.seed)
    model = model_class(config, torch.from_numpy(codes_VQ), level_sizes)
    course = SlateCourse(slates, fitting.settings, model.positions_per_item)
    report = fit_course(model, course, fitting)
    lost = split.slates.train.items
    facts = {
        "generation": vocabulary.generation,
        "level_sizes": list(level_sizes),
        "train_slates": len(slates.train),
        "train_slates_left_out": len(split.slates.train) - len(slates.train),
        "validation_slates": len(slates.validation),
        "train_slate_items": len(slates.train.items),
        "train_slate_items_without_code": int((codes_VQ[lost, 0] < 0).sum()),
    }
    return model, replace(report, facts={**report.facts, **facts})


def slate_family(
    model_class: type[Model], config_class: type, align: Callable[..., tuple[Any, FitReport]]
) -> Family:
    """A class of slate models as a family: fitted, saved, loaded and aligned as all of them are.

    Args:
        model_class: says slates.
        config_class: its shape.
        align: `training.models.alignment.align`, which builds on this module.
    """

    def fit(
        split: Split, config: Any, fitting: Fitting, vocabulary: Vocabulary
    ) -> tuple[Model, FitReport]:
        return fit_slates(model_class, split, config, fitting, vocabulary)

    def load(directory: Path, device: str = "cpu") -> Model:
        return load_slate_model(model_class, config_class, directory, device)

    return Family(
        model_class.family,
        config_class,
        fit,
        save_slate_model,
        load,
        uses_semantic_ids=True,
        uses_slates=True,
        align=align,
    )


def learnable(split: Split, config: Any, codes_VQ: np.ndarray) -> SlateSplit:
    """The split's slates as a model learns them: items that are wanted and have codes, in order.

    Raises:
        ValueError: the split has no slates, or none has an item to be learnt.
    """
    if split.slates is None:
        raise ValueError(
            "this family learns slates, and the split has none; run build_slates for the day"
        )
    has_code_V = codes_VQ[:, 0] >= 0
    slates = split.slates.keeping(lambda histories: has_code_V[histories.items]).map(
        lambda part: part.targets(config.order, minimum_strength=config.minimum_strength)
    )
    slates = slates.map(lambda part: part.keeping_items(has_code_V[part.items]))
    if not len(slates.train):
        raise ValueError(
            f"none of {len(split.slates.train)} training slates has an item with a semantic ID"
            f" and a strength of {config.minimum_strength} or more; lower minimum_strength"
        )
    return slates


def save_slate_model(model: SlateModel, directory: Path) -> None:
    """Write weights and codes as safetensors, the shape as JSON."""
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, directory / f"{model.family}.safetensors")
    shape = {
        "num_items": len(model.codes_VQ),
        "level_sizes": model.level_sizes,
        "config": asdict(model.config),
    }
    (directory / f"{model.family}.json").write_text(json.dumps(shape), encoding="utf-8")


def load_slate_model(
    model_class: type[Model], config_class: type, directory: Path, device: str
) -> Model:
    """Read what `save_slate_model` wrote."""
    family = model_class.family
    shape = json.loads((directory / f"{family}.json").read_text(encoding="utf-8"))
    level_sizes = tuple(shape["level_sizes"])
    empty_VQ = torch.zeros(shape["num_items"], len(level_sizes), dtype=torch.int32)
    model = model_class(config_class(**shape["config"]), empty_VQ, level_sizes)
    model.load_state_dict(load_file(directory / f"{family}.safetensors"))
    return model.to(device).eval()


def _evenly(slates: Slates, count: int) -> Slates:
    """So many slates, evenly spread over those there are."""
    count = min(count, len(slates))
    return slates.where(np.linspace(0, len(slates) - 1, count).astype(np.int64))
