"""Every family of recommenders that can be trained, registered and served."""

from training.models import item_knn, popularity, sasrec, tiger
from training.models.interface import Family

MODELS: dict[str, Family] = {
    family.name: family
    for family in (tiger.FAMILY, sasrec.FAMILY, item_knn.FAMILY, popularity.FAMILY)
}
