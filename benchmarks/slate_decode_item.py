"""What a slate costs whose next place is planned when the item before it is known."""

from typing import Any

from benchmarks.slate_decode import measure_feedback
from feature_store.settings import Settings

GOAL = 0.5


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Median milliseconds per slate, of HiGR with item feedback and of the flat decoder."""
    return measure_feedback(settings, "item", GOAL, quick=quick)
