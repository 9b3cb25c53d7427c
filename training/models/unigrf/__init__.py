"""unigrf: one generative model for retrieval and ranking."""

from training.models.interface import Family
from training.models.unigrf.fit import fit
from training.models.unigrf.model import Unigrf
from training.settings import FAMILIES

FAMILY = Family.of(FAMILIES["unigrf"], Unigrf, fit)

__all__ = ["FAMILY"]
