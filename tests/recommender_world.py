"""A small world whose right answer is known, and bundles trained in it.

Every item is of one of four kinds, and every user meets items of one kind only, in random order:
what a user meets next is of the same kind, and popularity knows nothing of kinds.
"""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa

from feature_store.store import FeatureStore
from training.data.histories import Histories
from training.data.splits import split_rolling
from training.data.vocabulary import Vocabulary
from training.fit.fitting import Fitting, LoopSettings
from training.models import MODELS, weights
from training.registry.bundle import Origin, write_bundle

DAY = date(2024, 3, 31)
NUM_ITEMS = 120
NUM_KINDS = 4  # item n is of kind n % 4
NUM_USERS = 150
EVENTS = 24
ITEM_IDS = [f"item-{number}" for number in range(NUM_ITEMS)]


def tables_of(task):
    """All tables of a task's preset, also those that its step doesn't declare."""
    return FeatureStore.open(task.settings, task.config.name)


def histories(day=DAY, seed=0, num_users=NUM_USERS, *, opinions=False):
    """Rows of `user_sequences`: one event a day up to the day, users in ascending order.

    All feedback is positive; with `opinions` half of the items of each kind are
    disliked, but for one time in ten, when it is the other way round.
    """
    draw = np.random.default_rng(seed)
    kinds = draw.integers(0, NUM_KINDS, size=(num_users, 1))
    order = draw.random((num_users, NUM_ITEMS // NUM_KINDS)).argsort(axis=1)
    items = order[:, :EVENTS] * NUM_KINDS + kinds
    strengths = np.full(items.shape, 2)
    if opinions:
        strengths = 2 * ((items // NUM_KINDS % 2) ^ (draw.random(items.shape) < 0.1))
    first = datetime(day.year, day.month, day.day, 12, tzinfo=UTC) - timedelta(days=EVENTS - 1)
    times = [first + timedelta(days=number) for number in range(EVENTS)]
    return pa.table(
        {
            "day": pa.array([day] * num_users, pa.date32()),
            "user_id": [f"user-{number:03d}" for number in range(num_users)],
            "item_indices": pa.array(items.tolist(), pa.list_(pa.int32())),
            "strengths": pa.array(strengths.tolist(), pa.list_(pa.int32())),
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


def trained_bundle(
    directory,
    family="item_knn",
    *,
    day=DAY,
    preset="world",
    inputs=None,
    seed=0,
    opinions=False,
    settings=None,
    loop=None,
):
    """A bundle of a family without semantic IDs, fitted on the events before the last week."""
    rows = Histories.from_arrow(histories(day, seed, opinions=opinions))
    split = split_rolling(rows, day, holdout_days=7, validation_days=2)
    model, report = MODELS[family].fit(
        split,
        MODELS[family].configure(settings or {}),
        Fitting(loop or LoopSettings()),
        Vocabulary(NUM_ITEMS),
    )
    content = {"snapshot_id": 1, "content_hash": f"histories of {day}"}
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
        save_model=lambda folder: weights.save(model, folder),
    )
