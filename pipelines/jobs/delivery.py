"""What one run reads: the day's delivery, or everything up to the day to begin with."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import reduce

from pyspark.sql import DataFrame

from pipelines.jobs.interface import JobRun
from pipelines.jobs.ledger import Ledger
from pipelines.sources.interface import LeftOut, RawLog, Source
from pipelines.sources.raw_files import RawFiles
from pipelines.sources.raw_rows import read_rows
from pipelines.transforms.events import judge_events, up_to
from pipelines.transforms.parsing import parse_events


@dataclass(frozen=True, kw_only=True)
class Before:
    """What `interactions` held before the first run for this run's day.

    A rerun is compared with what the first run was, not with what came later.

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
    """The raw rows that a run looks at.

    Args:
        events: one per raw row, with every reason against it but the catalogue's; of a log, those
            up to the run's day.
        days: whose deliveries they are; empty for a log of all days.
        has_log: whether a log is in it: alone, or beside the days to begin with.
        files: the raw files.
        left_out: what lies beside them and isn't read.
        header_repeats: lines that repeat a header: no rows.
    """

    events: DataFrame
    days: frozenset[date]
    has_log: bool
    files: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    header_repeats: int

    @property
    def is_log(self) -> bool:
        """Whether it is one log of all days, so that the run must find out what is new in it."""
        return not self.days


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


def read_delivery(run: JobRun, source: Source, ledger: Ledger) -> Delivery:
    """The delivery of a run's day, judged by everything but the catalogue; reads no row yet.

    Raises:
        DataRefused: a column is missing.
        DeliveryUnreadable: a file is absent.
        PresetError: a strength rule can't be evaluated.
    """
    logs = source.logs(run.day, bootstrap=ledger.begins_at(run.day))
    parts = [_events(run, log) for log in logs]
    return Delivery(
        events=reduce(DataFrame.unionByName, (events for events, _ in parts)),
        header_repeats=sum(repeats for _, repeats in parts),
        days=frozenset(day for log in logs for day in log.delivered),
        has_log=any(log.holds == "dump" for log in logs),
        files=tuple(file for log in logs for file in log.files),
        left_out=tuple(dict.fromkeys(file for log in logs for file in log.left_out)),
    )


def _events(run: JobRun, log: RawLog) -> tuple[DataFrame, int]:
    """A log's events, and how many lines repeat the header."""
    raw = read_rows(run.spark, RawFiles(run.spark, run.settings.data_path), log)
    events = parse_events(raw.frame, log.columns, run.config.source.strength)
    if log.holds == "dump":
        events = up_to(events, run.day)
    judged = judge_events(events, earliest=run.config.validation.earliest_event)
    return judged, raw.header_repeats


def reason_counts(tally: Iterable[tuple[list[str], int]]) -> dict[str, int]:
    """Rows per reason, most frequent first; a row with two reasons counts under both."""
    counts: dict[str, int] = {}
    for reasons, rows in tally:
        for reason in reasons:
            counts[reason] = counts.get(reason, 0) + rows
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
