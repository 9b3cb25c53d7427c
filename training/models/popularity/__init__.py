"""popularity: the same list for everybody, the floor that every model must clear."""

from training.models.interface import Family
from training.models.popularity.fit import fit
from training.models.popularity.model import Popularity
from training.settings import FAMILIES

FAMILY = Family.of(FAMILIES["popularity"], Popularity, fit)

__all__ = ["FAMILY"]
