"""Events and what their histories must be, worked out row by row."""

import zlib
from collections import defaultdict
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa

from pipelines.transforms.histories import Catalogue

ITEM_IDS = [f"i{number}" for number in range(40)]
# The index doesn't follow the id: i0 has 39, i1 has 38, …
INDEX = {item: len(ITEM_IDS) - 1 - place for place, item in enumerate(ITEM_IDS)}
CATALOGUE = Catalogue(
    pa.array(ITEM_IDS), np.array([INDEX[item] for item in ITEM_IDS], dtype=np.int32)
)
ITEMS = pa.table({"item_id": ITEM_IDS, "item_index": pa.array(INDEX.values(), pa.int32())})


def at(day, second=0):
    """An instant, given a day of January 2024 and a second of it."""
    return datetime(2024, 1, day, tzinfo=UTC).timestamp() * 10**6 + second * 10**6


def event_table(rows):
    """Arrow columns of (user, item, microseconds, strength) rows, with their `tie_order`."""
    users, items, times, strengths = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "item_id": pa.array(items, pa.string()),
            "event_time": pa.array([int(time) for time in times], pa.timestamp("us", tz="UTC")),
            "strength": pa.array(strengths, pa.int32()),
            "tie_order": pa.array(map(tie_order, rows), pa.int64()),
        }
    )


def tie_order(row):
    """A row's `tie_order` unlike the order of ids; rows of the same time share one at times."""
    return zlib.crc32(repr(row).encode()) % 97


def interactions(rows):
    """The same rows with every column of `interactions`."""
    events = event_table(rows)
    number = events.num_rows
    return pa.table(
        {
            "day": events["event_time"].cast(pa.date32()),
            **{name: events[name] for name in events.column_names},
            "request_id": pa.array([str(place) for place in range(number)], pa.string()),
            "position": pa.nulls(number, pa.int32()),
            "signals": pa.array([[] for _ in range(number)], pa.map_(pa.string(), pa.string())),
            "dwell_seconds": pa.nulls(number, pa.float32()),
            "source_file": pa.array(["raw.csv"] * number, pa.string()),
            "delivery_day": pa.nulls(number, pa.date32()),
            "also_delivered": pa.array([[]] * number, pa.map_(pa.string(), pa.string())),
        }
    )


def catalogue_rows(first_day=date(2024, 1, 1)):
    """Rows of `items`."""
    number = ITEMS.num_rows
    return pa.table(
        {
            "item_id": ITEMS["item_id"],
            "item_index": ITEMS["item_index"],
            "first_day": pa.array([first_day] * number, pa.date32()),
            "first_listed_day": pa.nulls(number, pa.date32()),
            "last_listed_day": pa.nulls(number, pa.date32()),
            "title": pa.nulls(number, pa.string()),
            "text": pa.nulls(number, pa.string()),
            "attributes": pa.array([[] for _ in range(number)], pa.map_(pa.string(), pa.string())),
        }
    )


def expected(rows, *, max_events=1000, minimum_strength=-1):
    """user → (item_indices, strengths, microseconds, num_events), the slow way."""
    by_user = defaultdict(list)
    for user, item, time, strength in rows:
        if strength >= minimum_strength:
            order = tie_order((user, item, time, strength))
            by_user[user].append((int(time), order, INDEX[item], strength))
    found = {}
    for user, events in sorted(by_user.items()):
        last = sorted(events)[-max_events:]
        times, _, items, strengths = (list(column) for column in zip(*last, strict=True))
        found[user] = (items, strengths, times, len(events))
    return found


def as_dict(rows):
    """The same of rows of `user_sequences`, in their order."""
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
    times = [
        [int(time.timestamp() * 10**6) for time in times]
        for times in table["event_times"].to_pylist()
    ]
    columns = (table["item_indices"].to_pylist(), table["strengths"].to_pylist(), times)
    return dict(
        zip(
            table["user_id"].to_pylist(),
            zip(*columns, table["num_events"].to_pylist(), strict=True),
            strict=True,
        )
    )


def random_events(number, *, users, seed, days=20, seconds=50):
    """Events with many ties in time, a heavy user first, in random order."""
    draw = np.random.default_rng(seed)
    who = np.minimum(draw.geometric(0.2, number) - 1, users - 1)
    what = draw.integers(0, len(ITEM_IDS), number)
    when = draw.integers(1, days + 1, number)
    second = draw.integers(0, seconds, number)
    strength = draw.integers(-1, 4, number)
    return [
        (f"u{user}", ITEM_IDS[item], at(int(day), int(tick)), int(weight))
        for user, item, day, tick, weight in zip(who, what, when, second, strength, strict=True)
    ]
