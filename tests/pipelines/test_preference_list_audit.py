"""The audit of lists: each rule is met by a row that breaks it, and by none that keeps it."""

from datetime import UTC, date, datetime, timedelta
from math import nan

import pytest

from feature_store.tables.preference_lists import PREFERENCE_LISTS
from feature_store.tables.sampled_beams import SAMPLED_BEAMS
from feature_store.tables.slates import SLATES
from pipelines.config import PreferenceLists
from pipelines.schema import spark_schema
from pipelines.transforms.preference_list_audit import audit, refusal
from tests.pipelines.test_tiers import items_at

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

DAY = date(2024, 5, 7)
START = datetime(2024, 5, 7, 12, tzinfo=UTC)
END = START + timedelta(hours=1)
NEW_ITEM, WITHDRAWN = 8, 9
"""The catalogue has the one since the day after, and had the other until the day before."""


def slate(*, start=START, end=END):
    return (DAY, "s", "u", start, end, [0, 1, 2, 3], [3, 1, 0, -1], [nan] * 4, "day")


def listed(items=(0, 1, 2, 7), tiers=(1, 2, 3, 4), **changes):
    row = {
        "day": DAY,
        "slate_id": "s",
        "user_id": "u",
        "context_until": START,
        "ended_at": END,
        "item_indices": list(items),
        "tiers": list(tiers),
    } | changes
    return tuple(row.values())


@pytest.fixture
def look(spark, tmp_path):
    """Rules that are broken, with how many lists break them."""

    def look(*lists, slates=None, config=None, beams=None):
        items = [
            (
                DAY + timedelta(days=1 if n == NEW_ITEM else -3),
                DAY - timedelta(days=1) if n == WITHDRAWN else None,
            )
            for n in range(10)
        ]
        found = audit(
            spark.createDataFrame(lists, spark_schema(PREFERENCE_LISTS)),
            spark.createDataFrame(slates or [slate()], spark_schema(SLATES)),
            items_at(tmp_path / "items.parquet", items),
            config or PreferenceLists(),
            day=DAY,
            beams=beams and spark.createDataFrame(beams, spark_schema(SAMPLED_BEAMS)),
        )
        return {rule: number for rule, number in found.items() if number}

    return look


def test_lists_that_hold_what_they_say_are_accepted(look):
    assert look(listed(), listed((1, 3), (2, 3)), listed((0, 6, 5), (1, 4, 4))) == {}
    assert look(listed((0, 1, 2), (1, 2))) == {}, "the table has a rule about lengths"
    assert refusal({"some rule": 0}) is None


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (listed(slate_id="nobody's"), "the slate isn't published"),
        (listed(user_id="v"), "the slate isn't published"),
        (
            listed(context_until=START + timedelta(seconds=1)),
            "the context goes on after the slate's start",
        ),
        (listed(ended_at=END - timedelta(seconds=1)), "the list doesn't end with its slate"),
        (listed((0, 6), (1, 3)), "an item of tiers 1 to 3 isn't in the slate"),
        (listed((0, 1), (1, 3)), "an item's strength is of another tier"),
        (listed((2, 7), (1, 4)), "an item's strength is of another tier"),
        (listed((0, 2), (1, 4)), "a pseudo-exposure is in the slate"),
        (
            listed((0, NEW_ITEM), (1, 4)),
            "a pseudo-exposure came into the catalogue later, or never",
        ),
        (listed((0, 10), (1, 4)), "a pseudo-exposure came into the catalogue later, or never"),
        (listed((0, WITHDRAWN, WITHDRAWN), (1, 4, 4)), "a pseudo-exposure had been withdrawn"),
    ],
)
def test_a_list_that_breaks_a_rule_is_found(look, broken, rule):
    assert look(listed((0, 1), (1, 2)), broken) == {rule: 1}


@pytest.mark.parametrize(
    "wrong",
    [slate(end=START - timedelta(hours=1)), slate(end=START + timedelta(hours=12))],
    ids=["ends before it starts", "ends on the next day"],
)
def test_a_slate_of_an_impossible_time_is_found(look, wrong):
    rule = "the slate ends before it starts, or after the run's day"
    assert look(listed(ended_at=wrong[4]), slates=[wrong]) == {rule: 1}


def test_a_beam_of_weights_that_may_know_of_the_slate_is_found(look):
    def beam(until, slate_id="s"):
        # What the beam says of its context is not believed.
        context = START + timedelta(days=1)
        return (DAY, slate_id, "u", context, [7], [-1.0], "tiger", "d", "g", until)

    assert look(listed(), beams=[beam(START), beam(END, "another")]) == {}
    found = look(listed(), beams=[beam(START + timedelta(microseconds=1))])
    assert found == {"the slate's beam is of weights that may know of it": 1}


def test_tiers_are_judged_as_the_preset_has_them(look):
    config = PreferenceLists(first_strength=3, second_strength=0)
    assert look(listed((0, 1, 2, 3), (1, 2, 2, 3)), config=config) == {}
    assert look(listed(), config=config) == {"an item's strength is of another tier": 1}


def test_a_refusal_names_every_broken_rule_and_what_to_do():
    text = refusal({"first rule": 1200, "second rule": 0, "third rule": 1})
    assert "1,200 lists: first rule" in text and "1 lists: third rule" in text
    assert "second rule" not in text and "run build_slates again" in text
