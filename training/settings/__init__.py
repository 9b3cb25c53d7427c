"""What presets can set inside families, tokenizers and the alignment, without importing torch.

A preset is checked in a fraction of a second by what stands here; the models themselves take
seconds to import. `training.models.MODELS` and `training.tokenizers.TOKENIZERS` have the same names
and the same classes, which is tested.
"""

from training.settings.families import (
    FlatSlateConfig,
    ItemKnnConfig,
    PopularityConfig,
    SasrecConfig,
    TigerConfig,
)
from training.settings.higr import HigrConfig
from training.settings.spec import LISTS, FamilySpec
from training.settings.tokenizers import CrqVaeConfig, RqKMeansConfig, RqVaeConfig
from training.settings.unigrf import UnigrfConfig

FAMILIES: dict[str, FamilySpec] = {
    spec.name: spec
    for spec in (
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
        FamilySpec(
            name="tiger", config_class=TigerConfig, reads=("user_sequences", "semantic_ids")
        ),
        FamilySpec(name="unigrf", config_class=UnigrfConfig, answers=LISTS | {"feedback"}),
        FamilySpec(name="sasrec", config_class=SasrecConfig),
        FamilySpec(name="item_knn", config_class=ItemKnnConfig, by_epochs=False),
        FamilySpec(name="popularity", config_class=PopularityConfig, by_epochs=False),
    )
}
"""What a preset must know of each family of models."""

TOKENIZERS: dict[str, type] = {
    "rq_kmeans": RqKMeansConfig,
    "rq_vae": RqVaeConfig,
    "crq_vae": CrqVaeConfig,
}
"""Shape and fit of each kind of tokenizer."""
