"""The audit of pairs: each rule is met by a row that breaks it, and by none that keeps it."""

from datetime import UTC, date, datetime, timedelta
from math import nan

import pytest

from feature_store.tables.items import ITEMS
from feature_store.tables.preference_pairs import PREFERENCE_PAIRS
from feature_store.tables.slates import SLATES
from pipelines.schema import spark_schema
from pipelines.transforms.preference_audit import audit, refusal

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

DAY = date(2024, 5, 7)
START = datetime(2024, 5, 7, 12, tzinfo=UTC)
END = START + timedelta(hours=1)
EARLIER = START - timedelta(hours=3)
NEW_ITEM = 9
"""The catalogue has it since the day after."""


def slate(name="s", items=(0, 1, 2, 3), *, start=START, end=END):
    length = len(items)
    strengths = [3, 2, 2, 1][:length]
    return (DAY, name, "u", start, end, list(items), strengths, [nan] * length, "day")


def pair(kind="ranking", rejected=(1, 0), **changes):
    row = {
        "day": DAY,
        "slate_id": "s",
        "user_id": "u",
        "context_until": START,
        "kind": kind,
        "pair": 0,
        "chosen": [0, 1],
        "rejected": list(rejected),
        "source": "",
        "newest_source": END,
    } | changes
    return tuple(row.values())


@pytest.fixture
def look(spark):
    """Rules that are broken, with how many pairs break them."""

    def look(*pairs, slates=None):
        slates = slates or [slate(), slate("e", (7, 8), start=EARLIER, end=EARLIER)]
        items = [
            (f"i{n}", n, first, first, None, None, None, {})
            for n in range(12)
            for first in [DAY + timedelta(days=1 if n == NEW_ITEM else -3)]
        ]
        found = audit(
            spark.createDataFrame(pairs, spark_schema(PREFERENCE_PAIRS)),
            spark.createDataFrame(slates, spark_schema(SLATES)),
            spark.createDataFrame(items, spark_schema(ITEMS)),
            day=DAY,
        )
        return {rule: number for rule, number in found.items() if number}

    return look


def test_pairs_that_know_nothing_of_later_are_accepted(look):
    good = [
        pair(),
        pair("interest", (0, 2)),
        pair("interest", (7, 1), pair=1, newest_source=EARLIER),
        pair("diversity", (0, 10)),
    ]
    assert look(*good) == {}
    assert refusal({"some rule": 0}) is None


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (pair(slate_id="nobody's"), "the slate isn't published"),
        (pair(user_id="v"), "the slate isn't published"),
        (
            pair(context_until=START + timedelta(seconds=1)),
            "the context goes on after the slate's start",
        ),
        (
            pair(newest_source=END + timedelta(seconds=1)),
            "newest_source is after the slate's end",
        ),
        (pair(chosen=[0, 7], rejected=[7, 0]), "a chosen item isn't in the slate"),
        (pair(rejected=(1, 2)), "a permutation holds other items"),
        (
            pair(chosen=[0, 1, 2], rejected=[0, 2, 1]),
            "a permutation is as good as the chosen",
        ),
        (
            pair("interest", (0, 11)),
            "an item was borrowed from a slate after newest_source",
        ),
        (
            pair("interest", (0, 7), newest_source=EARLIER - timedelta(seconds=1)),
            "an item was borrowed from a slate after newest_source",
        ),
        (pair("diversity", (0, NEW_ITEM)), "a similar item came into the catalogue later"),
    ],
)
def test_a_pair_that_breaks_a_rule_of_time_is_found(look, broken, rule):
    assert look(pair(pair=5), broken)[rule] == 1


@pytest.mark.parametrize(
    "wrong",
    [slate(end=START - timedelta(hours=1)), slate(end=START + timedelta(hours=12))],
    ids=["ends before it starts", "ends on the next day"],
)
def test_a_slate_of_an_impossible_time_is_found(look, wrong):
    rule = "the slate ends before it starts, or after the run's day"
    assert look(pair(newest_source=START - timedelta(hours=2)), slates=[wrong]) == {rule: 1}


def test_an_item_borrowed_from_a_later_slate_is_found(look):
    later = START + timedelta(hours=5)
    slates = [slate(), slate("later", (7, 8), start=later, end=later)]
    assert look(pair("interest", (7, 1)), slates=slates) == {
        "an item was borrowed from a slate after newest_source": 1
    }


def test_a_refusal_names_every_broken_rule_and_what_to_do():
    text = refusal({"first rule": 1200, "second rule": 0, "third rule": 1})
    assert "1,200 pairs: first rule" in text and "1 pairs: third rule" in text
    assert "second rule" not in text and "run build_slates again" in text
