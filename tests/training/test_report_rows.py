from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from feature_store.arrow import arrow_schema
from feature_store.store import FeatureStore
from feature_store.tables import CATALOG
from tests.report_days import DAY
from training.programs import report_rows
from training.report.sections.people import Person

EARLIER = DAY - timedelta(days=1)


@pytest.fixture
def store(settings):
    return FeatureStore.open(settings, "shop")


def publish(store, table, rows, **more):
    stage = store.stage(table, day=DAY, job="test")
    stage.write(pa.Table.from_pylist(rows, schema=arrow_schema(CATALOG[table])))
    store.publish(stage, **more)


def item(number, title=None):
    return {"item_id": f"item-{number}", "item_index": number, "first_day": DAY, "title": title}


def history(user, events, day=DAY):
    indices, strengths = zip(*events, strict=True)
    times = [datetime(1998, 4, 1, tzinfo=UTC)] * len(events)
    return {"day": day, "user_id": user, "item_indices": indices, "strengths": strengths,
            "event_times": times, "num_events": 40}  # fmt: skip


def recommendation(user, indices, day=DAY):
    return {
        "day": day, "user_id": user, "item_ids": [f"item-{i}" for i in indices],
        "item_indices": indices, "scores": [0.5] * len(indices), "model_family": "tiger",
        "model_version": "2", "bundle_digest": "d",
    }  # fmt: skip


def filled(items):
    return [{**row, "attributes": []} for row in items]


def test_people_come_with_the_titles_of_what_they_did_last(store):
    publish(store, "items", filled([item(0, "Heat"), item(1), *(item(n) for n in range(2, 9))]))
    publish(
        store,
        "user_sequences",
        [history("u1", [(8, 1), (2, 1), (3, 1), (4, 1), (1, -1), (0, 3)]), history("u2", [(5, 2)]),
         history("u1", [(7, 1)], EARLIER)],
    )  # fmt: skip
    publish(
        store,
        "recommendations",
        [recommendation("u1", [3, 0, 4, 5, 6, 7]), recommendation("u9", [0], EARLIER)],
    )
    assert report_rows.people(store, DAY) == [
        Person(
            user_id="u1",
            num_events=40,
            last=[("Heat", 3), ("item-1", -1), ("item-4", 1), ("item-3", 1), ("item-2", 1)],
            recommended=["item-3", "Heat", "item-4", "item-5", "item-6"],
        )
    ]
    assert report_rows.people(store, DAY + timedelta(days=1)) == []


def test_the_first_ten_people_are_shown_and_no_more_is_read(store):
    users = [f"u{number:03}" for number in range(40)]
    publish(store, "items", filled([item(0, "Heat")]))
    publish(store, "user_sequences", [history(user, [(0, 1)]) for user in users])
    publish(store, "recommendations", [recommendation(user, [0]) for user in users])
    assert [person.user_id for person in report_rows.people(store, DAY)] == users[:10]


def test_strengths_are_those_of_the_day_alone():
    volume = {"days": ["1998-04-19", "1998-04-20"], "counts": {3: [1, 2], -1: [4, 0]}}
    assert report_rows.strengths_of(volume, DAY) == {3: 2}
    assert report_rows.strengths_of(volume, DAY - timedelta(days=1)) == {3: 1, -1: 4}
    assert report_rows.strengths_of(volume, DAY + timedelta(days=1)) == {}
    assert report_rows.strengths_of(None, DAY) == {}


def test_before_anything_is_published_there_is_nothing_to_show(store):
    assert report_rows.volume(store, DAY) is None
    assert report_rows.people(store, DAY) == []
    assert report_rows.lineage(store, DAY) == []


def test_lineage_is_a_row_a_snapshot(store):
    publish(store, "items", filled([item(0)]), inputs={"raw_files": ["a/x.csv", "a/y.csv"]})
    inputs = {"items": store.snapshot_id("items"), "bundle": "models:/shop/2#d"}
    publish(store, "recommendations", [recommendation("u1", [0])], inputs=inputs)
    rows = report_rows.lineage(store, DAY)
    assert [(row["table"], row["rows"], row["made by"]) for row in rows] == [
        ("recommendations", "1", "test"),
        ("items", "1", "test"),
    ]
    assert rows[1]["from"] == "x.csv, y.csv"
