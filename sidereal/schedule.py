"""The `schedule` section of a preset: which days `sidereal run` drives when none are given."""

from datetime import date

from feature_store.preset import Part, Section


class Schedule(Section):
    """Which days are run."""

    days: tuple[date, ...] = ()
    """In this order, by `sidereal run` without --day."""


class Scheduled(Section):
    """The runner's part of a preset."""

    schedule: Schedule = Schedule()


PART = Part(Scheduled)
