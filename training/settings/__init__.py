"""What presets can set inside families, tokenizers and the alignment, without importing torch.

A preset is checked in a fraction of a second by what stands here; the models themselves take
seconds to import. `training.models.MODELS` and `training.tokenizers.TOKENIZERS` have the same names
and the same classes, which is tested. What installed packages add is imported when it is named.
"""

from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from feature_store.installed import MODELS_GROUP, TOKENIZERS_GROUP, Registry
from training.settings.families import (
    FlatSlateConfig,
    ItemKnnConfig,
    PopularityConfig,
    RatesConfig,
    SasrecConfig,
    TigerConfig,
)
from training.settings.groupce import GroupceConfig
from training.settings.higr import HigrConfig
from training.settings.rankgr import RankgrConfig
from training.settings.spec import LISTS, FamilySpec
from training.settings.tokenizers import CrqVaeConfig, RqKMeansConfig, RqVaeConfig
from training.settings.unigrf import UnigrfConfig


def spec_of(name: str, thing: Any) -> FamilySpec:
    """What an entry point names, as a family.

    Raises:
        ValueError: it is something else, calls itself otherwise, or its config has no defaults.
    """
    if not isinstance(thing, FamilySpec):
        raise ValueError(
            f"is of type {type(thing).__name__}, expected a training.models.interface.Family"
        )
    if thing.name != name:
        raise ValueError(f"calls itself {thing.name!r}, expected the name of its entry point")
    _require_defaults(thing.config_class)
    return thing


def _config_class_of(name: str, kind: Any) -> type:
    config_class = getattr(kind, "config_class", None)
    if not isinstance(config_class, type):
        raise ValueError(
            f"is {kind!r}, expected a class of training.tokenizers.interface.Tokenizer"
        )
    _require_defaults(config_class)
    return config_class


def _require_defaults(config_class: type) -> None:
    if not is_dataclass(config_class):
        raise ValueError(f"has the config {config_class!r}, expected a dataclass")
    bare = [each.name for each in fields(config_class) if each.default is MISSING]
    if bare:
        raise ValueError(
            f"has the config {config_class.__name__}, whose field {', '.join(bare)} has no default"
        )


_OURS = (
    FamilySpec(
        name="higr",
        config_class=HigrConfig,
        reads=("user_sequences", "slates", "semantic_ids"),
        learns_preferences=True,
    ),
    FamilySpec(
        name="flat_slate",
        config_class=FlatSlateConfig,
        reads=("user_sequences", "slates", "semantic_ids"),
        learns_preferences=True,
    ),
    FamilySpec(name="tiger", config_class=TigerConfig, reads=("user_sequences", "semantic_ids")),
    FamilySpec(
        name="rankgr",
        config_class=RankgrConfig,
        reads=("user_sequences", "preference_lists", "semantic_ids"),
    ),
    FamilySpec(name="unigrf", config_class=UnigrfConfig, answers=LISTS | {"feedback"}),
    FamilySpec(
        name="groupce",
        config_class=GroupceConfig,
        reads=("user_sequences", "impressions"),
        answers=frozenset({"feedback"}),
    ),
    FamilySpec(name="sasrec", config_class=SasrecConfig),
    FamilySpec(name="item_knn", config_class=ItemKnnConfig, by_epochs=False),
    FamilySpec(name="popularity", config_class=PopularityConfig, by_epochs=False),
    FamilySpec(
        name="rates",
        config_class=RatesConfig,
        answers=frozenset({"feedback"}),
        by_epochs=False,
    ),
)
FAMILIES: Registry[FamilySpec] = Registry(
    MODELS_GROUP, {spec.name: spec for spec in _OURS}, spec_of
)
"""What a preset must know of each family of models."""

TOKENIZERS: Registry[type] = Registry(
    TOKENIZERS_GROUP,
    {"rq_kmeans": RqKMeansConfig, "rq_vae": RqVaeConfig, "crq_vae": CrqVaeConfig},
    _config_class_of,
)
"""Shape and fit of each kind of tokenizer."""
