"""Where the parts run, and what their figures are figures of."""

import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[2]
MEASURED = ("training", "benchmarks", "feature_store")
PEAKS = {
    "NVIDIA H100 80GB": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H200": 989e12,
    "NVIDIA A100": 312e12,
}
"""Dense bfloat16 products, operations per second, by how a card's name begins: NVIDIA's data
sheets."""


@dataclass(frozen=True)
class Machine:
    """What every part is given.

    Attributes:
        device: `cuda` or `cpu`.
        is_small: a tiny size of everything, to see that it runs; no figures to compare.
    """

    device: str
    is_small: bool

    @property
    def card(self) -> str:
        """The GPU's name, or `cpu`."""
        return torch.cuda.get_device_name() if self.device == "cuda" else "cpu"

    @property
    def peak(self) -> float | None:
        """Operations per second that the card is sold with; None where the card is not listed."""
        return next((peak for name, peak in PEAKS.items() if self.card.startswith(name)), None)

    def identity(self) -> dict[str, str | bool]:
        """What figures of one file have in common."""
        return {
            "card": self.card,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "is_small": self.is_small,
            "code": digest_of_code(),
        }


def digest_of_code() -> str:
    """Twelve hex digits over all code that is measured; a bare machine may have no git."""
    digest = hashlib.sha256()
    for path in sorted(path for name in MEASURED for path in (REPOSITORY / name).rglob("*.py")):
        digest.update(str(path.relative_to(REPOSITORY)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def synchronise(device: str) -> None:
    """Wait until a GPU has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
