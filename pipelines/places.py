"""Where a preset's raw data lies, as far as that can be told without Spark."""

import os
from pathlib import Path

from feature_store.preset_problems import near
from feature_store.settings import Settings
from pipelines.config import PipelineConfig, TableSource


def source_place(config: PipelineConfig, settings: Settings) -> Path | None:
    """The local file or folder of the preset's source, as far as it names no day, if it exists."""
    place = _local(config.source.path, settings)
    return place if place is not None and place.exists() else None


def has_data(config: PipelineConfig, settings: Settings) -> bool:
    """Whether any file lies at the preset's source, that isn't hidden; local places alone.

    A folder that may not be looked into may have data: whoever reads it says what is wrong.
    """
    place = source_place(config, settings)
    if place is None or place.is_file():
        return place is not None
    return not os.access(place, os.R_OK | os.X_OK) or any(
        entry.is_file() and not entry.name.startswith((".", "_")) for entry in place.rglob("*")
    )


def absent_places(config: PipelineConfig, settings: Settings) -> list[str]:
    """Local places that the preset names and that aren't there: one sentence each.

    What lies elsewhere, and what `sidereal fetch` gets, isn't looked for.
    """
    named = {"source.path": config.source.path}
    if isinstance(config.source, TableSource):
        beside = {"catalogue": config.source.catalogue, "users": config.source.users}
        named |= {f"source.{key}.path": each.path for key, each in beside.items() if each}
    places = {key: _local(path, settings) for key, path in named.items()}
    return [
        f"{key}: there is nothing at {place}{_hint(place)}; put your data there, or correct the "
        "preset"
        for key, place in places.items()
        if place is not None and not place.exists()
    ]


def _hint(place: Path) -> str:
    """The file or folder that was probably meant: one of the first missing name's neighbours."""
    missing = place
    while missing != missing.parent and not missing.parent.is_dir():
        missing = missing.parent
    names = (entry.name for entry in missing.parent.iterdir() if not entry.name.startswith("."))
    nearest = near(missing.name, names)
    return f" (did you mean {str(missing.parent / nearest)!r}?)" if nearest else ""


def _local(path: str, settings: Settings) -> Path | None:
    """A path up to where it first names a day; None where it isn't a local one."""
    if not path or "://" in path:
        return None
    before, pattern, _ = path.partition("{day}")
    return settings.data_path / (before.rpartition("/")[0] if pattern else before)
