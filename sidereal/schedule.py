"""The `schedule` section of a preset: which days `sidereal run` drives when none are given."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path

from feature_store.preset import Part, Section, load


class Schedule(Section):
    """Which days are run."""

    days: tuple[date, ...] = ()
    """In this order, by `sidereal run` without --day."""


class Scheduled(Section):
    """The runner's part of a preset."""

    schedule: Schedule = Schedule()


PART = Part(Scheduled)


def load_schedule(preset: str, *, folder: Path, overrides: Iterable[str] = ()) -> Schedule:
    """The schedule of a preset; empty where it has none.

    Raises:
        PresetError: the preset can't be read, or its schedule holds an unknown key or no dates.
    """
    found: Scheduled = load(PART, preset, folder=folder, overrides=overrides)
    return found.schedule
