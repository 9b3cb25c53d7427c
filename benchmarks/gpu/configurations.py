"""Every family as the parts ask it, and the way from a family to its model and its batches."""

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.synthetic import World
from training.fit.fitting import LoopSettings
from training.fit.objective import NextItems, Objective
from training.models import MODELS
from training.models.coded.model import CodedModel
from training.models.groupce.batches import Rows
from training.models.groupce.model import Groupce
from training.models.groupce.objective import ImpressionObjective
from training.models.slate.fit import SlateObjective, learnable
from training.models.slate.model import SlateModel


@dataclass(frozen=True)
class Configuration:
    """A family with some of its settings.

    Attributes:
        family: a key of `MODELS`.
        settings: of its config.
        num_items: of its catalogue; 0: those that are met.
        num_levels: of its semantic IDs.
        draws: whether its loss draws items, which no two devices draw alike.
    """

    family: str
    settings: dict[str, Any] = field(default_factory=dict)
    num_items: int = 0
    num_levels: int = 3
    draws: bool = False

    def config(self, **more: Any) -> Any:
        """The family's config, with more fields set: those that it has of them."""
        family = MODELS[self.family]
        known = {each.name for each in fields(family.config_class)}
        more = {name: value for name, value in more.items() if name in known}
        return family.configure(self.settings | more)

    @property
    def is_counted(self) -> bool:
        """Whether it has no weights that steps turn."""
        return not MODELS[self.family].by_epochs


_HSTU = {"backbone": "hstu", "similarity": "cosine"}
_NO_ENHANCER = {"hard_negatives": 0, "favourite_share": 0.0}
CONFIGURATIONS = {
    "tiger": Configuration("tiger"),
    "tiger, codes alone": Configuration("tiger", {"learns": "codes", "answer": "codes"}),
    "tiger, items alone": Configuration("tiger", {"learns": "items", "answer": "items"}),
    # More prefixes of two codes than `training.models.coded.exact` scores in whole.
    "tiger, by beam": Configuration("tiger", num_items=6000, num_levels=4),
    "rankgr": Configuration("rankgr"),
    "higr": Configuration("higr"),
    "higr, latent": Configuration("higr", {"planner_feedback": "latent"}),
    "flat_slate": Configuration("flat_slate"),
    "unigrf, drawn": Configuration("unigrf", draws=True),
    "unigrf": Configuration("unigrf", {"num_negatives": 0, **_NO_ENHANCER}),
    "unigrf, llama": Configuration(
        "unigrf", {"num_negatives": 0, **_NO_ENHANCER, "backbone": "llama"}
    ),
    "groupce": Configuration("groupce"),
    "groupce, din": Configuration("groupce", {"network": "din", "ranking_loss": "jrc"}),
    "sasrec": Configuration("sasrec"),
    "sasrec, hstu": Configuration("sasrec", _HSTU),
    "item_knn": Configuration("item_knn"),
    "popularity": Configuration("popularity"),
    "rates": Configuration("rates"),
}


def fresh(configuration: Configuration, world: World, **shape: Any) -> nn.Module:
    """A model with its first weights, which are those of seed 0.

    Args:
        configuration: neural.
        world: whose catalogue it knows.
        shape: more of the config.
    """
    model_class, config = MODELS[configuration.family].model_class, configuration.config(**shape)
    vocabulary = world.vocabulary
    torch.manual_seed(0)
    if issubclass(model_class, Groupce):
        ranker: nn.Module = model_class(config, world.impressions.features)
        return ranker
    if not issubclass(model_class, CodedModel):
        model: nn.Module = model_class(config, vocabulary.num_items)
        return model
    codes_VQ = torch.from_numpy(vocabulary.require_codes())
    content_VE = torch.from_numpy(vocabulary.require_vectors())
    coded: nn.Module = model_class(config, codes_VQ, content_VE, vocabulary.level_sizes)
    return coded


def objective_of(model: Any, world: World, loop: LoopSettings) -> Objective:
    """What the loop would go through."""
    if isinstance(model, Groupce):
        reads = world.split.test.histories if model.backbone.reads_history else None
        rows = Rows.of(world.impressions, model.config.positive_strength, reads, loop.max_history)
        return ImpressionObjective(model, rows, rows, loop)
    if not isinstance(model, SlateModel):
        return NextItems(world.split, loop, model.positions_per_event)
    slates = learnable(world.slates, model.config, world.vocabulary.require_codes())
    return SlateObjective(slates, loop, model.positions_per_item, model.config.order)
