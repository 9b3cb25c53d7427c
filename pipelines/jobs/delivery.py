"""What one run reads: the day's delivery, or everything up to the day to begin with."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import reduce

from pyspark.sql import DataFrame

from pipelines.jobs.interface import JobRun
from pipelines.sources.interface import RawLog, Source
from pipelines.sources.raw_files import RawFiles
from pipelines.sources.raw_rows import read_rows
from pipelines.transforms.events import judge_events, of_the_run
from pipelines.transforms.parsing import parse_events


@dataclass(frozen=True, kw_only=True)
class Before:
    """What `interactions` held before the first run for this run's day.

    A rerun must read and judge what the first run did, so that it can't go by what is there now.

    Args:
        snapshot: None where nothing was published.
        days: its days, sorted.
    """

    snapshot: int | None
    days: list[date]

    def last(self, day: date, count: int) -> list[date]:
        """The last `count` of its days before `day`."""
        return [each for each in self.days if each < day][-count:]


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The raw rows of one run.

    Args:
        events: one per raw row, with every reason against it.
        files: the raw files.
    """

    events: DataFrame
    files: tuple[str, ...]


def state_before(run: JobRun) -> Before:
    """The table's state before the run's day: the parent of the day's first snapshot."""
    head = run.snapshot("interactions")
    if head is None:
        return Before(snapshot=None, days=[])
    known = {info.snapshot_id: info for info in run.store.history("interactions")}
    before: int | None = head
    step: int | None = head
    while step is not None and step in known:
        if known[step].day == run.day:
            before = known[step].parent_id
        step = known[step].parent_id
    if before is None:
        return Before(snapshot=None, days=[])
    # An expired parent can't be asked any more; the head has all of its days.
    at = before if before in known else head
    days = run.store.partitions("interactions", at=at)
    return Before(snapshot=at, days=[day for day in days if isinstance(day, date)])


def read_delivery(run: JobRun, source: Source, before: Before) -> Delivery:
    """The delivery of a run's day, judged by everything but the catalogue; reads no row yet.

    Raises:
        DataRefused: a column is missing.
        DeliveryUnreadable: a file is absent.
        PresetError: a strength rule can't be evaluated.
    """
    logs = source.logs(run.day, bootstrap=not before.days)
    earlier = next(iter(before.last(run.day, 1)), None)
    parts = [_events(run, log, earlier) for log in logs]
    return Delivery(
        events=reduce(DataFrame.unionByName, parts),
        files=tuple(file for log in logs for file in log.files),
    )


def _events(run: JobRun, log: RawLog, after: date | None) -> DataFrame:
    rows = read_rows(run.spark, RawFiles(run.spark, run.settings.data_path), log).frame
    events = parse_events(rows, log.columns, run.config.source.strength)
    if log.holds == "dump":
        events = of_the_run(events, day=run.day, after=after)
    return judge_events(
        events,
        day=run.day,
        earliest=run.config.validation.earliest_event,
        future_is_refused=log.holds == "day",
    )


def reason_counts(tally: Iterable[tuple[list[str], int]]) -> dict[str, int]:
    """Rows per reason, most frequent first; a row with two reasons counts under both."""
    counts: dict[str, int] = {}
    for reasons, rows in tally:
        for reason in reasons:
            counts[reason] = counts.get(reason, 0) + rows
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
