"""higr: a planner says what each place of a slate is to be like, a light generator which item."""

from training.models.alignment import align
from training.models.higr.model import Higr
from training.models.slate_fit import slate_family
from training.settings.higr import HigrConfig

FAMILY = slate_family(Higr, HigrConfig, align)

__all__ = ["FAMILY"]
