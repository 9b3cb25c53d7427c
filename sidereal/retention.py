"""Retention on one machine: the tables are tidied once a week of data, after a day that went well.

On a cluster `maintenance_weekly` does it by the clock. Here nothing runs between two nights, and a
machine that was off on Sunday would never tidy: so that days of data are counted.
"""

import json
from datetime import date
from typing import Any

from feature_store.settings import Settings
from feature_store.store import FeatureStore

EVERY_DAYS = 7


def tidy(settings: Settings, preset: str, day: date) -> dict[str, Any] | None:
    """Expire snapshots and delete orphan files of the preset's tables, where that is due.

    Args:
        settings: where tables and records are.
        preset: the preset's name.
        day: that was run.
    Returns:
        What went, summed over tables; None where fewer than `EVERY_DAYS` days of data have passed
        since the last time.
    Raises:
        feature_store.errors.FeatureStoreError: a table can't be tidied; it is tried again after the
            next day.
    """
    record = settings.runs_of(preset) / "maintenance.json"
    if record.is_file():
        before = date.fromisoformat(json.loads(record.read_text(encoding="utf-8"))["day"])
        if (day - before).days < EVERY_DAYS:
            return None
    done = FeatureStore.open(settings, preset).maintain()
    facts = {
        "day": day.isoformat(),
        "snapshots_expired": sum(len(table.snapshots_expired) for table in done),
        "files_deleted": sum(table.files_deleted for table in done),
        "bytes_deleted": sum(table.bytes_deleted for table in done),
    }
    beside = record.with_suffix(".json.tmp")
    beside.write_text(json.dumps(facts), encoding="utf-8")
    beside.replace(record)
    return facts
