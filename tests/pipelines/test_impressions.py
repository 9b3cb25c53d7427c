"""Codes that Spark's workers make are those that a model makes of a query."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from feature_store.arrow import arrow_schema
from feature_store.features import count_code, feature
from feature_store.tables.impressions import IMPRESSIONS
from pipelines.config import Impressions
from pipelines.transforms import impression_moments
from pipelines.transforms.impressions import shift_seconds
from tests.pipelines.impression_world import (
    FIELDS,
    FIRST,
    LAST,
    SECOND,
    ImpressionWorld,
    micros,
    random_world,
)
from training.data.queries import Queries

GROUPS = ("user", "item", "context")


def rows_of(world, folder, **days):
    batches = list(world.coding(folder, **days).run(iter([world.batch()])))
    return pa.Table.from_batches(batches)


def codes_of_queries(world, rows):
    """The codes of the same impressions, each asked as a service is asked."""
    histories = world.histories
    number = {user: n for n, user in enumerate(histories.user_ids.tolist())}
    user = np.array([number[each] for each in rows["user_id"].to_pylist()])
    micros_N = rows["event_time"].cast(pa.int64()).to_numpy()
    days = rows["day"].to_pylist()
    found = []
    for row in range(rows.num_rows):
        owner = user[row : row + 1]
        events = slice(histories.offsets[owner[0]], histories.offsets[owner[0] + 1])
        # Everything up to the moment, the event itself and others of its second included.
        position = np.array([(histories.times[events] <= micros_N[row]).sum()])
        queries = Queries.at(
            histories,
            owner,
            position,
            max_history=10_000,
            exclude_seen=False,
            asked_at=micros_N[row : row + 1] // SECOND,
        )
        features = world.features(days[row])
        items = np.array([[rows["item_index"][row].as_py()]])
        codes = features.user_codes(queries), features.item_codes(items)[:, 0]
        context = features.context_codes(queries, items)[:, 0]
        found.append([each[0].tolist() for each in (*codes, context)])
    return found


@pytest.mark.parametrize(
    ("seed", "offset", "history_events"), [(0, 0.0, 200), (1, 8.0, 20), (2, -5.0, 3)]
)
def test_codes_are_those_of_queries(tmp_path, seed, offset, history_events):
    world = random_world(seed, offset=offset, history_events=history_events)
    rows = rows_of(world, tmp_path)
    assert rows.num_rows > 500
    expected = codes_of_queries(world, rows)
    for place, group in enumerate(GROUPS):
        names = [name for name in FIELDS if feature(name).group == group]
        found = np.array(rows[f"{group}_codes"].to_pylist())
        wanted = np.array([row[place] for row in expected])
        for column, name in enumerate(names):
            assert np.array_equal(found[:, column], wanted[:, column]), name
            assert len(np.unique(found[:, column])) > 1, f"{name} never differs"


def test_parts_of_a_batch_make_the_same_rows(tmp_path, monkeypatch):
    world = random_world(3)
    whole = rows_of(world, tmp_path)
    monkeypatch.setattr(impression_moments, "EVENTS_AT_ONCE", 100)
    assert rows_of(world, tmp_path).equals(whole)


def test_a_day_has_the_same_rows_alone_and_with_others(tmp_path):
    world = random_world(4, offset=8.0)
    together = rows_of(world, tmp_path)
    for number in range((LAST - FIRST).days + 1):
        on = FIRST + timedelta(number)
        alone = rows_of(world, tmp_path, days=(on, on))
        assert alone.equals(together.filter(pc.equal(together["day"], on)).combine_chunks())


def test_rows_are_those_of_the_contract(tmp_path):
    rows = rows_of(random_world(5), tmp_path)
    assert rows.column_names == list(IMPRESSIONS.column_names)
    assert rows.cast(arrow_schema(IMPRESSIONS)).num_rows == rows.num_rows
    ids = rows["impression_id"].to_pylist()
    assert len(set(ids)) == len(ids)


def world_of(events, *fields, **config):
    """Everything is known from the first day on, but what `random_world` doesn't name."""
    world = random_world(users=2, events=1)
    settings = Impressions.model_validate({"fields": fields, **config})
    return ImpressionWorld(events, world.users, world.items, world.vocabularies, settings)


def context(world, folder):
    return [code for (code,) in rows_of(world, folder)["context_codes"].to_pylist()]


def test_nothing_of_the_same_second_counts(tmp_path):
    at = micros(1, 100)
    events = [("u0", 1, 1, at), ("u0", 1, 1, at + SECOND // 2), ("u0", 1, 1, at + SECOND)]
    found = context(world_of(events, "met.item_id"), tmp_path)
    assert found == [count_code(0), count_code(0), count_code(2)]


def test_the_last_events_before_count(tmp_path):
    events = [("u0", item, 1, micros(1, n)) for n, item in enumerate((1, 1, 2, 1, 1))]
    found = context(world_of(events, "met.item_id", history_events=2), tmp_path)
    assert found == [count_code(n) for n in (0, 1, 0, 1, 1)]


def test_engagements_count_apart(tmp_path):
    events = [("u0", 1, strength, micros(1, n)) for n, strength in enumerate((0, 1, -1, 3, 0))]
    assert context(world_of(events, "engaged.item_id"), tmp_path) == [
        count_code(n) for n in (0, 0, 1, 1, 2)
    ]
    assert context(world_of(events, "engaged.item_id", engaged_strength=2), tmp_path) == [
        count_code(n) for n in (0, 0, 0, 0, 1)
    ]


def test_what_nobody_knows_is_code_0(tmp_path):
    events = [("nobody", 7, 1, micros(1, 1)), ("u1", 0, 1, micros(1, 2))]
    fields = ("user_id", "user.city", "binned.user.age")
    fields += ("item_id", "item.tag", "binned.item.length")
    rows = rows_of(world_of(events, *fields), tmp_path)
    assert rows["user_codes"].to_pylist() == [[0, 0, 0], [0, 0, 0]]
    assert rows["item_codes"].to_pylist() == [[0, 0, 0], [1, 1, 1]]


def test_a_text_that_is_no_number_has_no_bin(tmp_path):
    world = random_world(6)
    rows = rows_of(world, tmp_path)
    of = {user: codes[2] for user, codes in zip(*_columns(rows), strict=True)}
    ages = {user: said["age"] for user, said in world.users.items()}
    wanted = {"12": 1, "30": 2, "41.5": 2, "old": 0}
    assert of == {user: wanted[ages[user]] if user in ages else 0 for user in of}


def _columns(rows):
    return rows["user_id"].to_pylist(), rows["user_codes"].to_pylist()


def test_days_are_those_whose_run_sees_them_whole():
    assert (shift_seconds(0), shift_seconds(8), shift_seconds(-5)) == (0, 28_800, 68_400)


def test_no_event_of_the_days(tmp_path):
    world = random_world(7)
    later = date(2024, 2, 1)
    assert rows_of(world, tmp_path, days=(later, later)).num_rows == 0
