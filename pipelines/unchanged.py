"""What a job's rows follow from, as one digest: equal digests, equal rows, nothing to do.

The digest is taken twice: by a run that has committed, into its record, and before the next run of
that day builds a Spark session. It holds the job, the day, the source files of this package and of
the feature store, the pipelines' part of the preset, the content of the tables that the job read
and wrote, and, for jobs that read raw files, name, size and time of change of every file that the
source may read. Nothing here imports Spark.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import unquote, urlsplit

import feature_store
from feature_store.run_record import read_steps, write_step
from feature_store.settings import Settings
from feature_store.steps import steps
from feature_store.store import FeatureStore
from pipelines.config import PipelineConfig

_DAILY = re.compile(r"(?:(?:day|date|dt)=)?(\d{4}-\d{2}-\d{2})(?:\..+)?")
"""What names a day's delivery in a folder of deliveries."""

Facts = dict[str, Any]
RawFiles = list[tuple[str, int, int]]
"""Path, bytes and time of change (ns since 1970) of files, by path."""


def unchanged(name: str, config: PipelineConfig, settings: Settings, day: date) -> Facts | None:
    """Facts of a job's last good run of a day, where running it again could change nothing.

    They become the day's record once more, with status `unchanged` and the seconds that it took to
    find out. None: the job is to be run.

    Raises:
        feature_store.errors.FeatureStoreError: the tables can't be looked at.
    """
    started = perf_counter()
    runs = settings.runs_of(config.name)
    facts = read_steps(runs, day).get(name, {})
    state = facts.get("state")
    if facts.get("status") not in ("done", "unchanged") or not state:
        return None
    store = FeatureStore.open(settings, config.name)
    heads = {table: store.snapshot_id(table) for table in state["tables"]}
    tagged = all(store.snapshot_id(table, at=day) for table in state["outputs"])
    raw = raw_files(name, config, settings, day)
    if not tagged or digest(name, config, day, store, heads, raw) != state["digest"]:
        return None
    facts |= {"status": "unchanged", "seconds": round(perf_counter() - started, 3)}
    write_step(runs, day, name, facts)
    return facts


def digest(
    name: str,
    config: PipelineConfig,
    day: date,
    store: FeatureStore,
    versions: Mapping[str, int | None],
    raw: RawFiles | None,
) -> str | None:
    """Digest of all that a job's rows of a day follow from.

    Args:
        name: the job.
        config: the pipelines' part of the preset.
        day: the partition.
        store: the preset's tables.
        versions: snapshot id of each table that the job reads or writes; None: nothing is
            published.
        raw: as `raw_files` gives it.
    Returns:
        64 hex digits; None where nobody can tell without Spark.
    """
    if raw is None:
        return None
    state = {
        "job": name,
        "day": day.isoformat(),
        "code": [version("pyspark"), _code(steps()[name].runs)],
        "preset": config.model_dump(mode="json"),
        "tables": {table: _content(name, store, table, at, day) for table, at in versions.items()},
        "raw_files": raw,
    }
    text = json.dumps(state, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _code(runs: str) -> str:
    """Digest of the source files that a job's rows are made by.

    Args:
        runs: `module:attribute` of a job of another package; empty for ours.
    """
    packages = [Path(__file__).parent, Path(feature_store.__file__).parent]
    if runs and (spec := find_spec(runs.partition(":")[0].partition(".")[0])) and spec.origin:
        its = Path(spec.origin)
        packages.append(its.parent if its.name == "__init__.py" else its)
    found = hashlib.sha256()
    for package in packages:
        for path in [package] if package.is_file() else sorted(package.rglob("*.py")):
            found.update(f"{path.relative_to(package.parent)}\0".encode())
            found.update(path.read_bytes())
    return found.hexdigest()


def _content(name: str, store: FeatureStore, table: str, at: int | None, day: date) -> str | None:
    """Content of a version; of a table that is written after the job, as it was before the day.

    `build_items` asks which days were published before: what the day itself publishes then can't
    change what it did.
    """
    step = steps()[name]
    if table in step.looks_back and table not in step.writes:
        known = {info.snapshot_id: info for info in store.history(table)} if at else {}
        while at in known and known[at].day == day:
            at = known[at].parent_id
    return None if at is None else store.describe(table, at).content_hash


def raw_files(name: str, config: PipelineConfig, settings: Settings, day: date) -> RawFiles | None:
    """Every file that a job may read for a day; none for a job that reads tables alone.

    Deliveries of later days are left out. None: a place isn't on a disk of this machine, or nothing
    is there.
    """
    if "raw_files" not in steps()[name].reads:
        return []
    found: set[tuple[str, int, int]] = set()
    for place in _places(config):
        local = _local(place, settings.data_path)
        if local is None:
            return None
        found.update(_files_below(local, day))
    return sorted(found) or None


def _places(config: PipelineConfig) -> list[str]:
    """Files and folders that the source reads from; of a pattern, the folder before its day."""
    source = config.source
    if source.layout == "movielens":
        return [source.path or f"movielens-{source.dataset}"]
    if source.layout == "kuairand":
        return [source.path, *([source.history] if source.history else [])]
    beside = [each.path for each in (source.catalogue, source.users) if each]
    return [_before_day(path) for path in (source.path, *beside)]


def _before_day(path: str) -> str:
    before, pattern, _ = path.partition("{day}")
    return before.rpartition("/")[0] if pattern else path


def _local(place: str, root: Path) -> Path | None:
    """The place as a path of this machine; None where it is elsewhere."""
    if "://" not in place:
        return root / place
    address = urlsplit(place)
    return Path(unquote(address.path)) if address.scheme == "file" else None


def _files_below(place: Path, day: date) -> Iterator[tuple[str, int, int]]:
    if place.is_file():
        yield _facts(place)
    for folder, names, files in os.walk(place, followlinks=True):
        here = Path(folder)
        if here == place:
            names[:] = [name for name in names if not _is_after(name, day)]
            files = [name for name in files if not _is_after(name, day)]
        yield from (_facts(here / name) for name in files)


def _facts(path: Path) -> tuple[str, int, int]:
    try:
        found = path.stat()
    except OSError:  # a link to nothing, or a file that is just being moved
        return str(path), -1, -1
    return str(path), found.st_size, found.st_mtime_ns


def _is_after(name: str, day: date) -> bool:
    """Whether a name is that of a later day's delivery."""
    match = _DAILY.fullmatch(name)
    return match is not None and match[1] > day.isoformat()
