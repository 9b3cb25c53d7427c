"""What became of a run's raw rows: counted as they are read, and balanced once they are written."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from feature_store.validation import Validation
from pipelines.errors import RowsUnaccounted
from pipelines.jobs.delivery import reason_counts
from pipelines.jobs.ledger import Entry, Piece
from pipelines.sources.interface import ROW
from pipelines.transforms.events import is_tolerable
from pipelines.transforms.pieces import piece_of_log


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Raw rows of a run: how many, how many refused and why, and the days of the rest.

    Args:
        taken: rows by delivered day, or by day of a log.
        late_rows: accepted rows of days before the one whose delivery brought them.
        of_withdrawn: accepted rows of items that the catalogue no longer listed on their day.
        first_micros: the earliest time that was accepted, microseconds since 1970.
    """

    rows_in: int
    refused: int
    reasons: dict[str, int]
    rows_by_day: dict[date, int]
    taken: dict[Piece, Entry]
    late_rows: int = 0
    of_withdrawn: int = 0
    first_micros: int | None = None

    @property
    def days(self) -> list[date]:
        """Days that accepted rows belong to."""
        return sorted(self.rows_by_day)


def count_events(events: DataFrame, *, is_log: bool) -> Tally:
    """Count judged events, in one pass.

    Args:
        events: as `judge_events` gives them, with `of_withdrawn`.
        is_log: whether they are of a log of all days.
    """
    piece = piece_of_log() if is_log else F.col(f"{ROW}.delivery_day")
    day = F.when(F.size("reasons") == 0, F.to_date("event_time"))
    groups = (
        events.groupBy(piece.alias("piece"), day.alias("day"), "reasons")
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.count_if("of_withdrawn").alias("of_withdrawn"),
            F.unix_micros(F.min("event_time")).alias("first"),
        )
        .collect()
    )
    bad = [(list(group["reasons"]), int(group["rows"])) for group in groups if group["reasons"]]
    good = [group for group in groups if not group["reasons"]]
    by_day: dict[date, int] = {}
    for group in good:
        by_day[group["day"]] = by_day.get(group["day"], 0) + int(group["rows"])
    return Tally(
        rows_in=sum(int(group["rows"]) for group in groups),
        refused=sum(rows for _, rows in bad),
        reasons=reason_counts(bad),
        rows_by_day=by_day,
        taken=_entries(groups),
        late_rows=sum(int(g["rows"]) for g in good if g["piece"] and g["day"] < g["piece"]),
        of_withdrawn=sum(int(group["of_withdrawn"]) for group in good),
        first_micros=min((group["first"] for group in good), default=None),
    )


def balance(*, rows_in: int, published: int, duplicates: int, quarantined: int) -> dict[str, int]:
    """The account of a run's rows; none of them is withheld yet.

    Args:
        rows_in: raw rows, counted as they were read.
        published: events of the run's deliveries, counted as they were written.
        duplicates: rows that say the same event again, counted as they were dropped.
        quarantined: refused rows, counted in the staged files.

    Raises:
        RowsUnaccounted: rows_in = published + duplicates + quarantined doesn't hold.
    """
    if rows_in != published + duplicates + quarantined:
        raise RowsUnaccounted(
            f"rows in {rows_in:,} ≠ published {published:,} + duplicates {duplicates:,} + "
            f"quarantined {quarantined:,}; nothing was published. This is a defect: please report "
            "it with the run record"
        )
    return {
        "rows_in": rows_in,
        "published": published,
        "duplicates": duplicates,
        "quarantined": quarantined,
        "withheld": 0,
    }


def withheld(account: dict[str, int]) -> dict[str, int]:
    """The account of a run of which nothing is published: what would have been is `withheld`.

    What would have become of each event is left out, for nothing became of any.
    """
    return {
        "rows_in": account["rows_in"],
        "published": 0,
        "duplicates": account["duplicates"],
        "quarantined": account["quarantined"],
        "withheld": account["published"],
    }


def refuse_imbalance(*, staged: int, before: int, added: int, withdrawn: int) -> None:
    """Compare the staged rows with the published ones of the same days and what became of them.

    Raises:
        RowsUnaccounted: staged = before + added - withdrawn doesn't hold.
    """
    if staged != before + added - withdrawn:
        raise RowsUnaccounted(
            f"interactions: {staged:,} rows staged ≠ {before:,} before + {added:,} added - "
            f"{withdrawn:,} withdrawn; nothing was published. This is a defect: please report it "
            "with the run record"
        )


def excess(tally: Tally, limits: Validation) -> str | None:
    """Why a delivery that lost this many rows is refused as a whole; None: it isn't."""
    if is_tolerable(tally.refused, tally.rows_in, limits.quarantine_share):
        return None
    share = tally.refused / tally.rows_in
    listed = "".join(f"\n  {rows:,} × {reason}" for reason, rows in tally.reasons.items())
    return (
        f"{tally.refused:,} of {tally.rows_in:,} rows ({share:.1%}) were refused, more than "
        f"validation.quarantine_share allows ({limits.quarantine_share:.1%}):{listed}\n"
        "They are in the quarantine; interactions stays as it was. Correct the delivery and run "
        "the day again"
    )


def _entries(groups: list[Any]) -> dict[Piece, Entry]:
    taken: dict[Piece, Entry] = {}
    for group in groups:
        rows, so_far = int(group["rows"]), taken.get(group["piece"], Entry(rows=0, quarantined=0))
        taken[group["piece"]] = Entry(
            rows=so_far.rows + rows,
            quarantined=so_far.quarantined + (rows if group["reasons"] else 0),
        )
    return taken
