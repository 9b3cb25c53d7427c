"""A bundle: one directory with everything that belongs to one trained recommender.

    bundle.json           the manifest: what it is, what it was made from, the digest of every file
    model/                what `training.models.weights` wrote: tensors (safetensors), shape (JSON)
    items.parquet         item_index, item_id: the vocabulary that the weights were trained on
    semantic_ids.parquet  the SID table of one generation   (families that use semantic IDs)
    tokenizer/            the tokenizer of that generation  (families that use semantic IDs)
    split.json            which events were trained on, validated on and held out
    config.json           the preset's sections that shaped it
    training.json         curves and durations of the fit

Nothing in it is a pickle. `open_bundle` reads no weight before every digest has been checked, and
refuses parts that do not belong together.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.config import Tokenizer

FORMAT_VERSION = 1
MANIFEST = "bundle.json"
_MEASURED = ("training.json",)  # holds durations, so it is checked but is no part of the identity
_REQUIRED = ("items.parquet", "split.json", "config.json", "training.json")
_CHUNK_BYTES = 1 << 20
_COLLISIONS = get_args(Tokenizer.model_fields["collisions"].annotation)


class BundleError(Exception):
    """A bundle that can't be used."""


class BundleFormatError(BundleError):
    """There is no manifest, or not one that this code reads."""


class BundleCorruptError(BundleError):
    """A file is missing, surplus, cut short or changed."""


class BundleMixError(BundleError):
    """Every file is whole, but they do not belong together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a bundle comes from.

    Args:
        family: a key of `training.models.MODELS`.
        preset: the preset's name.
        day: the training day, ISO.
        code_revision: of the code that trained it; recorded, no part of the identity.
        inputs: per table read, `snapshot_id` and `content_hash`; the hash is part of the identity.
        generation: semantic-ID generation; None for a family that uses none.
    """

    family: str
    preset: str
    day: str
    code_revision: str
    inputs: Mapping[str, Mapping[str, Any]]
    generation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A verified bundle on disk."""

    directory: Path
    origin: Origin
    digest: str
    """SHA-256, hex, of what determines the recommendations and of what they were learnt from.
    Snapshot ids, the code revision and durations are left out: the same training anywhere has the
    same digest."""
    num_bytes: int

    @property
    def family(self) -> str:
        """The model family."""
        return self.origin.family

    @property
    def inputs_digest(self) -> str:
        """SHA-256 of the content hashes of the tables it was trained on."""
        return inputs_digest(self.origin.inputs)

    def items(self) -> pa.Table:
        """`item_index`, `item_id`, sorted by index; dense from 0."""
        return pq.read_table(self.directory / "items.parquet")

    def semantic_ids(self) -> pa.Table | None:
        """The SID table of the generation; None where the family uses none."""
        path = self.directory / "semantic_ids.parquet"
        return pq.read_table(path) if path.is_file() else None

    def document(self, name: str) -> dict[str, Any]:
        """One of the JSON parts: `split`, `config` or `training`."""
        loaded: dict[str, Any] = json.loads((self.directory / f"{name}.json").read_text())
        return loaded


def inputs_digest(inputs: Mapping[str, Mapping[str, Any]]) -> str:
    """SHA-256 over the content hashes of input tables, whatever their order and snapshot ids."""
    return digest_of({table: facts["content_hash"] for table, facts in inputs.items()})


def digest_of(content: Mapping[str, Any]) -> str:
    """SHA-256, hex, of plain data, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def generation_digest(tokenizer_digest: str, collisions: str) -> str:
    """The 12 hex digits that end a generation's name: the tokenizer and how collisions end."""
    return digest_of({"tokenizer": tokenizer_digest, "collisions": collisions})[:12]


def write_bundle(
    directory: Path,
    *,
    origin: Origin,
    items: pa.Table,
    documents: Mapping[str, Mapping[str, Any]],
    save_model: Callable[[Path], None],
    semantic_ids: pa.Table | None = None,
    tokenizer: Path | None = None,
) -> Bundle:
    """Write a bundle and open it again.

    Args:
        directory: where it will lie; must not exist or be empty.
        origin: what it is.
        items: `item_index`, `item_id`.
        documents: `split`, `config` and `training`, as JSON-serialisable mappings.
        save_model: writes the weights into the folder it is given.
        semantic_ids: rows of the `semantic_ids` table of `origin.generation`.
        tokenizer: folder of the saved tokenizer of that generation.
    Raises:
        ValueError: the directory holds files already.
        BundleError: what was written would be refused by `open_bundle`.
    """
    if directory.exists() and any(directory.iterdir()):
        raise ValueError(
            f"{directory} is not empty; a bundle is written into a directory of its own"
        )
    (directory / "model").mkdir(parents=True)
    save_model(directory / "model")
    _write_table(items.select(["item_index", "item_id"]), directory / "items.parquet")
    if semantic_ids is not None:
        _write_table(semantic_ids, directory / "semantic_ids.parquet")
    if tokenizer is not None:
        shutil.copytree(tokenizer, directory / "tokenizer")
    for name, content in documents.items():
        (directory / f"{name}.json").write_text(_readable(content), encoding="utf-8")
    _write_manifest(directory, origin)
    return open_bundle(directory)


