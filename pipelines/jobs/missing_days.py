"""Which days a job of daily partitions builds, and how their rows become files."""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from feature_store.steps import run_first
from pipelines.errors import DataRefused
from pipelines.jobs.interface import JobRun

ROWS_PER_FILE = 2_000_000
"""A day with more rows of its source is written as several files, by user."""


def missing_days(run: JobRun, *, of: str, built: str, anew: bool = False) -> list[date]:
    """The run's day, and the days before it that came after the last one built.

    To begin with these are all days since the first one of `of`; from then on it is the day
    alone, unless a day was left out. A day has the same rows whether it is built alone or with
    others.

    Args:
        run: the run.
        of: the table that the rows are made from.
        built: the table that they are of.
        anew: whether nothing counts as built.
    Raises:
        DataRefused: nothing was ever published to `of`.
    """
    at = run.snapshot(of)
    if at is None:
        raise DataRefused(f"{of} was never published; {run_first(of)}")
    known = _days(run.store.partitions(of, at=at), run.day) or [run.day]
    # The table that is written isn't one that its rows are made from: no input.
    before = [] if anew else _days(run.store.partitions(built), run.day - timedelta(days=1))
    first = before[-1] + timedelta(days=1) if before else known[0]
    return [first + timedelta(days=number) for number in range((run.day - first).days + 1)]


def spread_over_files(run: JobRun, frame: DataFrame, *, of: str) -> DataFrame:
    """A day's rows together, in as many files as the rows of a mean day of `of` ask for."""
    at = run.snapshot(of)
    num_days = max(len(run.store.partitions(of, at=at)), 1)
    buckets = 1 + run.store.row_count(of, at=at) // num_days // ROWS_PER_FILE
    return frame.repartition("day", F.pmod(F.xxhash64("user_id"), F.lit(buckets)))


def _days(partitions: Sequence[object], until: date) -> list[date]:
    return [day for day in partitions if isinstance(day, date) and day <= until]
