"""What is measured, in order: what is cheap first, what compiles last."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.gpu import decoding, epochs, parity, precision
from benchmarks.gpu.machine import Machine


@dataclass(frozen=True)
class Part:
    """One measure.

    Attributes:
        measure: gives its figures, JSON-serialisable.
        seconds: that it is expected to take on an H100.
    """

    measure: Callable[[Machine], dict[str, Any]]
    seconds: int


PARTS = {
    "parity": Part(parity.measure, 60),
    "constrained_beam": Part(decoding.measure_beam, 20),
    "slate_decode": Part(decoding.measure_slates, 20),
    "epochs": Part(epochs.measure, 40),
    "bfloat16": Part(precision.measure, 60),
    "compiled": Part(precision.measure_compiled, 150),
}
"""A new measure is a line here."""
