"""The jobs: from what the source says of people, histories and the catalogue to impressions."""

import json
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from feature_store.features import count_code, features
from pipelines.errors import DataRefused
from pipelines.idle import idle
from pipelines.jobs.build_impressions import SETTINGS, settings_of
from pipelines.transforms.impression_audit import Beside, audit, refusal
from tests.pipelines.slate_world import World, at, day, events
from training.data.features import Counting, Features
from training.data.histories import SECOND, Histories
from training.data.queries import Queries

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

FIELDS = [
    *("user_id", "user.city", "binned.user.age", "user_events", "user_engagements"),
    *("item_id", "item.author", "binned.item.length"),
    *(
        "hour",
        "weekday",
        "met.item_id",
        "engaged.item_id",
        "met.item.author",
        "engaged.item.author",
    ),
]
SECTIONS = {"impressions": {"fields": FIELDS, "history_events": 20}}
DAYS = 3


def items(number=40):
    """The last item has no attributes; every third author has three items."""
    return [
        [("author", f"a{n // 3}"), ("length", f"{n}.5" if n % 5 else "long")] if n < 39 else []
        for n in range(number)
    ]


class ImpressionsWorld(World):
    """With attributes of items and of people."""

    def publish_items(self, number=40):
        super().publish_items(number)
        rows = self.store.read("items")
        kind = pa.map_(pa.string(), pa.string())
        place = rows.column_names.index("attributes")
        rows = rows.set_column(place, "attributes", pa.array(items(number), kind))
        return self.publish("items", rows, day(1))

    def publish_users(self, users):
        kind = pa.map_(pa.string(), pa.string())
        number = len(users)
        rows = {
            "user_id": list(users),
            "first_day": pa.array([day(1)] * number, pa.date32()),
            "changed_day": pa.array([day(1)] * number, pa.date32()),
            "attributes": pa.array([list(each.items()) for each in users.values()], kind),
        }
        return self.publish("users", pa.table(rows), day(1))

    def build(self, number):
        self.run("build_user_sequences", number)
        return self.run("build_impressions", number)


def people():
    """Of twelve the last is in no table of users."""
    ages = ("7", "30", "41.5", "old")
    return {
        f"u{n}": {"city": "Bern|Rome" if n % 2 else "Oslo", "age": ages[n % 4]} for n in range(11)
    }


@pytest.fixture
def world(spark, settings):
    world = ImpressionsWorld(settings, SECTIONS)
    world.publish_items()
    world.publish_users(people())
    return world


def test_the_days_of_a_log_become_impressions_whose_codes_are_those_of_queries(world):
    # One user and some items are met on the second day and later.
    rows = [e for e in events(days=DAYS, seed=5) if e[2] >= at(2) or (e[0] != "u5" and e[1] < 30)]
    world.publish_events(rows)
    facts = world.build(DAYS)
    assert facts["days_built"] == DAYS
    assert not facts["built_anew"]
    assert facts["rows"] == world.store.row_count("interactions")
    histories = Histories.from_arrow(world.store.read("user_sequences", partition=day(DAYS)))
    for number in range(1, DAYS + 1):
        rows = world.store.read("impressions", partition=day(number))
        assert rows.num_rows > 50
        features = features_of(world, on=day(number))
        expected = codes_of(features, histories, rows)
        for name, codes in expected.items():
            assert np.array_equal(np.array(rows[name].to_pylist()), codes), (name, number)
    # What the first day of impressions met has a code at once, the rest from the day after.
    vocabulary = world.store.read("feature_vocabularies")
    late = pc.not_equal(vocabulary["met_day"], day(1))
    waits = vocabulary.filter(late)
    assert waits.num_rows > 0
    assert all(
        first == met + timedelta(days=1)
        for met, first in zip(
            *(waits[n].to_pylist() for n in ("met_day", "first_day")), strict=True
        )
    )
    assert json.loads(world.store.describe("impressions").properties[SETTINGS])["fields"] == FIELDS


def features_of(world, *, on):
    said = json.loads(settings_of(world.config))
    return Features.of_tables(
        tuple(said["fields"]),
        Counting(said["history_events"], said["engaged_strength"], said["utc_offset_hours"]),
        vocabularies=world.store.read("feature_vocabularies"),
        items=world.store.read("items"),
        users=world.store.read("users"),
        on=on,
    )


def codes_of(features, histories, rows):
    """Codes of a day's rows, all asked at once."""
    number = {user: n for n, user in enumerate(histories.user_ids.tolist())}
    user = np.array([number[each] for each in rows["user_id"].to_pylist()])
    seconds = rows["event_time"].cast(pa.int64()).to_numpy() // SECOND
    queries = Queries.at(
        histories,
        user,
        histories.lengths[user],
        max_history=10_000,
        exclude_seen=False,
        asked_at=seconds,
    )
    wanted = rows["item_index"].to_numpy()[:, None]
    return {
        "user_codes": features.user_codes(queries),
        "item_codes": features.item_codes(wanted)[:, 0],
        "context_codes": features.context_codes(queries, wanted)[:, 0],
    }


def test_nights_give_the_rows_that_one_run_gives_and_a_rerun_commits_nothing(world, settings):
    world.publish_events(events(days=DAYS, seed=7))
    for number in range(1, DAYS + 1):
        world.build(number)

    def state():
        return world.hashes("impressions"), world.store.content_hash("feature_vocabularies")

    nightly = state()
    facts = world.run("build_impressions", DAYS)
    assert not any(table["changed"] for table in facts["tables"].values())
    world.run("build_impressions", 1)
    assert (
        world.hashes("impressions"),
        world.store.content_hash("feature_vocabularies"),
    ) == nightly
    assert [info.job for info in world.store.history("impressions")].count("build_impressions") == 3


