"""A family that reads impressions gets them with what makes the same codes of a query."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from tests.recommender_world import DAY, histories, tables_of
from training.config import TrainingConfig
from training.data.histories import Histories
from training.models import MODELS
from training.programs.day_inputs import CODED_AS
from training.programs.errors import ProgramError
from training.programs.interface import Task
from training.programs.training_data import day_training_data, training_data_for

MAP = pa.map_(pa.string(), pa.string())
FIELDS = ["user_id", "user.kind", "user_events", "item_id", "hour", "met.item_id"]
SAID = {"fields": FIELDS, "history_events": 5, "engaged_strength": 1, "utc_offset_hours": 0.0}
READER = replace(MODELS["popularity"], name="reader", reads=("user_sequences", "impressions"))


@pytest.fixture
def task(settings):
    return Task(settings, TrainingConfig(name="world"), DAY, step="train_recommender")


def publish(task, table, rows, **properties):
    store = tables_of(task)
    stage = store.stage(table, day=DAY, job="test")
    stage.write(rows)
    store.publish(stage, properties=properties)


def filled(task, **properties):
    """Histories, items, a user of the table and one of events alone, and two impressions."""
    publish(task, "user_sequences", histories(num_users=3))
    number = 120
    items = {
        "item_id": [f"item-{n}" for n in range(number)],
        "item_index": pa.array(range(number), pa.int32()),
        "first_day": pa.array([DAY] * number, pa.date32()),
        **{
            name: pa.nulls(number, kind)
            for name, kind in (
                ("first_listed_day", pa.date32()),
                ("last_listed_day", pa.date32()),
                ("title", pa.string()),
                ("text", pa.string()),
            )
        },
        "attributes": pa.array([[]] * number, MAP),
    }
    publish(task, "items", pa.table(items))
    users = {
        "user_id": ["user-000"],
        "first_day": pa.array([DAY], pa.date32()),
        "changed_day": pa.array([DAY], pa.date32()),
        "attributes": pa.array([[("kind", "x")]], MAP),
    }
    publish(task, "users", pa.table(users))
    early, late = DAY - timedelta(days=20), DAY
    codes = [
        ("user_id", "user-000", 1, early), ("user_id", "user-001", 2, late),
        ("user.kind", "x", 1, early), ("item_id", "item-7", 1, early),
    ]  # fmt: skip
    fields, values, numbers, days = zip(*codes, strict=True)
    vocabularies = {
        "field": fields,
        "value": values,
        "code": pa.array(numbers, pa.int32()),
        "met_day": pa.array(days, pa.date32()),
        "first_day": pa.array(days, pa.date32()),
    }
    publish(task, "feature_vocabularies", pa.table(vocabularies))
    rows = Histories.from_arrow(histories(num_users=3))
    first = rows.offsets[:2]
    impressions = {
        "day": pa.array([DAY, DAY], pa.date32()),
        "impression_id": ["a", "b"],
        "user_id": ["user-000", "user-001"],
        "item_index": pa.array(rows.items[first], pa.int32()),
        "event_time": pa.array(rows.times[first], pa.timestamp("us", "UTC")),
        "strength": pa.array([0, 2], pa.int32()),
        "user_codes": pa.array([[1, 1, 1], [2, 0, 1]], pa.list_(pa.int32())),
        "item_codes": pa.array([[1], [0]], pa.list_(pa.int32())),
        "context_codes": pa.array([[13, 1], [13, 1]], pa.list_(pa.int32())),
    }
    publish(task, "impressions", pa.table(impressions), **properties)


def test_codes_that_no_weight_may_know_are_unknown(task):
    filled(task, **{CODED_AS: json.dumps(SAID)})
    read = training_data_for(task, READER, day_training_data(task))
    impressions = read.data["impressions"]
    assert impressions.user_NF.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert impressions.strength.tolist() == [0, 2]
    assert np.array_equal(impressions.user, [0, 1])
    assert [field.name for field in impressions.features.fields] == FIELDS
    assert impressions.features.counting.history_events == 5
    # Of the tables without which codes mean nothing, too: other people are another fit.
    assert {"impressions", "users", "feature_vocabularies"} <= set(read.inputs)


def test_impressions_that_do_not_say_what_their_codes_are(task):
    filled(task)
    with pytest.raises(ProgramError, match="don't say what their codes are; run build_impressions"):
        training_data_for(task, READER, day_training_data(task))


def test_no_impression(task):
    filled(task, **{CODED_AS: json.dumps(SAID)})
    before = Task(task.settings, task.config, DAY - timedelta(days=1), step=task.step)
    plain = day_training_data(task)
    with pytest.raises(ProgramError, match=r"name their fields in the preset's impressions.fields"):
        training_data_for(before, READER, plain)
