"""Every table there is: ours, and those that installed packages add."""

from typing import Any

from feature_store.contract import Contract
from feature_store.installed import TABLES_GROUP, Registry
from feature_store.tables.collaborative_vectors import COLLABORATIVE_VECTORS
from feature_store.tables.deliveries import DELIVERIES
from feature_store.tables.feature_vocabularies import FEATURE_VOCABULARIES
from feature_store.tables.impressions import IMPRESSIONS
from feature_store.tables.interactions import INTERACTIONS
from feature_store.tables.item_cooccurrence import ITEM_COOCCURRENCE
from feature_store.tables.item_embeddings import ITEM_EMBEDDINGS
from feature_store.tables.items import ITEMS
from feature_store.tables.preference_lists import PREFERENCE_LISTS
from feature_store.tables.preference_pairs import PREFERENCE_PAIRS
from feature_store.tables.quarantine import QUARANTINE
from feature_store.tables.recommendations import RECOMMENDATIONS
from feature_store.tables.sampled_beams import SAMPLED_BEAMS
from feature_store.tables.semantic_ids import SEMANTIC_IDS
from feature_store.tables.slates import SLATES
from feature_store.tables.user_sequences import USER_SEQUENCES
from feature_store.tables.users import USERS


def _table(name: str, thing: Any) -> Contract:
    if not isinstance(thing, Contract):
        raise ValueError(
            f"is of type {type(thing).__name__}, expected a {Contract.__module__}.Contract"
        )
    if thing.name != name:
        raise ValueError(f"calls itself {thing.name!r}, expected {name!r}")
    return thing


_OURS = {
    table.name: table
    for table in (
        INTERACTIONS,
        QUARANTINE,
        DELIVERIES,
        ITEMS,
        USERS,
        ITEM_EMBEDDINGS,
        USER_SEQUENCES,
        SLATES,
        PREFERENCE_PAIRS,
        PREFERENCE_LISTS,
        FEATURE_VOCABULARIES,
        IMPRESSIONS,
        COLLABORATIVE_VECTORS,
        ITEM_COOCCURRENCE,
        SEMANTIC_IDS,
        RECOMMENDATIONS,
        SAMPLED_BEAMS,
    )
}
CATALOG: dict[str, Contract] = Registry(TABLES_GROUP, _OURS, _table).loaded()
