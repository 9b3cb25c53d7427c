"""The job: which days are read, why, and that both ways give the same rows."""

from dataclasses import dataclass, field
from datetime import date

import pyarrow.compute as pc
import pytest

from feature_store.settings import Settings
from feature_store.store import FeatureStore, Retention
from pipelines.config import PipelineConfig
from pipelines.errors import DataRefused
from pipelines.jobs.build_user_sequences import JOB
from pipelines.jobs.interface import JobRun
from tests.pipelines.sequence_world import (
    as_dict,
    at,
    catalogue_rows,
    expected,
    interactions,
    random_events,
)

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

SOURCE = {"layout": "movielens", "dataset": "100k", "strength": []}
NEWEST_ONLY = Retention(keep_days=0, keep_snapshots=1)
EVENTS = random_events(300, users=20, seed=11, days=6)


def day(number):
    return date(2024, 1, number)


@dataclass
class Chain:
    """A feature store, and the job run in it as the runner runs it."""

    spark: object
    settings: Settings
    sequences: dict = field(default_factory=lambda: {"max_events": 12})

    def __post_init__(self):
        self.store = FeatureStore.open(self.settings, "t")

    def publish(self, name, rows, on):
        stage = self.store.stage(name, day=on, job="test")
        stage.write(rows)
        return self.store.publish(stage)

    def ingest(self, rows, number):
        self.publish("items", catalogue_rows(), day(number))
        return self.publish("interactions", interactions(rows), day(number))

    def build(self, number, **sequences):
        """Facts of the job's run for a day, and what was published."""
        config = {"name": "t", "source": SOURCE, "sequences": {**self.sequences, **sequences}}
        run = JobRun(
            spark=self.spark,
            store=self.store,
            config=PipelineConfig.model_validate(config),
            settings=self.settings,
            day=day(number),
        )
        stage = self.store.stage("user_sequences", day=run.day, job=JOB.name)
        output = JOB.build(run)
        users = output.writers["user_sequences"](stage)
        published = self.store.publish(
            stage,
            replace=output.replace["user_sequences"],
            inputs=run.inputs,
            properties=output.properties,
        )
        assert users == published.rows
        return output.account({"user_sequences": users}), published

    def rows(self, number):
        return as_dict(self.store.read("user_sequences", partition=day(number)).sort_by("user_id"))


@pytest.fixture
def chain(spark, settings):
    return Chain(spark, settings)


def of_days(rows, *numbers):
    return [row for row in rows if any(at(n) <= row[2] < at(n + 1) for n in numbers)]


def test_the_day_after_reads_the_last_build_and_the_new_day_alone(chain, spark, tmp_path):
    chain.ingest(of_days(EVENTS, 1, 2, 3, 4), 4)
    facts, _ = chain.build(4)
    assert facts == {
        "built_from": "all days",
        "built_from_reason": "no earlier day was built",
        "days_read": 4,
    }
    chain.ingest(of_days(EVENTS, 5, 6), 6)
    facts, stepwise = chain.build(6)
    assert facts == {
        "built_from": "the histories of 2024-01-04",
        "built_from_reason": "no event up to 2024-01-04 changed since it was built",
        "days_read": 2,
    }
    assert chain.rows(4) == expected(of_days(EVENTS, 1, 2, 3, 4), max_events=12)
    assert chain.rows(6) == expected(EVENTS, max_events=12)

    other = Chain(spark, Settings(home=tmp_path / "other"))
    other.ingest(EVENTS, 6)
    facts, at_once = other.build(6)
    assert facts["built_from"] == "all days"
    assert at_once.content_hash == stepwise.content_hash


def test_a_day_sees_nothing_later_and_running_it_again_commits_nothing(chain):
    chain.ingest(EVENTS, 6)
    _, first = chain.build(3)
    assert chain.rows(3) == expected(of_days(EVENTS, 1, 2, 3), max_events=12)
    _, again = chain.build(3)
    assert first.changed and not again.changed
    assert again.snapshot_id == first.snapshot_id


def test_a_late_event_of_the_last_week_makes_the_days_from_there_on_be_read(chain):
    chain.ingest(of_days(EVENTS, 1, 2, 3), 3)
    chain.build(3, max_events=200)
    late = ("u0", "i1", at(2, 30), 3)
    chain.ingest([*of_days(EVENTS, 2), late], 4)
    chain.ingest(of_days(EVENTS, 4), 4)
    facts, _ = chain.build(4, max_events=200)
    assert facts == {
        "built_from": "the histories of 2024-01-03 before 2024-01-02",
        "built_from_reason": "events from 2024-01-02 on changed since 2024-01-03 was built",
        "days_read": 3,
    }
    assert chain.rows(4) == expected([*of_days(EVENTS, 1, 2, 3, 4), late], max_events=200)


def test_cut_histories_serve_where_what_they_lose_comes_back(chain):
    chain.ingest(of_days(EVENTS, 1, 2, 3), 3)
    chain.build(3, max_events=12)
    late = ("u0", "i1", at(3, 30), 3)
    chain.ingest([*of_days(EVENTS, 3), late], 4)
    chain.ingest(of_days(EVENTS, 4), 4)
    facts, _ = chain.build(4, max_events=12)
    assert facts["built_from"] == "the histories of 2024-01-03 before 2024-01-03"
    assert chain.rows(4) == expected([*of_days(EVENTS, 1, 2, 3, 4), late], max_events=12)


