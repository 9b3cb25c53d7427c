"""Small raw deliveries on disk, and the configs that read them."""

import gzip
import json
from datetime import date

from pipelines.config import PipelineConfig

DAY = date(2024, 3, 10)
NOON = "2024-03-10 12:00:00"
COLUMNS = ("user", "item", "ts", "liked", "seconds")


def write_csv(path, rows, header=COLUMNS, separator=","):
    """A delimited file; a row is a sequence of cells or a line as text or bytes."""
    lines = [separator.join(header)] if header else []
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b""
    for row in [*lines, *rows]:
        line = row if isinstance(row, str | bytes) else separator.join(map(str, row))
        content += (line if isinstance(line, bytes) else line.encode()) + b"\n"
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    path.write_bytes(content)
    return path


def write_json(path, rows):
    """JSON lines; a row is a mapping or a line as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def table_config(path="log/{day}.csv", file_format="csv", catalogue="items.csv", **sections):
    """A `table` preset over a log with the columns of `COLUMNS`."""
    source = {
        "layout": "table",
        "path": path,
        "format": file_format,
        "columns": {
            "user_id": "user",
            "item_id": "item",
            "event_time": {"column": "ts"},
            "dwell_seconds": "seconds",
            "signals": ["liked"],
        },
        "strength": [{"strength": 2, "when": "liked = 1"}, {"strength": 0, "when": "liked = 0"}],
    }
    if catalogue:
        source["catalogue"] = {
            "path": catalogue,
            "item_id": "id",
            "title": "name",
            "text": ["name", "about"],
            "attributes": ["kind"],
        }
    source |= sections.pop("source", {})
    return PipelineConfig.model_validate({"name": "own", "source": source, **sections})


def write_catalogue(folder, ids=("a", "b", "c", "d")):
    """A catalogue for `table_config`."""
    rows = [(item, f"Item {item}", f"about {item}", "book") for item in ids]
    return write_csv(folder / "items.csv", rows, header=("id", "name", "about", "kind"))


def good_rows(count=40, day=DAY, users=8, items="abcd"):
    """Distinct valid rows of one day."""
    return [
        (f"u{n % users}", items[n % len(items)], f"{day} {8 + n // 60:02}:{n % 60:02}:00", n % 2, n)
        for n in range(count)
    ]
