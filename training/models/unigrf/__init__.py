"""unigrf: one generative model for retrieval and ranking."""

from training.models.unigrf.family import FAMILY

__all__ = ["FAMILY"]
