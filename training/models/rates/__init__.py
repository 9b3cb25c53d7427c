"""rates: how often an item, and a person, meet with positive feedback; the floor of feedback."""

from training.models.interface import Family
from training.models.rates.fit import fit
from training.models.rates.model import Rates
from training.settings import FAMILIES

FAMILY = Family.of(FAMILIES["rates"], Rates, fit)

__all__ = ["FAMILY"]
