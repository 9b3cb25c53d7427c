"""What arrived on the day, and how that compares with the days before it."""

from collections.abc import Mapping
from typing import Any

from training.report import charts
from training.report.blocks import Block, Section, facts, note, picture, table
from training.report.outcome import Steps

_FATES = (
    ("added", "events added"), ("corrected", "corrected"), ("unchanged", "as they were"),
    ("withdrawn", "withdrawn"), ("late_rows", "of earlier days"),
    ("num_left_out", "files not read"),
)  # fmt: skip


def data(steps: Steps, volume: Mapping[str, Any] | None) -> Section | None:
    """The account of the delivery, what it changed, and the volume of the last days.

    Args:
        steps: the day's records.
        volume: `days` and, by strength, `counts` of the last published days.
    """
    ingest = steps.get("ingest_interactions")
    if not ingest or "rows_in" not in ingest:
        return None
    blocks = [
        facts(
            ("rows delivered", ingest["rows_in"]),
            ("published", ingest.get("published")),
            ("duplicates dropped", ingest.get("duplicates")),
            ("quarantined", ingest.get("quarantined")),
            *([("withheld with their day", held)] if (held := ingest.get("withheld")) else []),
            *_changes(ingest),
        )
    ]
    if volume:
        blocks.append(
            picture(
                charts.daily_volume(volume["days"], volume["counts"]),
                heading=f"Events of the last {len(volume['days'])} days, by strength",
            )
        )
    reasons = ingest.get("reasons") or {}
    if reasons:
        rows = sorted(reasons.items(), key=lambda found: -found[1])
        blocks.append(
            table("Why rows were quarantined", ["reason", "rows"], rows, numeric=["rows"])
        )
    elif volume:
        blocks.append(_steady(ingest))
    return Section(anchor="data", title="Data", blocks=blocks)


def _changes(ingest: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What the delivery did to the table; fates that nothing met are left out.

    Where every row that is published is new, the account says so already.
    """
    fates = [(label, ingest[name]) for name, label in _FATES if ingest.get(name)]
    is_plain = fates == [("events added", ingest.get("published"))]
    return [] if is_plain else fates


def _steady(ingest: Mapping[str, Any]) -> Block:
    """The rules about volume and mix, which say in words how usual the day is."""
    named = ("rows_against_trailing_days", "strength_mix_against_trailing_days")
    rules = [
        rule for rule in ingest.get("validation", {}).get("rules", ()) if rule["rule"] in named
    ]
    if not rules:
        return note("No row was quarantined.")
    rows = [[r["description"], r["observed"], r["expected"], r["success"]] for r in rules]
    head = ["against the days before", "found", "expected", "result"]
    return table("How usual the day is", head, rows, note="No row was quarantined.")
