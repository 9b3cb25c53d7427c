from datetime import UTC, datetime, time, timedelta

import pyarrow as pa
import pytest

from tests.recommender_world import DAY, histories, tables_of
from training.config import Evaluation, TrainingConfig
from training.data.histories import Histories
from training.programs.day_inputs import DayTables, split_histories, version_of_day
from training.programs.errors import ProgramError
from training.programs.interface import Task

NEXT_DAY = DAY + timedelta(days=1)
DAY_BEGINS = datetime.combine(DAY, time(), UTC)


@pytest.fixture
def task(settings):
    return Task(settings, TrainingConfig(name="world"), DAY, step="train_recommender")


def publish(store, table, rows, day):
    stage = store.stage(table, day=day, job="test")
    stage.write(rows)
    return store.publish(stage)


def read_anew(task):
    return DayTables(task.store, task.day)


def items(count):
    none = pa.array([None] * count, pa.string())
    return pa.table(
        {
            "item_id": [f"item-{number}" for number in range(count)],
            "item_index": pa.array(range(count), pa.int32()),
            "first_day": pa.array([DAY] * count, pa.date32()),
            "first_listed_day": pa.nulls(count, pa.date32()),
            "last_listed_day": pa.nulls(count, pa.date32()),
            "title": none,
            "text": none,
            "attributes": pa.array([[]] * count, pa.map_(pa.string(), pa.string())),
        }
    )


def semantic_ids(generation, count):
    return pa.table(
        {
            "generation": [generation] * count,
            "item_id": [f"item-{number}" for number in range(count)],
            "item_index": pa.array(range(count), pa.int32()),
            "codes": pa.array([[number, 0] for number in range(count)], pa.list_(pa.int32())),
            "num_quantized_levels": pa.array([2] * count, pa.int32()),
            "assigned_day": pa.array([DAY] * count, pa.date32()),
            "vector": pa.array(
                [[1.0, float(number)] for number in range(count)], pa.list_(pa.float32())
            ),
        }
    )


def test_an_old_day_does_not_see_items_of_later_days(task):
    publish(tables_of(task), "items", items(3), DAY)
    publish(tables_of(task), "items", items(5), NEXT_DAY)
    later = Task(task.settings, task.config, NEXT_DAY, step=task.step)
    rows = task.tables.items()
    assert rows.column("item_id").to_pylist() == ["item-0", "item-1", "item-2"]
    assert later.tables.items().num_rows == 5
    old, new = task.tables.inputs, later.tables.inputs
    assert old["items"]["content_hash"] != new["items"]["content_hash"]
    assert old["items"]["snapshot_id"] != new["items"]["snapshot_id"]


def test_a_day_that_left_no_version_reads_the_head(task):
    publish(tables_of(task), "items", items(3), NEXT_DAY)
    assert version_of_day(task.store, "items", DAY) is None
    assert task.tables.items().num_rows == 3


def test_semantic_ids_are_those_of_one_generation(task):
    for generation, count in (("2024-03-24-aaa", 2), ("2024-03-31-bbb", 3)):
        publish(tables_of(task), "semantic_ids", semantic_ids(generation, count), DAY)
    tables, others = read_anew(task), read_anew(task)
    rows = tables.semantic_ids("2024-03-24-aaa")
    assert rows.column("generation").unique().to_pylist() == ["2024-03-24-aaa"]
    others.semantic_ids("2024-03-31-bbb")
    ours, theirs = (each.inputs["semantic_ids"]["content_hash"] for each in (tables, others))
    assert ours != theirs


def test_histories_are_the_days_own_partition_whatever_came_later(task):
    publish(tables_of(task), "user_sequences", histories(DAY), DAY)
    before, after = read_anew(task), read_anew(task)
    found = before.histories()
    publish(tables_of(task), "user_sequences", histories(NEXT_DAY, seed=1), NEXT_DAY)
    again = after.histories()
    assert (found.items == again.items).all()
    read = [tables.inputs["user_sequences"]["content_hash"] for tables in (before, after)]
    assert read[0] == read[1]


def test_what_is_read_is_noted_in_the_order_of_reading(task):
    publish(tables_of(task), "user_sequences", histories(DAY), DAY)
    publish(tables_of(task), "items", items(3), DAY)
    assert task.tables.inputs == {}
    task.tables.items()
    task.tables.histories()
    assert list(task.tables.inputs) == ["items", "user_sequences"]
    assert task.tables.inputs["items"] == {
        "snapshot_id": task.store.snapshot_id("items"),
        "content_hash": task.store.content_hash("items"),
    }


def test_a_family_is_told_of_its_own_tables_alone(task):
    publish(tables_of(task), "user_sequences", histories(DAY), DAY)
    publish(tables_of(task), "items", items(3), DAY)
    task.tables.items()
    task.tables.histories()
    assert list(task.tables.inputs_of("user_sequences", "slates")) == ["user_sequences"]
    assert list(task.tables.inputs_of("user_sequences", "items")) == ["user_sequences", "items"]


def test_what_is_missing_is_named_with_the_command_that_makes_it(task):
    with pytest.raises(ProgramError, match="'user_sequences' has no rows for 2024-03-31; run buil"):
        task.tables.histories()
    with pytest.raises(ProgramError, match="'items' has no rows for 2024-03-31; run build_items"):
        task.tables.items()
    with pytest.raises(ProgramError, match=r"'semantic_ids' has no rows .* \(generation g\)"):
        task.tables.semantic_ids("g")


@pytest.mark.parametrize("protocol", ["rolling", "leave_last_out"])
def test_the_split_is_the_presets(protocol):
    evaluation = Evaluation(
        protocol=protocol, holdout_days=5, validation_days=2, max_targets_per_user=3
    )
    split = split_histories(Histories.from_arrow(histories()), DAY, evaluation)
    assert split.facts["protocol"] == protocol
    per_user = 3 if protocol == "rolling" else 1
    assert len(split.test) == per_user * split.train.num_users


def test_a_log_of_one_day_is_not_asked_about_at_its_days_end():
    rows = histories()
    at_once = [[DAY_BEGINS] * len(items) for items in rows["item_indices"].to_pylist()]
    place = rows.column_names.index("event_times")
    rows = rows.set_column(place, "event_times", pa.array(at_once, rows["event_times"].type))
    evaluation = Evaluation(protocol="leave_last_out", asked_at="day_end")
    with pytest.raises(ProgramError, match=r"all events are of one day.*asked_at: event"):
        split_histories(Histories.from_arrow(rows), DAY, evaluation)
    of_events = Evaluation(protocol="leave_last_out")
    assert split_histories(Histories.from_arrow(rows), DAY, of_events).test.asked_at == "event"
    of_days = split_histories(Histories.from_arrow(histories()), DAY, evaluation)
    assert of_days.test.asked_at == "day_end"
