"""The family of a bundle: one that a preset trains, or the blend of two."""

from training.models import MODELS, blend
from training.models.interface import Family


def family_of(name: str) -> Family:
    """What makes and loads models of this name.

    Raises:
        KeyError: there is no such family.
    """
    return blend.FAMILY if name == blend.FAMILY.name else MODELS[name]
