"""What a number may be. Types say it, so that a preset is refused before anything is fitted."""

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

AtLeastOne = Annotated[int, Ge(1)]
AtLeastZero = Annotated[int, Ge(0)]
AboveZero = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
ShareBelowOne = Annotated[float, Ge(0), Lt(1)]
Strength = Annotated[int, Ge(-1), Le(3)]
