"""A day's summary for a person's eyes."""
from pathlib import Path
from typing import Any
def print_summary(console: Any, facts: dict[str, Any], path: Path) -> None:
    """Print."""
    console.print(facts)
