"""Every table there is."""

from feature_store.contract import Contract
from feature_store.tables.deliveries import DELIVERIES
from feature_store.tables.interactions import INTERACTIONS
from feature_store.tables.item_cooccurrence import ITEM_COOCCURRENCE
from feature_store.tables.item_embeddings import ITEM_EMBEDDINGS
from feature_store.tables.items import ITEMS
from feature_store.tables.preference_pairs import PREFERENCE_PAIRS
from feature_store.tables.quarantine import QUARANTINE
from feature_store.tables.recommendations import RECOMMENDATIONS
from feature_store.tables.semantic_ids import SEMANTIC_IDS
from feature_store.tables.slates import SLATES
from feature_store.tables.user_sequences import USER_SEQUENCES

CATALOG: dict[str, Contract] = {
    table.name: table
    for table in (
        INTERACTIONS,
        QUARANTINE,
        DELIVERIES,
        ITEMS,
        ITEM_EMBEDDINGS,
        USER_SEQUENCES,
        SLATES,
        PREFERENCE_PAIRS,
        ITEM_COOCCURRENCE,
        SEMANTIC_IDS,
        RECOMMENDATIONS,
    )
}
