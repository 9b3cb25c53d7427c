"""blend: two fitted models of other families, answering together."""

from training.models.blend.fit import fit
from training.models.blend.model import Blend, BlendConfig, Reads, reads_of_both
from training.models.interface import Family
from training.settings.spec import BLEND

FAMILY = Family(
    name=BLEND,
    config_class=BlendConfig,
    by_epochs=False,
    model_class=Blend,
    fit=fit,
)
"""No family that a preset can train: it is made of two that are trained anyway."""

__all__ = ["FAMILY", "Reads", "reads_of_both"]
