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
from training.settings.tokenizers import CrqVaeConfig, RqKMeansConfig, RqVaeConfig
from training.settings.unigrf import UnigrfConfig

FAMILIES: dict[str, type] = {
    "higr": HigrConfig,
    "flat_slate": FlatSlateConfig,
    "tiger": TigerConfig,
    "unigrf": UnigrfConfig,
    "sasrec": SasrecConfig,
    "item_knn": ItemKnnConfig,
    "popularity": PopularityConfig,
}
"""Shape of each family of recommenders; every field has a default."""

TOKENIZERS: dict[str, type] = {
    "rq_kmeans": RqKMeansConfig,
    "rq_vae": RqVaeConfig,
    "crq_vae": CrqVaeConfig,
}
"""Shape and fit of each kind of tokenizer."""

WITH_SEMANTIC_IDS = frozenset({"higr", "flat_slate", "tiger"})
"""Families that generate semantic IDs."""
SLATE_FAMILIES = frozenset({"higr", "flat_slate"})
"""Families that say whole slates."""
RANKERS = frozenset({"unigrf"})
"""Families that can be fitted to rank."""
