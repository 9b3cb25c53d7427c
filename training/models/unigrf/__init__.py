"""unigrf: one generative model for retrieval and ranking."""

from training.models.unigrf.fit import FAMILY

__all__ = ["FAMILY"]
