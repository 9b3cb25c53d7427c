"""What a slate costs whose places are planned first and whose items are said all at once."""

from typing import Any

from benchmarks.slate_decode import measure_feedback
from feature_store.settings import Settings

GOAL = 0.2


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Median milliseconds per slate, of HiGR with latent feedback and of the flat decoder."""
    return measure_feedback(settings, "latent", GOAL, quick=quick)