def test_other_fields_build_all_days_anew_and_codes_stay(world):
    world.publish_events(events(days=DAYS, seed=9))
    world.sections = {"impressions": {"fields": ["user_id", "item_id"]}}
    for number in (1, 2, 3):
        world.build(number)
    before = set(map(tuple, _codes(world)))
    world.sections = SECTIONS
    facts = world.run("build_impressions", 2)
    assert (facts["days_built"], facts["built_anew"]) == (2, True)
    assert world.store.partitions("impressions") == [day(1), day(2)]
    assert before <= set(map(tuple, _codes(world)))
    # The day before is built once more.
    assert world.build(3)["days_built"] == 2
    for number in (1, 2, 3):
        rows = world.store.read("impressions", partition=day(number))
        assert {len(codes) for codes in rows["context_codes"].to_pylist()} == {6}


def _codes(world):
    rows = world.store.read("feature_vocabularies")
    return zip(*(rows[name].to_pylist() for name in ("field", "value", "code")), strict=True)


def test_what_was_before_since_is_history_alone(world):
    world.publish_events([("u1", 4, at(1), 1), ("u1", 4, at(3), 0)])
    world.sections = {"impressions": {"fields": ["met.item_id"], "since": day(2)}}
    world.build(3)
    [row] = [row for n in (1, 2, 3) for row in world.rows("impressions", n)]
    assert (row["day"], row["context_codes"]) == (day(3), [count_code(1)])


def test_a_later_build_appends_what_is_new(world):
    world.publish_events([("u1", 1, at(1), 1), ("u2", 9, at(2), 1)])
    world.build(1)
    first = list(_codes(world))
    world.build(2)
    assert set(first) <= set(_codes(world))
    [row] = world.rows("impressions", 2)
    # Who and what is met for the first time has no code on the day; the bin of a number has one.
    age = row["user_codes"][2]
    assert age > 0
    assert row["user_codes"][:2] == [0, 0] and row["item_codes"][:2] == [0, 0]
    world.publish_events([("u2", 9, at(3), 1)])
    world.build(3)
    [row] = world.rows("impressions", 3)
    assert row["user_codes"][:3] == [2, 2, age] and row["item_codes"][:2] == [2, 2]


def test_what_comes_a_night_late_is_there_the_night_after(world):
    world.publish_events([("u1", 1, at(1), 1)])
    world.build(1)
    world.publish_events([("u1", 1, at(1), 1), ("u1", 2, at(1, 5), 1)])
    world.publish_events([("u1", 3, at(2), 0)])
    assert world.build(2)["days_built"] == 2
    found = [row["item_index"] for n in (1, 2) for row in world.rows("impressions", n)]
    assert found == [1, 2, 3]


def test_a_night_without_an_event_builds_no_row(world):
    world.publish_events([("u1", 1, at(1), 1)])
    world.build(1)
    world.run("build_user_sequences", 2)
    world.run("build_impressions", 2)
    assert world.store.partitions("impressions") == [day(1)]
    assert len(world.rows("impressions", 1)) == 1


def test_without_histories_of_the_day_it_is_refused(world):
    world.publish_events([("u1", 1, at(1), 1)])
    with pytest.raises(DataRefused, match="no history of 2024-01-01; run build_user_sequences"):
        world.run("build_impressions", 1)


def test_the_audit_finds_a_code_that_says_something_else(world, spark, tmp_path):
    world.publish_events(events(days=2, seed=11, users=4))
    world.build(2)
    table = world.store.read("impressions", partition=day(2))
    store = world.store

    def frame(name, **of):
        return spark.read.parquet(*store.files(name, **of))

    beside = Beside(
        fields=features(FIELDS),
        config=world.config.impressions,
        utc_offset_hours=0.0,
        sequences=frame("user_sequences", partitions=[day(2)]),
        items=frame("items"),
        users=frame("users"),
        vocabularies=frame("feature_vocabularies"),
    )
    # Of the first row the first code of each group is one more, of the second the second one, …
    wrong = table
    for group in ("user", "item", "context"):
        name = f"{group}_codes"
        codes = table[name].to_pylist()
        for row in range(len(codes[0])):
            codes[row][row] += 1
        place = table.column_names.index(name)
        wrong = wrong.set_column(place, name, pa.array(codes, pa.list_(pa.int32())))
    pq.write_table(wrong, tmp_path / "wrong.parquet")
    found = audit(spark.read.parquet(str(tmp_path / "wrong.parquet")), beside)
    assert found == dict.fromkeys([each.name for each in beside.fields], 1)
    said = refusal(found)
    assert said is not None
    assert (
        "1 of the sample: met.item_id" in said and "run build_user_sequences again" in said.lower()
    )
    good = audit(frame("impressions", partitions=[day(2)]), beside)
    assert refusal(good) is None


def test_nothing_is_built_where_the_preset_names_no_fields(settings):
    config = World(settings).config
    facts = idle("build_impressions", config, settings, day(1))
    assert (facts["status"], facts["seconds"] < 1) == ("unchanged", True)
    assert facts["message"] == "the preset names no fields of impressions (impressions.fields)"
    assert idle("build_users", config, settings, date(2024, 1, 1))["message"].startswith("nothing")
    assert idle("build_items", config, settings, day(1)) is None
