"""A small world whose right answer is known, and bundles trained in it.

Every user walks through the items in a circle, some steps of one, now and then of two: what
follows an item is nearly certain, and popularity says nothing about it.
"""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa

from training.bundle import Origin, write_bundle
from training.data.histories import Histories
from training.data.splits import split_rolling
from training.data.vocabulary import Vocabulary
from training.fitting import Fitting
from training.models import MODELS

DAY = date(2024, 3, 31)
NUM_ITEMS = 30
NUM_USERS = 60
EVENTS = 24
ITEM_IDS = [f"item-{number}" for number in range(NUM_ITEMS)]


def walks(day=DAY, seed=0, num_items=NUM_ITEMS, num_users=NUM_USERS):
    """Rows of `user_sequences`: one event a day up to the day, users in ascending order."""
    draw = np.random.default_rng(seed)
    steps = draw.choice([1, 2], p=[0.9, 0.1], size=(num_users, EVENTS))
    items = (draw.integers(0, num_items, size=(num_users, 1)) + steps.cumsum(axis=1)) % num_items
    first = datetime(day.year, day.month, day.day, 12, tzinfo=UTC) - timedelta(days=EVENTS - 1)
    times = [first + timedelta(days=number) for number in range(EVENTS)]
    return pa.table(
        {
            "day": pa.array([day] * num_users, pa.date32()),
            "user_id": [f"user-{number:03d}" for number in range(num_users)],
            "item_indices": pa.array(items.tolist(), pa.list_(pa.int32())),
            "strengths": pa.array([[2] * EVENTS] * num_users, pa.list_(pa.int32())),
            "event_times": pa.array([times] * num_users, pa.list_(pa.timestamp("us", "UTC"))),
            "num_events": pa.array([EVENTS] * num_users, pa.int64()),
        }
    )


def catalogue(num_items=NUM_ITEMS):
    """The items' index and id."""
    return pa.table(
        {
            "item_index": pa.array(range(num_items), pa.int32()),
            "item_id": [f"item-{number}" for number in range(num_items)],
        }
    )


def trained_bundle(directory, family="item_knn", *, day=DAY, preset="world", inputs=None, seed=0):
    """A bundle of a family without semantic IDs, fitted on the walks before the last week."""
    rows = Histories.from_arrow(walks(day, seed))
    split = split_rolling(rows, day, holdout_days=7, validation_days=2)
    model, report = MODELS[family].fit(
        split, MODELS[family].configure({}), Fitting(), Vocabulary(NUM_ITEMS)
    )
    content = {"snapshot_id": 1, "content_hash": f"walks of {day}"}
    return write_bundle(
        directory,
        origin=Origin(
            family=family,
            preset=preset,
            day=day.isoformat(),
            code_revision="0" * 40,
            inputs=inputs or {"user_sequences": content},
        ),
        items=catalogue(),
        documents={
            "split": dict(split.facts),
            "config": {"training": {"max_history": 20, "minimum_strength": -1}},
            "training": {"epochs": report.epochs, "seconds": 1.5},
        },
        save_model=lambda folder: MODELS[family].save(model, folder),
    )
