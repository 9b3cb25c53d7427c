"""flat_slate: a slate as one line of codes, each a step of one stack; what HiGR is to beat."""

from training.models.flat_slate.model import FlatSlate
from training.models.slate.fit import slate_family

FAMILY = slate_family(FlatSlate)

__all__ = ["FAMILY"]
