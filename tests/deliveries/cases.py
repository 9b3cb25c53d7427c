"""What must come of each small delivery in the development data's `cases` folder.

The deliveries and their right answers were written elsewhere; here stand the exact rows.
"""

from dataclasses import replace
from datetime import UTC, date, datetime

from tests.deliveries.night import Home, Night, problems

WITH_ITEMS = ("build_items", "ingest_interactions")


def through(case, nights, folder):
    """Run a case's nights in a home below `folder`; yields each, its outcome and its problems.

    The whole case lies there from the beginning; a night's rows are those of the files that carry
    its day.
    """
    everything = {
        str(path.relative_to(case)): path.read_bytes()
        for path in sorted(case.rglob("*"))
        if path.is_file() and path.name != "preset.yaml"
    }
    home = Home(folder, case / "preset.yaml", data=folder / "data")
    home.deliver(everything)
    before = []
    for night in nights:
        delivered = {n: content for n, content in everything.items() if str(night.day) in n}
        night = replace(night, files=delivered)
        outcome = home.take(night)
        yield night, outcome, problems(night, outcome, before)
        before = outcome.table


def _times(*expected):
    """The published event times are these."""

    def look(outcome):
        found = sorted(row["event_time"].replace(tzinfo=UTC) for row in outcome.table)
        assert found == [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in expected]

    return look


def _no_item_took_another(outcome):
    ids = [row["item_id"] for row in outcome.store.read("items").to_pylist()]
    assert ids == ["8", "10", "11"]


CASES: dict[str, tuple[Night, ...]] = {
    "nanosecond-parquet": (
        Night(
            published=2,
            table=[("u1", "a", 2), ("u2", "b", 0)],
            look=_times("2024-03-10 12:00", "2024-03-10 13:00"),
        ),
    ),
    "zero-divisor": (
        Night(
            published=2,
            quarantined=1,
            table=[("u1", "a", 2), ("u3", "b", 0)],
            reasons=["strength rule 1 fails: watched / length >= 0.5"],
        ),
    ),
    "ids-as-floats": (
        Night(steps=WITH_ITEMS, published=2, table=[("u1", "42", 2), ("u2", "123456789", 2)]),
    ),
    "zero-byte-part": (
        Night(published=2, table=[("u1", "a", 2), ("u2", "b", 0)], left_out=["p2.csv"]),
    ),
    "zero-byte-part-parquet": (
        Night(published=1, table=[("u1", "a", 2)], left_out=["p2.parquet"]),
    ),
    "separator-in-header": (Night(published=2, table=[("u1", "a", 2), ("u2", "b", 0)]),),
    "hour-folders": (
        Night(
            published=4,
            table=[("u1", "a", 2), ("u2", "a", 2), ("u3", "a", 2), ("u4", "a", 2)],
            left_out=["_SUCCESS"],
        ),
    ),
    "type-changes-between-parts": (
        Night(exit_code=3, says=["p1.parquet has user as INT64, ", "p0.parquet as string"]),
    ),
    "withdrawn-item": (
        Night(steps=WITH_ITEMS, published=2, table=[("u1", "a", 2), ("u2", "b", 2)]),
        Night(
            day=date(2024, 3, 11),
            steps=WITH_ITEMS,
            published=1,
            table=[("u1", "a", 2), ("u2", "b", 2), ("u1", "a", 2)],
            look=lambda outcome: _listed(outcome, a=None, b=date(2024, 3, 10)),
        ),
    ),
    "unclosed-quote": (
        Night(
            steps=("build_items",),
            exit_code=3,
            says=["items.csv line 3: a quote that is not closed"],
        ),
    ),
    "time-without-date": (
        Night(
            published=1,
            quarantined=1,
            table=[("u2", "b", 2)],
            reasons=["event_time has no date"],
        ),
    ),
    "header-in-another-case": (Night(published=2, table=[("u1", "a", 2), ("u2", "b", 0)]),),
    "rule-with-a-dice": (Night(exit_code=2, says=["rand", "current_date"]),),
    "missed-night": (
        Night(published=2, table=[("u1", "a", 2), ("u2", "b", 0)]),
        Night(
            day=date(2024, 3, 12),
            published=2,
            table=[("u1", "a", 2), ("u2", "b", 0)] * 2,
            look=lambda outcome: _says_how_to_fill(outcome, "2024-03-11"),
        ),
        Night(
            day=date(2024, 3, 11),
            published=2,
            table=[("u1", "a", 2), ("u2", "b", 0)] * 3,
        ),
    ),
    "temporary-file": (
        Night(
            published=10,
            table=[(f"u{n}", "a", 2) for n in range(10)],
            left_out=["2024-03-10.csv.tmp"],
        ),
    ),
    "two-forms-of-a-day": (Night(exit_code=3, says=["2024-03-10.csv", "2024-03-10.csv.gz"]),),
    "stray-date": (
        Night(
            published=1,
            table=[("u1", "a", 2)],
            left_out=["2024-02-30.csv"],
            look=lambda outcome: _said_once(outcome, "2024-02-30.csv"),
        ),
    ),
    "part-lacks-a-column": (
        Night(
            exit_code=3,
            says=["p1.parquet has no column 'liked', which strength rule 1 needs"],
        ),
    ),
    "quoted-newline": (Night(published=2, table=[("u\n1", "a", 2), ("u2", "b", 0)]),),
    "text-signal": (
        Night(
            published=3,
            table=[("u1", "a", 3), ("u2", "b", 2), ("u3", "a", 0)],
            look=lambda outcome: _signals(outcome, u1={"action": "purchase", "seconds": "3"}),
        ),
    ),
}


def _listed(outcome, **last_days):
    """The day on which a withdrawn item was last listed, None for one that still is."""
    rows = outcome.store.read("items").to_pylist()
    found = {row["item_id"]: row["last_listed_day"] for row in rows}
    assert found == last_days, found


def _signals(outcome, **expected):
    """A user's signals, as they came."""
    found = {row["user_id"]: dict(row["signals"]) for row in outcome.table}
    assert {user: found[user] for user in expected} == expected


def _said_once(outcome, words):
    assert outcome.output.count(words) == 1, outcome.output


def _says_how_to_fill(outcome, day):
    """The output gives a command that ingests the day."""
    lines = [line for line in outcome.output.splitlines() if day in line and "sidereal " in line]
    assert lines, outcome.output
