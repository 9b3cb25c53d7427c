"""What is new in one log of all days: the days that no earlier run took as they are now."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.jobs.interface import JobRun
from pipelines.jobs.ledger import Ledger, Piece
from pipelines.sources.raw_rows import one_split_per_task
from pipelines.transforms.events import keep_text_of_refused
from pipelines.transforms.pieces import piece_of_log, sum_up_pieces


@dataclass(frozen=True, kw_only=True)
class LogDays:
    """The days of a log that are a run's.

    Args:
        events: the rows of these days; with `None` among them, those without a usable time, too.
        pieces: the days and what the log says of each, as a digest.
        settled: days that an earlier run took as they are.
        gone: days that an earlier run took and the log no longer has; their rows stay.
        late_rows: rows that days which an earlier run took have more than then.
        first_micros: the log speaks for the time since then, microseconds since 1970.
        span: its first and last day up to the run's; None where there is none.
    """

    events: DataFrame
    pieces: dict[Piece, str]
    settled: int
    gone: list[date]
    late_rows: int
    first_micros: int | None
    span: tuple[date, date] | None

    def facts(self) -> dict[str, Any]:
        """For the run record."""
        return {
            "days_taken": len(self.pieces),
            "days_settled": self.settled,
            "days_gone": len(self.gone),
        }


def days_of_log(run: JobRun, ledger: Ledger, events: DataFrame) -> LogDays:
    """Compare a log, day by day, with what earlier runs took of it.

    Args:
        run: the run.
        ledger: what earlier runs took.
        events: the log up to the run's day, judged by everything but the catalogue.
    """
    with one_split_per_task(run.spark):
        rows = sum_up_pieces(keep_text_of_refused(events)).collect()
    digests: dict[Piece, str] = {row["piece"]: row["digest"] for row in rows}
    wanted = ledger.unsettled(run.day, digests)
    before = {piece: ledger.before(run.day, piece) for piece in wanted}
    taken = {row["piece"]: int(row["rows"]) for row in rows}
    days = [piece for piece in digests if piece is not None]
    times = [row["first_micros"] for row in rows if row["first_micros"] is not None]
    return LogDays(
        events=events if len(wanted) == len(digests) else events.where(_is_one_of(wanted)),
        pieces={piece: digests[piece] for piece in wanted},
        settled=len(digests) - len(wanted),
        gone=ledger.gone(run.day, digests),
        late_rows=sum(max(0, taken[p] - e.rows) for p, e in before.items() if e is not None),
        first_micros=min(times, default=None),
        span=(min(days), max(days)) if days else None,
    )


def _is_one_of(pieces: list[Piece]) -> Column:
    days = [piece for piece in pieces if piece is not None]
    wanted = F.coalesce(piece_of_log().isin(days), F.lit(False))
    return wanted | piece_of_log().isNull() if None in pieces else wanted