def open_bundle(directory: Path) -> Bundle:
    """Verify every file of a bundle and that its parts belong together.

    Raises:
        BundleFormatError: no readable manifest, or a format version that this code doesn't know.
        BundleCorruptError: files are missing, surplus or changed; all of them are named.
        BundleMixError: the SID table, the vocabulary or the tokenizer is of something else.
    """
    manifest = _read_manifest(directory)
    problems = [*_file_problems(directory, manifest["files"])]
    if problems:
        raise BundleCorruptError(_refusal(directory, problems))
    origin = Origin(**manifest["origin"])
    problems = [*_mix_problems(directory, origin)]
    if problems:
        raise BundleMixError(_refusal(directory, problems))
    return Bundle(
        directory=directory,
        origin=origin,
        digest=_identity(origin, manifest["files"]),
        num_bytes=sum(entry["bytes"] for entry in manifest["files"].values()),
    )


def _write_table(table: pa.Table, path: Path) -> None:
    ordered = table.sort_by("item_index").combine_chunks().replace_schema_metadata(None)
    pq.write_table(ordered, path, compression="zstd")


def _write_manifest(directory: Path, origin: Origin) -> None:
    files = {
        path.relative_to(directory).as_posix(): {
            "sha256": _sha256(path),
            "bytes": path.stat().st_size,
        }
        for path in _files(directory)
    }
    content = {
        "format_version": FORMAT_VERSION,
        "origin": {name: getattr(origin, name) for name in Origin.__slots__},
        "digest": _identity(origin, files),
        "files": files,
    }
    content["seal"] = digest_of(content)
    (directory / MANIFEST).write_text(_readable(content), encoding="utf-8")


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version, seal = manifest["format_version"], manifest.pop("seal")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleFormatError(f"no bundle at {directory}: {MANIFEST} is missing") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleFormatError(f"{path} is not a manifest: {error!r}") from error
    if version != FORMAT_VERSION:
        raise BundleFormatError(
            f"{path} has format version {version!r}; this code reads {FORMAT_VERSION}. "
            "Train again, or read it with the revision that wrote it"
        )
    if seal != digest_of(manifest):
        raise BundleCorruptError(f"{path} was changed after it was written: its seal is broken")
    return manifest


def _files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path != directory / MANIFEST:
            yield path


def _file_problems(directory: Path, stated: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    found = {path.relative_to(directory).as_posix(): path for path in _files(directory)}
    missing = sorted({*stated, *_REQUIRED} - found.keys())
    yield from (f"{name} is missing" for name in missing)
    yield from (f"{name} is not in the manifest" for name in sorted(found.keys() - stated.keys()))
    for name in sorted(stated.keys() & found.keys()):
        size, expected = found[name].stat().st_size, stated[name]["bytes"]
        if size != expected:
            yield f"{name} has {size:,} bytes, expected {expected:,}"
        elif _sha256(found[name]) != stated[name]["sha256"]:
            yield f"{name} was changed: its SHA-256 is not the manifest's"


def _mix_problems(directory: Path, origin: Origin) -> Iterator[str]:
    items = pq.read_table(directory / "items.parquet")
    index = items["item_index"].to_numpy()
    if not np.array_equal(index, np.arange(len(index))):
        yield f"items.parquet is not dense from 0: {len(index):,} rows, last {index[-1:].tolist()}"
    parts = {"semantic_ids.parquet", "tokenizer/tokenizer.json"}
    there = sorted(part for part in parts if (directory / part).is_file())
    if origin.generation is None:
        if there:
            yield f"there is {there}, but the manifest names no generation"
        return
    if missing := sorted(parts - set(there)):
        yield f"the manifest names generation {origin.generation!r}, but there is no {missing}"
        return
    yield from _generation_problems(directory, items, origin.generation)


def _generation_problems(directory: Path, items: pa.Table, generation: str) -> Iterator[str]:
    sids = pq.read_table(directory / "semantic_ids.parquet")
    found = sids["generation"].unique().to_pylist()
    if found != [generation]:
        yield f"the SID table is of generation {found}, the weights of {generation!r}"
    tokenizer = json.loads((directory / "tokenizer" / "tokenizer.json").read_text())["digest"]
    if not any(generation.endswith(generation_digest(tokenizer, p)) for p in _COLLISIONS):
        yield f"the tokenizer has digest {tokenizer:.12}…, which is not that of {generation!r}"
    index = sids["item_index"].to_numpy()
    inside = index < items.num_rows
    named = items["item_id"].take(pa.array(np.where(inside, index, 0)))
    strangers = ~(inside & pc.equal(named, sids["item_id"]).to_numpy())
    if strangers.any():
        examples = sids.select(["item_index", "item_id"]).filter(pa.array(strangers)).slice(0, 3)
        yield (
            f"{strangers.sum():,} rows of the SID table name items that items.parquet has not, "
            f"e.g. {[tuple(row.values()) for row in examples.to_pylist()]}"
        )


def _identity(origin: Origin, files: Mapping[str, Mapping[str, Any]]) -> str:
    return digest_of(
        {
            "format_version": FORMAT_VERSION,
            "family": origin.family,
            "preset": origin.preset,
            "day": origin.day,
            "generation": origin.generation,
            "inputs": {table: facts["content_hash"] for table, facts in origin.inputs.items()},
            "files": {k: v["sha256"] for k, v in files.items() if k not in _MEASURED},
        }
    )


def _refusal(directory: Path, problems: list[str]) -> str:
    listed = "".join(f"\n  {problem}" for problem in problems)
    return f"bundle at {directory} is refused:{listed}"


def _readable(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True, default=str) + "\n"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()
