"""Histories → vectors of items by who took to them, their border, and its audit."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from feature_store.held_out import HeldOut
from feature_store.tables.user_sequences import USER_SEQUENCES
from pipelines.errors import DataRefused
from pipelines.schema import spark_schema
from pipelines.transforms.collaborative_audit import audit, refusal
from pipelines.transforms.collaborative_vectors import item_vectors
from pipelines.transforms.engagements import engagements, sources
from pipelines.transforms.training_span import TrainingSpan
from tests.pipelines.slate_world import World, at, day, events

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

DAY = date(2024, 1, 20)
SPAN = TrainingSpan(date(2024, 1, 15))


@pytest.fixture
def sequences(spark):
    """Rows of user_sequences, of (item, day of January, strength) by user."""

    def made(*users, partitions=1):
        rows = [
            (
                DAY,
                f"u{number:03}",
                [item for item, _, _ in events],
                [strength for *_, strength in events],
                [datetime(2024, 1, on, tzinfo=UTC) for _, on, _ in events],
                len(events),
            )
            for number, events in enumerate(users)
        ]
        frame = spark.createDataFrame(rows, spark_schema(USER_SEQUENCES))
        return frame.repartition(partitions)

    return made


def vectors_of(sequences, num_items, span=SPAN):
    taken = engagements(sequences, span)
    num_users = np.zeros(num_items)
    for row in sources(taken).collect():
        num_users[row["item_index"]] = row["num_users"]
    return item_vectors(taken, num_users)


def test_the_span_is_that_of_the_split(sequences):
    frame = sequences([(0, 1, 1), (1, 20, 1)])
    # 20 days: 4 are held out and 2 validate.
    assert TrainingSpan.of(frame, HeldOut(), DAY).until == date(2024, 1, 15)
    assert TrainingSpan.of(frame, HeldOut(holdout_days=3), DAY).until == date(2024, 1, 17)
    assert TrainingSpan.of(frame, HeldOut(protocol="leave_last_out"), DAY).until is None


def test_only_events_within_the_span_count_and_exposures_do_not(sequences):
    frame = sequences(
        [(0, 1, 1), (0, 14, -1), (1, 15, 3)], [(0, 3, 2), (2, 4, 0)], [(2, 16, 1)], [(3, 2, 0)]
    )
    found = {row["item_index"]: row for row in sources(engagements(frame, SPAN)).collect()}
    assert set(found) == {0}
    assert found[0]["num_users"] == 2
    assert found[0]["newest_event_time"] == datetime(2024, 1, 14)


def test_of_each_person_the_last_two_events_are_left_out_where_there_are_three(sequences):
    frame = sequences([(0, 1, 1), (1, 2, 1), (2, 3, 1)], [(3, 1, 1), (4, 2, 1)])
    found = sources(engagements(frame, TrainingSpan(None))).collect()
    assert {row["item_index"] for row in found} == {0, 3, 4}


def crowds(num_users=40, num_items=12, seed=0):
    """Two crowds, each with half of the items to itself."""
    draw = np.random.default_rng(seed)
    half = num_items // 2
    orders = [draw.permutation(half)[:4] + half * (user % 2) for user in range(num_users)]
    return [[(int(item), 1 + n, 1) for n, item in enumerate(order)] for order in orders]


def test_items_of_one_crowd_are_alike_and_of_two_are_not(sequences):
    cosine = (lambda v: v @ v.T)(vectors_of(sequences(*crowds()), 12))
    same = cosine[:6, :6][~np.eye(6, dtype=bool)]
    assert same.min() > 0.3
    assert np.abs(cosine[:6, 6:]).max() < 1e-6
    assert np.allclose(np.diag(cosine), 1)


def test_vectors_are_those_of_the_decomposition(sequences):
    users = crowds(seed=1)
    matrix = np.zeros((len(users), 12))
    for user, taken in enumerate(users):
        matrix[user, [item for item, _, _ in taken]] = 1
    scaled = matrix / np.sqrt(matrix.sum(1, keepdims=True) + 5) / np.sqrt(matrix.sum(0) + 1)
    _, sizes, directions = np.linalg.svd(scaled)
    wanted = directions.T[:, : len(sizes)] * sizes
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    found = vectors_of(sequences(*users), 12)
    assert np.allclose(found @ found.T, wanted @ wanted.T, atol=1e-6)


def test_they_are_the_same_bits_in_any_order_and_any_partitions(sequences):
    # Plain floating-point sums over so many users differ with their order.
    users = [*crowds(seed=2, num_users=300), [(item, 3, 1) for item in range(11)]]
    found = vectors_of(sequences(*users), 12)
    assert np.array_equal(found, vectors_of(sequences(*users[::-1]), 12))
    assert np.array_equal(found, vectors_of(sequences(*users[::-1], partitions=5), 12))


def test_a_crowd_without_tastes_has_one_vector_and_nobody_has_none(sequences):
    everyone = [[(item, 1 + item, 1) for item in range(4)] for _ in range(9)]
    found = vectors_of(sequences(*everyone), 6)
    assert np.allclose(found[:4] @ found[:4].T, 1)
    assert not found[4:].any()
    assert not vectors_of(sequences([(0, 18, 1)]), 3).any()


def test_the_audit_finds_vectors_that_know_of_what_is_held_out(sequences, spark):
    frame = sequences([(0, 1, 1), (1, 2, 1), (2, 16, 1)], [(1, 3, 1), (0, 16, 1)])
    honest = sources(engagements(frame, SPAN))
    assert refusal(audit(honest, frame, until=SPAN.until)) is None
    late = sources(engagements(frame, TrainingSpan(date(2024, 1, 21))))
    found = audit(late, frame, until=SPAN.until)
    assert list(found.values()) == [2, 2]
    assert "the leakage audit refused the collaborative vectors" in refusal(found)
    assert sum(audit(late, frame, until=None).values()) > 0
    of_two = sources(engagements(frame, TrainingSpan(None)))
    assert refusal(audit(of_two, frame, until=None)) is None


def test_the_job_publishes_vectors_of_the_span_and_a_rerun_changes_nothing(spark, settings):
    world = World(settings)
    world.publish_items()
    world.publish_events(events(days=5))
    with pytest.raises(DataRefused, match=r"no histories of 2024-01-05; run build_user_sequences"):
        world.run("build_collaborative_vectors", 5)
    world.run("build_user_sequences", 5)
    facts = world.run("build_collaborative_vectors", 5)
    assert facts["trained_until"] == "2024-01-04"  # a day is held out, one validates
    rows = world.rows("collaborative_vectors", 5)
    assert facts["items_with_vector"] == len(rows) > 30
    assert facts["events"] == sum(row["num_users"] for row in rows)
    assert max(row["newest_event_time"] for row in rows) < at(4)
    assert facts["alarms"] == []
    assert world.run("build_collaborative_vectors", 5)["status"] == "unchanged"


def test_a_log_as_short_as_what_is_held_out_has_no_vectors_and_says_so(spark, settings):
    world = World(settings)
    world.publish_items()
    world.publish_events([("u", 1, at(1), 1)])
    world.run("build_user_sequences", 1)
    facts = world.run("build_collaborative_vectors", 1)
    assert (facts["rows"], facts["items_with_vector"]) == (0, 0)
    assert "nobody took to anything before 2023-12-31" in facts["alarms"][0]
    assert world.store.partitions("collaborative_vectors") == []


def test_cooccurrence_leaves_out_what_is_held_out(spark, settings):
    world = World(settings, {"slates": {"maximum_items": 10}})
    world.publish_items()
    pairs = [("u", 1, at(1), 1), ("u", 2, at(1, 1), 1), ("u", 3, at(5), 1), ("u", 4, at(5, 1), 1)]
    world.publish_events(pairs)
    world.run("build_user_sequences", 5)
    world.run("build_slates", 5)
    assert world.run("build_item_cooccurrence", 5)["trained_until"] == "2024-01-04"
    assert [row["item_index"] for row in world.rows("item_cooccurrence", 5)] == [1, 2]
    world.sections = {"evaluation": {"protocol": "leave_last_out"}}
    world.run("build_item_cooccurrence", 5)
    assert [row["item_index"] for row in world.rows("item_cooccurrence", 5)] == [1, 2]
    assert world.store.partitions("item_cooccurrence") == [day(5)]
