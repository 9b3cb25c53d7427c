"""tiger: generative retrieval. The next item's semantic ID is written code by code."""

from training.models.interface import Family
from training.models.tiger.fit import fit
from training.models.tiger.model import Tiger
from training.settings import FAMILIES

FAMILY = Family.of(FAMILIES["tiger"], Tiger, fit)

__all__ = ["FAMILY"]
