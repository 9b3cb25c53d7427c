"""higr: a planner says what each place of a slate is to be like, a light decoder which item."""

from training.models.higr.model import Higr
from training.models.slate.fit import slate_family

FAMILY = slate_family(Higr)

__all__ = ["FAMILY"]
