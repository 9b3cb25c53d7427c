"""rankgr as the daily chain fits it: with lists that were over before anything was held out."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from tests.recommender_world import DAY, NUM_ITEMS, tables_of
from tests.training.test_train_recommender import (
    bundle_of,
    config,
    publish,
    publish_world,
    settings,  # noqa: F401
)
from training.programs import build_semantic_ids, train_recommender, train_tokenizer
from training.programs.errors import ProgramError
from training.programs.interface import Task

NOON = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
AGO = (20, 15, 10, 3, 1)
"""Days before the day; the last nine of the log are held out or validate."""
SHAPE = {"width": 16, "num_layers": 1, "num_heads": 1, "candidates": 8, "preference_weight": 0.1}


def lists(num_users=40):
    """Of each user a list for some days: two items of the first tier above two not shown."""
    start = [NOON - timedelta(days=days) for _ in range(num_users) for days in AGO]
    count = len(start)
    users = [f"user-{number:03d}" for number in range(num_users) for _ in AGO]
    return {
        "day": pa.array([DAY] * count, pa.date32()),
        "slate_id": [f"s{number}" for number in range(count)],
        "user_id": users,
        "context_until": start,
        "ended_at": [one + timedelta(hours=1) for one in start],
        "item_indices": [[n % NUM_ITEMS, (n + 1) % NUM_ITEMS, 7, 9] for n in range(10, count + 10)],
        "tiers": [[1, 2, 4, 4]] * count,
    }


@pytest.fixture(scope="module")
def task(settings):  # noqa: F811
    made = config("rankgr", models={"challenger": "tiger", "settings": {"rankgr": SHAPE}})
    task = Task(settings, made, DAY, step="train_recommender", families=("rankgr",))
    publish_world(tables_of(task))
    for program in (train_tokenizer, build_semantic_ids):
        program.run(Task(settings, made, DAY, step=program.__name__.rsplit(".", 1)[-1]))
    return task


def test_without_lists_it_says_what_to_run(task):
    with pytest.raises(ProgramError, match="no preference lists up to 2024-03-31; run build_pref"):
        train_recommender.run(task)


def test_what_is_held_out_is_in_no_list_that_trains(task):
    publish(tables_of(task), "preference_lists", lists())
    facts = train_recommender.run(task)["families"]["rankgr"]
    # Of five lists of a user, those of three and one day ago touch what is held out.
    assert facts["preference_lists"] == 3 * 40
    assert 0 < facts["epochs"][-1]["accuracy_1_2"] < 1
    assert "preference_lists" in bundle_of(task, "rankgr").origin.inputs
    assert train_recommender.run(task)["status"] == "unchanged"
