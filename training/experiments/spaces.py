"""Which settings a search chooses, family by family, and among which values.

A family that loops has the same ones of the loop as any other; how long it may loop is the table's
budget and is not searched. Standard library alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Among:
    """One of some values.

    Attributes:
        values: texts, numbers or None.
    """

    values: tuple[int | float | str | None, ...]


@dataclass(frozen=True)
class Between:
    """A number between two others, rounded to two significant digits.

    Attributes:
        low: the smallest.
        high: the largest.
        is_logarithmic: whether equal factors, and not equal differences, are equally likely.
    """

    low: float
    high: float
    is_logarithmic: bool = False

    def rounded(self, value: float) -> float:
        """The value as it is set.

        Example:
            >>> Between(0.0001, 1.0).rounded(0.0034567)
            0.0035
        """
        if value == 0:
            return 0.0
        return round(value, 1 - math.floor(math.log10(abs(value))))


Domain = Among | Between


@dataclass(frozen=True, kw_only=True)
class Space:
    """What is searched for a family.

    Attributes:
        shape: fields of its config.
        loop: fields of `training`.
    """

    shape: Mapping[str, Domain] = field(default_factory=dict)
    loop: Mapping[str, Domain] = field(default_factory=dict)

    def paths(self, family: str) -> dict[str, Domain]:
        """Every domain, by the path that `--set` takes."""
        return {
            **{f"models.settings.{family}.{name}": each for name, each in self.shape.items()},
            **{f"training.overrides.{family}.{name}": each for name, each in self.loop.items()},
        }


_LOOP: Mapping[str, Domain] = {
    "learning_rate": Between(5e-4, 1e-2, is_logarithmic=True),
    "tokens_per_batch": Among((1024, 2048, 4096, 8192)),
    "weight_decay": Between(1e-3, 0.3, is_logarithmic=True),
}
_DROPOUT = Between(0.05, 0.6)
_LAYERS = Among((1, 2, 3))


def _neural(layers: str) -> Space:
    return Space(shape={"dropout": _DROPOUT, layers: _LAYERS}, loop=_LOOP)


SPACES: Mapping[str, Space] = {
    "higr": Space(
        shape={
            "dropout": _DROPOUT,
            "planner_layers": _LAYERS,
            "item_weight": Among((0.0, 1.0, 2.0, 4.0)),
        },
        loop=_LOOP,
    ),
    "flat_slate": _neural("num_layers"),
    "tiger": _neural("num_layers"),
    "rankgr": Space(
        shape={
            "dropout": _DROPOUT,
            "num_layers": _LAYERS,
            "preference_weight": Among((0.0, 0.01, 0.03, 0.1)),
            "refinement_weight": Among((0.0, 0.3, 1.0)),
        },
        loop=_LOOP,
    ),
    "unigrf": _neural("num_layers"),
    "sasrec": _neural("num_layers"),
    "item_knn": Space(
        shape={
            "neighbours": Among((20, 50, 100, 200, 500)),
            "shrinkage": Between(0.1, 1000.0, is_logarithmic=True),
            "recency_decay": Between(0.2, 1.0),
        }
    ),
    "popularity": Space(
        shape={"half_life_days": Among((None, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0))}
    ),
    "rates": Space(shape={"prior_events": Between(0.5, 500.0, is_logarithmic=True)}),
}
"""Family → what is searched."""
