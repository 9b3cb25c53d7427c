"""rankgr: generative retrieval with listwise preferences and refined scoring."""

from training.models.interface import Family
from training.models.rankgr.fit import fit
from training.models.rankgr.model import Rankgr
from training.settings import FAMILIES

FAMILY = Family.of(FAMILIES["rankgr"], Rankgr, fit)

__all__ = ["FAMILY"]
