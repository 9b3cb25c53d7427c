"""Every family of recommenders that can be trained, registered and served."""

from training.models import flat_slate, higr, item_knn, popularity, sasrec, tiger, unigrf
from training.models.interface import Family

MODELS: dict[str, Family] = {
    family.name: family
    for family in (
        higr.FAMILY,
        flat_slate.FAMILY,
        tiger.FAMILY,
        unigrf.FAMILY,
        sasrec.FAMILY,
        item_knn.FAMILY,
        popularity.FAMILY,
    )
}
