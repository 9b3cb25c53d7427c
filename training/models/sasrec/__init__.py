"""sasrec: self-attention over a history, softmax over the whole catalogue."""

from training.models.interface import Family
from training.models.sasrec.fit import fit
from training.models.sasrec.model import Sasrec
from training.settings import FAMILIES

FAMILY = Family.of(FAMILIES["sasrec"], Sasrec, fit)

__all__ = ["FAMILY"]