@pytest.mark.parametrize("gone", [(), ("u0",)], ids=["only later events held", "some are gone"])
def test_histories_cut_too_short_to_be_added_to_make_all_days_be_read(chain, gone):
    events = [
        *(("u0", "i1", at(1, minute), 2) for minute in range(9)),
        *(("u0", "i2", at(2, minute), 2) for minute in range(2 if gone else 5)),
        ("u1", "i1", at(1), 2),
    ]
    chain.ingest(events, 2)
    chain.build(2, max_events=4)
    kept = [row for row in of_days(events, 2) if row[0] not in gone]
    changed = [*of_days(events, 1), *kept, ("u1", "i3", at(2, 5), 1)]
    chain.ingest(of_days(changed, 2), 3)
    chain.ingest([("u1", "i2", at(3), 1)], 3)
    facts, _ = chain.build(3, max_events=4)
    assert facts == {
        "built_from": "all days",
        "built_from_reason": "the last histories were cut too short to be added to",
        "days_read": 3,
    }
    assert chain.rows(3) == expected([*changed, ("u1", "i2", at(3), 1)], max_events=4)


def test_a_late_event_of_long_ago_makes_all_days_be_read(chain):
    chain.ingest([("u0", "i1", at(1), 2), ("u0", "i2", at(9), 2)], 9)
    chain.build(9)
    chain.ingest([("u0", "i1", at(1), 2), ("u0", "i3", at(1, 1), 2)], 10)
    chain.ingest([("u0", "i1", at(10), 2)], 10)
    facts, _ = chain.build(10)
    assert facts["built_from_reason"] == (
        "events of more than a week before 2024-01-09 changed since it was built"
    )
    assert facts["days_read"] == 3


def test_other_settings_make_all_days_be_read(chain):
    chain.ingest(of_days(EVENTS, 1, 2), 2)
    chain.build(2)
    chain.ingest(of_days(EVENTS, 3), 3)
    facts, _ = chain.build(3, max_events=30, minimum_strength=1)
    assert facts["built_from_reason"] == "2024-01-02 was built under other `sequences` settings"
    wanted = expected(of_days(EVENTS, 1, 2, 3), max_events=30, minimum_strength=1)
    assert chain.rows(3) == wanted


def test_a_catalogue_that_was_rolled_back_makes_all_days_be_read(chain):
    first = chain.publish("items", catalogue_rows(day(1)).slice(0, 39), day(1))
    chain.ingest(of_days(EVENTS, 1, 2), 2)
    chain.build(2)
    chain.store.rollback("items", first.snapshot_id, "a wrong delivery")
    chain.publish("items", catalogue_rows(day(3)), day(3))
    chain.publish("interactions", interactions(of_days(EVENTS, 3)), day(3))
    facts, _ = chain.build(3)
    assert facts["built_from_reason"] == "items was rolled back since 2024-01-02 was built"


def test_a_build_whose_snapshot_was_set_aside_is_not_built_upon(chain):
    chain.ingest(of_days(EVENTS, 1), 1)
    _, first = chain.build(1)
    chain.ingest(of_days(EVENTS, 2), 2)
    chain.build(2)
    chain.store.rollback("user_sequences", first.snapshot_id, "a wrong day")
    chain.ingest(of_days(EVENTS, 3), 3)
    facts, _ = chain.build(3)
    assert (facts["built_from"], facts["days_read"]) == ("the histories of 2024-01-01", 2)
    assert chain.rows(3) == expected(of_days(EVENTS, 1, 2, 3), max_events=12)


def test_expired_inputs_make_all_days_be_read(chain):
    chain.ingest(of_days(EVENTS, 1), 1)
    chain.build(1)
    chain.ingest(of_days(EVENTS, 2), 2)
    chain.store.maintain(["interactions"], NEWEST_ONLY)
    facts, _ = chain.build(2)
    assert facts["built_from_reason"] == "what 2024-01-01 was built from has expired"
    assert chain.rows(2) == expected(of_days(EVENTS, 1, 2), max_events=12)


def test_an_expired_build_makes_all_days_be_read(chain):
    chain.ingest(of_days(EVENTS, 1, 2), 2)
    chain.build(1)
    chain.build(2)
    chain.store.maintain(["user_sequences"], NEWEST_ONLY)
    facts, again = chain.build(2)
    assert facts["built_from_reason"] == "the snapshot that built 2024-01-01 has expired"
    assert not again.changed


def test_users_without_new_events_keep_their_rows(chain):
    chain.ingest(of_days(EVENTS, 1), 1)
    chain.build(1)
    chain.ingest([("new", "i4", at(2), 1)], 2)
    chain.build(2)
    before, after = chain.rows(1), chain.rows(2)
    assert after.pop("new") == ([35], [1], [at(2)], 1)
    assert after == before
    days = chain.store.read("user_sequences", partition=day(2))["day"]
    assert pc.unique(days).to_pylist() == [day(2)]


def test_without_events_the_day_is_refused(chain):
    with pytest.raises(DataRefused, match="no event up to 2024-01-01; run ingest_interactions"):
        chain.build(1)
    chain.ingest(of_days(EVENTS, 5), 5)
    with pytest.raises(DataRefused, match="no event up to 2024-01-04"):
        chain.build(4)
