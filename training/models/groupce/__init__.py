"""groupce: probability of a click, learnt with lists inside nested groups of similar users."""

from training.models.groupce.fit import fit
from training.models.groupce.model import Groupce
from training.models.interface import Family
from training.settings import FAMILIES

FAMILY = Family.of(FAMILIES["groupce"], Groupce, fit)

__all__ = ["FAMILY"]
