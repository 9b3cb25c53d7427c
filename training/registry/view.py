"""A look at the registry that imports no MLflow and creates nothing: for commands that only look.

MLflow takes seconds to import and makes its database where there is none. The one-machine form
keeps the registry in a SQLite file, which is read here as MLflow 3.17 lays it out; a test compares
it with `training.registry.client`. A registry at another address is asked through MLflow.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlparse

from feature_store.settings import Settings
from training.registry.bundle import Bundle
from training.registry.records import (
    BUNDLE,
    Move,
    RegistryError,
    Version,
    move_from,
    opened,
    version_from,
    version_of,
)

_FILE = "sqlite:///"


class View(Protocol):
    """What can be looked at; `training.registry.client.Registry` shows the same and more."""

    def versions(self) -> list[Version]:
        """All versions, oldest first."""
        ...

    def version(self, number: int) -> Version:
        """One version."""
        ...

    def history(self) -> list[Move]:
        """Every move of the champion, oldest first."""
        ...

    def fetch(self, holder: Version) -> Bundle:
        """The verified bundle of a version."""
        ...


def look(settings: Settings, preset: str) -> View:
    """The registry of a preset as it is; an empty one where there is none.

    Raises:
        RegistryError: the registry can't be read.
    """
    if settings.resolved_mlflow_tracking_uri.startswith(_FILE):
        return FileView(settings, preset)
    from training.registry.client import Registry

    return Registry.open(settings, preset, makes_experiment=False)


class FileView:
    """A preset's part of a registry in a SQLite file.

    Args:
        settings: the file's address; it needn't be there.
        preset: whose models.
    """

    def __init__(self, settings: Settings, preset: str) -> None:
        self._path = Path(settings.resolved_mlflow_tracking_uri.removeprefix(_FILE))
        self._settings, self._preset = settings, preset

    def versions(self) -> list[Version]:
        """All versions, oldest first; none where there is no registry."""
        aliases: dict[int, tuple[str, ...]] = {}
        for number, alias in self._rows(
            "SELECT version, alias FROM registered_model_aliases WHERE name = ? ORDER BY alias"
        ):
            aliases[number] = (*aliases.get(number, ()), alias)
        tags = _grouped(
            self._rows("SELECT version, key, value FROM model_version_tags WHERE name = ?")
        )
        return [
            version_from(number, run_id, tags.get(number, {}), aliases.get(number, ()))
            for number, run_id in self._rows(
                "SELECT version, run_id FROM model_versions WHERE name = ?"
                " AND current_stage <> 'Deleted_Internal' ORDER BY version"
            )
        ]

    def version(self, number: int) -> Version:
        """One version.

        Raises:
            RegistryError: there is none of that number; the message lists those that exist.
        """
        return version_of(self.versions(), number, self._preset)

    def history(self) -> list[Move]:
        """Every move of the champion, oldest first; none where there is no registry."""
        tags = _grouped(self._rows(f"SELECT run_uuid, key, value FROM tags {_OF_MOVES}"))
        runs = self._rows(f"SELECT run_uuid, start_time, status FROM runs {_OF_MOVES}")
        moves = (
            move_from(tags[run_id], milliseconds, status == "FINISHED")
            for run_id, milliseconds, status in runs
            if "sidereal.move" in tags[run_id]
        )
        return sorted(moves, key=lambda move: move.milliseconds)

    def fetch(self, holder: Version) -> Bundle:
        """The verified bundle of a version.

        Raises:
            RegistryError: the artifacts are gone.
            BundleError: the bundle is corrupt, or is not the one that was logged.
        """
        found = self._rows("SELECT artifact_uri FROM runs WHERE run_uuid = ?", holder.run_id)
        address = urlparse(found[0][0] if found else "")
        if address.scheme not in ("", "file"):  # MLflow knows how to get it
            from training.registry.client import Registry

            return Registry.open(self._settings, self._preset, makes_experiment=False).fetch(holder)
        path = Path(unquote(address.path)) / BUNDLE
        if not path.exists():
            raise RegistryError(
                f"run {holder.run_id} holds no bundle any more: {path} does not exist"
            )
        return opened(path, holder.digest)

    def _rows(self, query: str, *arguments: str) -> list[tuple[Any, ...]]:
        """Rows of a query whose only parameter is the preset where none is given."""
        if not self._path.is_file():
            return []
        try:
            with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as database:
                return database.execute(query, arguments or (self._preset,)).fetchall()
        except sqlite3.Error as error:
            raise RegistryError(
                f"{self._path} can't be read as a registry of models: {error}"
            ) from error


_OF_MOVES = (
    "WHERE run_uuid IN (SELECT run_uuid FROM runs JOIN experiments USING (experiment_id)"
    " JOIN tags USING (run_uuid) WHERE experiments.name = ? AND runs.lifecycle_stage = 'active'"
    " AND tags.key = 'sidereal.step' AND tags.value = 'move')"
)


def _grouped(rows: Iterable[tuple[Any, str, str]]) -> Mapping[Any, dict[str, str]]:
    grouped: dict[Any, dict[str, str]] = {}
    for owner, key, value in rows:
        grouped.setdefault(owner, {})[key] = value
    return grouped
