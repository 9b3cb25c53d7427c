"""item_knn: items that the same people met, the classical neighbourhood model."""

from training.models.interface import Family
from training.models.item_knn.fit import fit
from training.models.item_knn.model import ItemKnn
from training.settings import FAMILIES

FAMILY = Family.of(FAMILIES["item_knn"], ItemKnn, fit)

__all__ = ["FAMILY"]
