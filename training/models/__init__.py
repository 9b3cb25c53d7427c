"""Every family of models that can be trained, registered and asked."""

from typing import Any

from feature_store.installed import MODELS_GROUP, Registry
from training.models import (
    flat_slate,
    groupce,
    higr,
    item_knn,
    popularity,
    rankgr,
    rates,
    sasrec,
    tiger,
    unigrf,
)
from training.models.interface import Family
from training.settings import spec_of


def _family_of(name: str, thing: Any) -> Family:
    """What an entry point names, as a family."""
    spec = spec_of(name, thing)
    if not isinstance(spec, Family):
        raise ValueError("has no model, expected a training.models.interface.Family")
    return spec


_OURS = (
    higr.FAMILY,
    flat_slate.FAMILY,
    tiger.FAMILY,
    rankgr.FAMILY,
    unigrf.FAMILY,
    groupce.FAMILY,
    sasrec.FAMILY,
    item_knn.FAMILY,
    popularity.FAMILY,
    rates.FAMILY,
)
MODELS: Registry[Family] = Registry(
    MODELS_GROUP, {family.name: family for family in _OURS}, _family_of
)
