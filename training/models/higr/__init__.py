"""higr: a planner says what each place of a slate is to be like, a light generator which item."""

from training.models.higr.family import FAMILY

__all__ = ["FAMILY"]
