"""What a report shows of the tables: a few rows, and the snapshots behind them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_store.store import FeatureStore
from training.report.sections.people import Person

NUM_PEOPLE = 10
_TITLES = 5
"""Events and recommendations shown of each person."""
_VOLUME_DAYS = 30
"""Days of traffic drawn."""


def volume(store: FeatureStore, day: date) -> dict[str, Any] | None:
    """Rows per strength of the last published days up to this one; reads one small column."""
    published = [d for d in store.partitions("interactions") if isinstance(d, date) and d <= day]
    days = published[-_VOLUME_DAYS:]
    counts: dict[int, list[int]] = {}
    for place, found in enumerate(days):
        for batch in store.scan("interactions", partition=found, columns=["strength"]):
            for value in pc.value_counts(batch.column("strength")).to_pylist():
                per_day = counts.setdefault(int(value["values"]), [0] * len(days))
                per_day[place] += value["counts"]
    return {"days": [found.isoformat() for found in days], "counts": counts} if days else None


def strengths_of(volume_of_days: Mapping[str, Any] | None, day: date) -> dict[int, int]:
    """A day's events by strength; empty where it has none, or is none of those days."""
    if volume_of_days is None or day.isoformat() not in volume_of_days["days"]:
        return {}
    place = volume_of_days["days"].index(day.isoformat())
    counts: Mapping[int, list[int]] = volume_of_days["counts"]
    return {strength: rows[place] for strength, rows in counts.items() if rows[place]}


def people(store: FeatureStore, day: date) -> list[Person]:
    """The first people of the day's recommendations, with the titles of what they did last.

    People come in the order of the table's files, which is that of their ids; scans end as soon as
    these people and their items are met.
    """
    if not store.row_count("recommendations", partition=day):
        return []
    recommended = _first(
        store.scan("recommendations", partition=day, columns=["user_id", "item_indices"])
    )
    columns = ["user_id", "item_indices", "strengths", "num_events"]
    histories = _found(
        store.scan("user_sequences", partition=day, columns=columns),
        "user_id",
        [row["user_id"] for row in recommended],
    )
    wanted = {index for row in recommended for index in row["item_indices"][:_TITLES]}
    for row in histories.values():
        wanted |= set(row["item_indices"][-_TITLES:])
    titles = {
        index: row["title"] or row["item_id"]
        for index, row in _found(
            store.scan("items", columns=["item_index", "item_id", "title"]),
            "item_index",
            sorted(wanted),
        ).items()
    }
    return [_person(row, histories.get(row["user_id"], {}), titles) for row in recommended]


def _person(
    row: Mapping[str, Any], history: Mapping[str, Any], titles: Mapping[int, str]
) -> Person:
    events = list(zip(history.get("item_indices", ()), history.get("strengths", ()), strict=True))
    return Person(
        user_id=row["user_id"],
        num_events=history.get("num_events", 0),
        last=[(titles[index], strength) for index, strength in reversed(events[-_TITLES:])],
        recommended=[titles[index] for index in row["item_indices"][:_TITLES]],
    )


def _first(batches: pa.RecordBatchReader) -> list[dict[str, Any]]:
    """The first rows of a scan, which ends there."""
    rows: list[dict[str, Any]] = []
    for batch in batches:
        rows += batch.slice(0, NUM_PEOPLE - len(rows)).to_pylist()
        if len(rows) == NUM_PEOPLE:
            break
    return rows


def _found(
    batches: pa.RecordBatchReader, key: str, wanted: Sequence[Any]
) -> dict[Any, dict[str, Any]]:
    """Rows by key, for the keys that are wanted; the scan ends when all are met."""
    rows: dict[Any, dict[str, Any]] = {}
    values = pa.array(wanted, batches.schema.field(key).type)
    for batch in batches:
        met = batch.filter(pc.is_in(batch.column(key), values)).to_pylist()
        rows |= {row[key]: row for row in met}
        if len(rows) == len(wanted):
            break
    return rows


def lineage(store: FeatureStore, day: date) -> list[dict[str, Any]]:
    """One row per table that the day's recommendations come from, the recommendations first."""
    if store.snapshot_id("recommendations", at=day) is None:
        return []
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for node in _walk(store.lineage("recommendations", at=day)):
        rows.setdefault((node["table"], str(node["snapshot_id"])), _cells(node))
    return list(rows.values())


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The node, then what it was made from, depth first."""
    yield node
    for child in node.get("inputs", {}).values():
        if isinstance(child, dict):
            yield from _walk(child)


def _cells(node: dict[str, Any]) -> dict[str, Any]:
    inputs = node.get("inputs", {})
    raw = [str(file) for file in inputs.get("raw_files", ())]
    made_from = [name for name in inputs if name != "raw_files"]
    made_from += [file.rsplit("/", 1)[-1] for file in raw[:3]]
    made_from += [f"{len(raw) - 3} more files"] if len(raw) > 3 else []
    return {
        "table": node["table"],
        "rows": f"{node['rows']:,}" if node.get("rows") is not None else "–",
        "snapshot": str(node["snapshot_id"]),
        "made by": node.get("job", ""),
        "day": str(node.get("day", "")),
        "code": str(node.get("code_revision", ""))[:10],
        "from": ", ".join(made_from),
    }
