"""What the registry knows, as plain records read from the tags that its client writes."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.registry.bundle import Bundle, BundleCorruptError, open_bundle

CHAMPION = "champion"
"""The alias of the version that serves."""
BUNDLE = "model/artifacts/bundle"
"""Where a run keeps its bundle."""
TOKENIZER_FACTS = "tokenizer_facts.json"
"""The file of a tokenizer's run that holds what the fit found."""
Tags = Mapping[str, str]


class RegistryError(Exception):
    """The registry does not hold what was asked for, or can't be moved as asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A trained bundle that a run holds, registered or not."""

    run_id: str
    day: str
    family: str
    inputs_digest: str
    """Of what it was trained from, as the training program stated it."""
    digest: str
    """The bundle's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerRecord:
    """A trained tokenizer that a run holds."""

    run_id: str
    day: str
    generation: str
    inputs_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A registered bundle."""

    number: int
    run_id: str
    day: str
    family: str
    digest: str
    aliases: tuple[str, ...]
    verdicts: Mapping[str, Mapping[str, Any]]
    """The gate's verdicts about it, by day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One entry of the audit: the champion changed."""

    kind: str
    """`promote` or `rollback`."""
    day: str
    from_version: int | None
    to_version: int
    digest: str
    reason: str
    milliseconds: int
    """When, since 1970 (UTC), as MLflow stamped it."""
    finished: bool
    """False where the process ended between the audit's entry and the end of the move."""


def candidate_from(run_id: str, tags: Tags) -> Candidate:
    """The candidate of a run's tags."""
    return Candidate(
        run_id=run_id,
        day=tags["sidereal.day"],
        family=tags["sidereal.family"],
        inputs_digest=tags["sidereal.inputs-digest"],
        digest=tags["sidereal.bundle"],
    )


def tokenizer_from(run_id: str, tags: Tags) -> TokenizerRecord:
    """The tokenizer of a run's tags."""
    return TokenizerRecord(
        run_id=run_id,
        day=tags["sidereal.day"],
        generation=tags["sidereal.generation"],
        inputs_digest=tags["sidereal.inputs-digest"],
    )


def version_from(
    number: str | int, run_id: str | None, tags: Tags, aliases: tuple[str, ...]
) -> Version:
    """The version of a model version's tags."""
    prefix = "sidereal.verdict."
    return Version(
        number=int(number),
        run_id=run_id or "",  # MLflow keeps versions that no run made; ours have one
        day=tags["sidereal.day"],
        family=tags["sidereal.family"],
        digest=tags["sidereal.digest"],
        aliases=aliases,
        verdicts={
            key.removeprefix(prefix): json.loads(value)
            for key, value in sorted(tags.items())
            if key.startswith(prefix)
        },
    )


def move_from(tags: Tags, milliseconds: int, finished: bool) -> Move:
    """The audit's entry of a run's tags."""
    return Move(
        kind=tags["sidereal.move"],
        day=tags["sidereal.day"],
        from_version=int(tags["sidereal.from"]) if tags["sidereal.from"] else None,
        to_version=int(tags["sidereal.to"]),
        digest=tags["sidereal.digest"],
        reason=tags["sidereal.reason"],
        milliseconds=milliseconds,
        finished=finished,
    )


def withdrawn(moves: Iterable[Move]) -> set[int]:
    """Numbers of the versions whose last move took them out of service by a rollback."""
    numbers: set[int] = set()
    for move in moves:
        numbers.discard(move.to_version)
        if move.kind == "rollback" and move.from_version is not None:
            numbers.add(move.from_version)
    return numbers


def served(moves: Iterable[Move], since: str, until: str) -> list[int]:
    """Numbers of the versions that served at any time of some days, the first to serve first.

    Args:
        moves: of the champion, oldest first; those of later days are passed over.
        since: first day (ISO).
        until: last day.
    """
    known = [move for move in moves if move.day <= until]
    ends = [*(move.day for move in known[1:]), until]
    numbers = [move.to_version for move, end in zip(known, ends, strict=False) if end >= since]
    return list(dict.fromkeys(numbers))


def opened(path: Path, digest: str) -> Bundle:
    """The bundle in a folder, if it is the one that was recorded.

    Raises:
        BundleError: it does not verify, or is another one.
    """
    bundle = open_bundle(path)
    if bundle.digest != digest:
        raise BundleCorruptError(
            f"bundle at {path} has digest {bundle.digest:.12}…, the registry recorded {digest:.12}…"
        )
    return bundle


def version_of(versions: Iterable[Version], number: int, preset: str) -> Version:
    """The version of that number.

    Raises:
        RegistryError: there is none; the message lists those that exist.
    """
    known = {version.number: version for version in versions}
    if number not in known:
        there = ", ".join(map(str, sorted(known))) or "none"
        raise RegistryError(f"{preset!r} has no version {number}; it has {there}")
    return known[number]
