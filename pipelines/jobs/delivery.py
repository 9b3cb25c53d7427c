"""What one run reads: the day's delivery, or everything up to the day to begin with."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import reduce

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from pipelines.jobs.interface import JobRun
from pipelines.jobs.ledger import Ledger
from pipelines.sources.interface import LeftOut, RawLog, Source
from pipelines.sources.raw_files import RawFiles
from pipelines.sources.raw_rows import read_rows
from pipelines.transforms.events import is_after, judge_events, up_to
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
class Beyond:
    """Rows of a log after a run's day: later runs'.

    Args:
        rows: how many.
        span: their first and last day.
    """

    rows: int
    span: tuple[date, date]


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
        beyond: of each log, what is counted of the events after the run's day.
    """

    events: DataFrame
    days: frozenset[date]
    has_log: bool
    files: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    header_repeats: int
    beyond: tuple[Observation, ...]

    @property
    def is_log(self) -> bool:
        """Whether it is one log of all days, so that the run must find out what is new in it."""
        return not self.days

    def beyond_the_day(self) -> Beyond | None:
        """Events of a log after the run's day, once `events` was counted; None: there are none."""
        counted = [found for each in self.beyond if (found := each.get)["rows"]]
        if not counted:
            return None
        return Beyond(
            rows=sum(int(each["rows"]) for each in counted),
            span=(min(each["first"] for each in counted), max(each["last"] for each in counted)),
        )


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
    parts = [_part(run, log) for log in logs]
    return Delivery(
        events=reduce(DataFrame.unionByName, (part.events for part in parts)),
        header_repeats=sum(part.header_repeats for part in parts),
        beyond=tuple(part.beyond for part in parts if part.beyond is not None),
        days=frozenset(day for log in logs for day in log.delivered),
        has_log=any(log.holds == "dump" for log in logs),
        files=tuple(file for log in logs for file in log.files),
        left_out=tuple(dict.fromkeys(file for log in logs for file in log.left_out)),
    )


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A log's share of a delivery."""

    events: DataFrame
    header_repeats: int
    beyond: Observation | None


def _part(run: JobRun, log: RawLog) -> _Part:
    raw = read_rows(run.spark, RawFiles(run.spark, run.settings.data_path), log)
    events = parse_events(raw.frame, log.columns, run.config.source.strength)
    beyond = None
    if log.holds == "dump":
        beyond = Observation()
        time = F.when(is_after(run.day), F.col("event_time"))
        counted = events.observe(
            beyond,
            F.count(time).alias("rows"),
            F.min(F.to_date(time)).alias("first"),
            F.max(F.to_date(time)).alias("last"),
        )
        events = up_to(counted, run.day)
    judged = judge_events(events, earliest=run.config.validation.earliest_event)
    return _Part(events=judged, header_repeats=raw.header_repeats, beyond=beyond)


def reason_counts(tally: Iterable[tuple[list[str], int]]) -> dict[str, int]:
    """Rows per reason, most frequent first; a row with two reasons counts under both."""
    counts: dict[str, int] = {}
    for reasons, rows in tally:
        for reason in reasons:
            counts[reason] = counts.get(reason, 0) + rows
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
