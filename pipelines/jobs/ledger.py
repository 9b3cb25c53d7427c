"""What earlier runs took: which days were delivered, and what a log said of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import pyarrow as pa

from feature_store.arrow import arrow_schema
from feature_store.tables.deliveries import DELIVERIES
from pipelines.jobs.interface import JobRun

Piece = date | None
"""The day that was delivered, or the day of a log's events; None: a log's rows without a time."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one run took of one piece.

    Args:
        rows: raw rows.
        quarantined: of them, refused.
        digest: of a log's piece.
    """

    rows: int
    quarantined: int
    digest: str | None = None


@dataclass(frozen=True)
class Ledger:
    """The table `deliveries`: entries by the run's day and the piece."""

    entries: Mapping[tuple[date, Piece], Entry]

    @classmethod
    def of(cls, run: JobRun) -> "Ledger":
        """The ledger as it is published; it is no input of the rows that are written."""
        if not run.store.exists("deliveries"):
            return cls({})
        rows = run.store.read("deliveries").to_pylist()
        return cls(
            {
                (row["day"], row["events_of"]): Entry(
                    rows=row["rows"], quarantined=row["quarantined"], digest=row["digest"]
                )
                for row in rows
            }
        )

    def begins_at(self, day: date) -> bool:
        """Whether the day's run is the one that takes all earlier days, too: it did, or no run was.

        Args:
            day: the run's day.
        """
        taken = {piece for run, piece in self.entries if run == day}
        return not self.entries or bool(taken - {day})

    def unsettled(self, day: date, digests: Mapping[Piece, str]) -> list[Piece]:
        """The pieces of a log that are the run's: new, or not as earlier days' runs left them.

        A piece that the day's own run took stays its own, so that a rerun counts what it counted;
        one that a later day's run took otherwise is the run's, too, because it must be written.

        Args:
            day: the run's day.
            digests: what the log says now, by piece.
        """
        return [piece for piece, digest in digests.items() if not self._rests(day, piece, digest)]

    def before(self, day: date, piece: Piece) -> Entry | None:
        """What the last run before the day's took of a piece."""
        taken = self._by_piece.get(piece, {})
        last = max((run for run in taken if run < day), default=None)
        return None if last is None else taken[last]

    def gone(self, day: date, digests: Mapping[Piece, str]) -> list[date]:
        """Days up to the run's that a log once held and holds no more."""
        held = {piece for _, piece in self.entries if piece is not None and piece <= day}
        return sorted(held - set(digests))

    def missing(self, day: date, taken: Iterable[date]) -> list[date]:
        """Days without a delivery between the run's day and the last delivery before it.

        Args:
            day: the run's day.
            taken: the days whose deliveries the run itself takes.
        """
        held = {piece for _, piece in self.entries if piece is not None} | set(taken)
        earlier = [each for each in held if each < day]
        first = max(earlier, default=day) + timedelta(days=1)
        return [first + timedelta(days=number) for number in range((day - first).days)]

    def rows(self, day: date, taken: Mapping[Piece, Entry]) -> pa.Table:
        """Rows of `deliveries` for the day: what its run took, and what it took before.

        An earlier day's file that the first run read may be gone; its rows are published still.
        """
        before = {piece: entry for (run, piece), entry in self.entries.items() if run == day}
        rows = [
            {
                "day": day,
                "events_of": piece,
                "rows": entry.rows,
                "quarantined": entry.quarantined,
                "digest": entry.digest,
            }
            for piece, entry in {**before, **taken}.items()
        ]
        return pa.Table.from_pylist(rows, schema=arrow_schema(DELIVERIES))

    @cached_property
    def _by_piece(self) -> dict[Piece, dict[date, Entry]]:
        """Entries by the day of the run, by piece."""
        found: dict[Piece, dict[date, Entry]] = {}
        for (run, piece), entry in self.entries.items():
            found.setdefault(piece, {})[run] = entry
        return found

    def _rests(self, day: date, piece: Piece, digest: str) -> bool:
        earlier, taken = self.before(day, piece), self._by_piece.get(piece, {})
        since = [entry for run, entry in taken.items() if run > day]
        return (
            day not in taken
            and earlier is not None
            and all(entry.digest == digest for entry in [earlier, *since])
        )
