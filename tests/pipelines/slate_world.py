"""A feature store with items, events and embeddings, and the jobs that run in it."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa

from feature_store.store import FeatureStore
from pipelines.config import PipelineConfig
from pipelines.runner import run_job
from pipelines.transforms.embeddings import encoder_for

NUM_ITEMS = 40


def day(number):
    return date(2024, 1, number)


def at(number, minute=0.0):
    """An instant, given a day of January 2024 and a minute of it."""
    return datetime(2024, 1, number, tzinfo=UTC) + timedelta(minutes=minute)


def events(seed=0, *, users=12, days=5, sessions=2):
    """(user, item number, time, strength) of sessions of about five exposures."""
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(1, days + 1):
        for user in range(users):
            for session in range(sessions):
                start = float(draw.integers(0, 600)) + 700 * session
                shown = draw.choice(NUM_ITEMS, int(draw.integers(1, 9)), replace=False)
                for place, item in enumerate(shown):
                    strength = int(draw.integers(-1, 4))
                    rows.append((f"u{user}", int(item), at(number, start + place), strength))
    return rows


@dataclass
class World:
    """State below `settings`; `sections` are those of the preset."""

    settings: object
    sections: dict = field(default_factory=dict)

    def __post_init__(self):
        self.store = FeatureStore.open(self.settings, "t")

    @property
    def config(self):
        source = {
            "layout": "movielens",
            "dataset": "100k",
            "strength": [{"strength": 0, "when": "TRUE"}],
        }
        embedding = {"encoder": "categorical", "dimensions": 4}
        sections = {"name": "t", "source": source, "embedding": embedding, **self.sections}
        return PipelineConfig.model_validate(sections)

    def publish(self, name, rows, on):
        stage = self.store.stage(name, day=on, job="test")
        stage.write(rows)
        return self.store.publish(stage)

    def publish_items(self, number=NUM_ITEMS, *, first_days=None):
        rows = {
            "item_id": [f"i{n}" for n in range(number)],
            "item_index": pa.array(range(number), pa.int32()),
            "first_day": pa.array(first_days or [day(1)] * number, pa.date32()),
            "first_listed_day": pa.nulls(number, pa.date32()),
            "last_listed_day": pa.nulls(number, pa.date32()),
            "title": pa.nulls(number, pa.string()),
            "text": pa.nulls(number, pa.string()),
            "attributes": pa.array([[]] * number, pa.map_(pa.string(), pa.string())),
        }
        return self.publish("items", pa.table(rows), day(1))

    def publish_embeddings(self, number=NUM_ITEMS, *, without=()):
        there = [n for n in range(number) if n not in without]
        vectors = np.random.default_rng(3).normal(size=(number, 4)) + 0.5
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        rows = {
            "encoder": [encoder_for(self.config.embedding).identity] * len(there),
            "item_id": [f"i{n}" for n in there],
            "item_index": pa.array(there, pa.int32()),
            "content_digest": ["d"] * len(there),
            "embedding": pa.array([vectors[n] for n in there], pa.list_(pa.float32())),
        }
        return self.publish("item_embeddings", pa.table(rows), day(1))

    def publish_events(self, rows):
        """One commit per day, as nights deliver them."""
        for on in sorted({time.date() for _, _, time, _ in rows}):
            of_day = [row for row in rows if row[2].date() == on]
            users, items, times, strengths = zip(*of_day, strict=True)
            number = len(of_day)
            columns = {
                "day": pa.array([on] * number, pa.date32()),
                "user_id": users,
                "item_id": [f"i{item}" for item in items],
                "event_time": pa.array(times, pa.timestamp("us", tz="UTC")),
                "request_id": pa.nulls(number, pa.string()),
                "position": pa.nulls(number, pa.int32()),
                "signals": pa.array([[]] * number, pa.map_(pa.string(), pa.string())),
                "strength": pa.array(strengths, pa.int32()),
                "dwell_seconds": pa.nulls(number, pa.float32()),
                "source_file": ["raw.csv"] * number,
                "tie_order": range(number),
                "delivery_day": pa.array([on] * number, pa.date32()),
                "also_delivered": pa.array([[]] * number, pa.map_(pa.string(), pa.string())),
            }
            self.publish("interactions", pa.table(columns), on)

    def run(self, name, number):
        """Facts of the job's run for a day, as the runner leaves them."""
        return run_job(name, preset_config=self.config, settings=self.settings, day=day(number))

    def rows(self, name, number):
        """A day's rows in the order of the table's key, as dictionaries."""
        table = self.store.read(name, partition=day(number))
        keys = [(column, "ascending") for column in self.store.contract(name).key]
        return table.sort_by(keys).to_pylist()

    def hashes(self, name):
        """Content hash of each day of a table."""
        days = self.store.partitions(name)
        return {each: self.store.content_hash(name, partition=each) for each in days}
