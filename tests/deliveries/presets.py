"""Presets of the inputs, as plain data."""


def own(**changes):
    """A `table` preset over a CSV log of HEADER's columns, a file or folder per day.

    Args:
        changes: `format`, `path`, `signals`, `strength`, `event_time`, `catalogue`, `separator`, or
            a mapping `columns` that is laid over the others; any other name is a section.
    """
    columns = {
        "user_id": "user",
        "item_id": "item",
        "event_time": changes.pop("event_time", {"column": "ts", "unit": "timestamp"}),
        "signals": changes.pop("signals", ["liked"]),
    }
    source = {
        "layout": "table",
        "path": changes.pop("path", "events"),
        "format": changes.pop("format", "csv"),
        "columns": columns | changes.pop("columns", {}),
        "strength": rules(
            changes.pop("strength", {"liked = 1": 2, "TRUE": 0}),
        ),
    }
    for name in ("catalogue", "separator"):
        if name in changes:
            source[name] = changes.pop(name)
    # One bad row of three is no reason to refuse a delivery of a test.
    validation = {"quarantine_share": 1.0} | changes.pop("validation", {})
    return {"name": "own", "source": source, "validation": validation, **changes}


def rules(conditions):
    """Strength rules from a mapping of conditions to strengths."""
    if not isinstance(conditions, dict):
        return conditions
    return [{"strength": strength, "when": when} for when, strength in conditions.items()]


CATALOGUE = {"path": "items.csv", "item_id": "id", "title": "name"}
