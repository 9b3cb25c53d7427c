"""Slates → preference pairs: three kinds, how many of each, and why some are not made."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from math import nan

import pytest

from feature_store.tables.preference_pairs import PREFERENCE_PAIRS
from feature_store.tables.slates import SLATES
from pipelines.config import Preferences
from pipelines.schema import conform, spark_schema
from pipelines.transforms.preferences import (
    ALL_ENGAGED,
    ALL_IN_SLATE,
    FEW_ANCHORS,
    FEW_SIMILAR,
    NO_EMBEDDING,
    NONE_ENGAGED,
    ONE_CHOSEN,
    ONE_STRENGTH,
    REPEATED,
    SIMILAR_IN_SLATE,
    alike,
    anchors,
    counts,
    made,
    rearranged,
)

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

DAY = date(2024, 5, 7)
NOON = datetime(2024, 5, 7, 12, tzinfo=UTC)


def slate(name, strengths, *, items=None, user="u", day=DAY, hour=0, dwell=None, hours=1.0):
    """A row of `slates`; items count from 0 where none are given."""
    start = NOON + timedelta(days=(day - DAY).days, hours=hour)
    return (
        day, name, user, start, start + timedelta(hours=hours),
        list(range(len(strengths))) if items is None else items,
        strengths, dwell or [nan] * len(strengths), "day",
    )  # fmt: skip


@pytest.fixture
def attempts(spark):
    """Attempts at pairs of slates, as dictionaries, by slate, kind and pair."""

    def attempts(slates, *, similar=None, embedded=range(1000), partitions=3, **config):
        only = {} if similar is not None else {"diversity": 0}
        config = Preferences.model_validate({**only, **config})
        days = [row[0] for row in slates]
        rows = spark.createDataFrame(slates, spark_schema(SLATES)).repartition(partitions)
        found = rearranged(rows, config, days=(min(days), max(days)))
        if similar is not None:
            known = spark.createDataFrame([(item,) for item in embedded], "item_index int")
            neighbours = spark.createDataFrame(
                [(anchor, DAY, others) for anchor, others in similar.items()],
                "anchor int, day date, similar array<int>",
            )
            found = found.unionByName(alike(anchors(rows, known, config), neighbours))
        found = found.repartition(partitions).cache()
        conform(made(found), PREFERENCE_PAIRS)
        order = ["slate_id", "kind", "pair"]
        return [row.asDict() for row in found.orderBy(*order).collect()]

    return attempts


def only(attempts, kind):
    return [attempt for attempt in attempts if attempt["kind"] == kind]


def test_chosen_are_the_engaged_strongest_first_then_dwell(attempts):
    [ranking, *_] = attempts(
        [slate("s", [0, 1, 3, 2, 2, -1, 1, 2], dwell=[9.0, 5.0, 1.0, 4.0, 8.0, 9.0, nan, 3.0])],
        interest=0,
    )
    assert ranking["chosen"] == [2, 4, 3, 7, 1, 6]


def test_chosen_that_nothing_tells_apart_come_by_chance_and_always_the_same(attempts):
    slates = [slate(f"s{n}", [1, 2, 1, 1]) for n in range(60)]
    found, again = (attempts(slates, interest=0, pairs_per_context=1) for _ in range(2))
    assert [each["chosen"] for each in found] == [each["chosen"] for each in again]
    orders = Counter(tuple(each["chosen"]) for each in found)
    assert {order[0] for order in orders} == {1}
    assert len(orders) == 6 and max(orders.values()) < 25


def test_a_permutation_holds_the_same_items_in_another_order(attempts):
    found = attempts(
        [slate(f"s{n}", [2] + [1] * (1 + n % 6)) for n in range(60)],
        interest=0, pairs_per_context=1,
    )  # fmt: skip
    assert len(found) == 60
    for attempt in found:
        assert sorted(attempt["rejected"]) == sorted(attempt["chosen"])
        assert attempt["chosen"][0] == 0 != attempt["rejected"][0]
        assert attempt["reason"] is None
        assert attempt["newest_source"] == attempt["ended_at"]
    threes = Counter(tuple(each["rejected"]) for each in found if len(each["chosen"]) == 7)
    assert len(threes) > 5, "permutations come by chance"


def test_two_items_have_one_permutation_and_a_second_pair_says_so(attempts):
    first, second = attempts([slate("s", [2, 1])], interest=0, pairs_per_context=2)
    assert (first["rejected"], first["reason"]) == ([1, 0], None)
    assert second["reason"] == REPEATED


def test_an_order_among_equals_is_no_worse_than_another(attempts):
    equal, mixed = attempts(
        [slate("s", [2, 2, 2, -1]), slate("t", [2, 3, 2])],
        interest=0, pairs_per_context=1, positive_strength=2,
    )  # fmt: skip
    assert (equal["rejected"], equal["reason"]) == (None, ONE_STRENGTH)
    assert mixed["reason"] is None and mixed["rejected"].index(1) > 0


def test_left_items_take_the_place_of_half_of_the_chosen_disliked_ones_first(attempts):
    strengths = [1, 0, 2, -1, 1, 0, 1]
    [found] = attempts([slate("s", strengths)], ranking=0, pairs_per_context=1)
    assert found["chosen"][0] == 2 and sorted(found["chosen"]) == [0, 2, 4, 6]
    replaced = [new for old, new in zip(found["chosen"], found["rejected"], strict=True)
                if old != new]  # fmt: skip
    assert len(replaced) == 2 and 3 in replaced and set(replaced) <= {1, 3, 5}
    kept = [new for old, new in zip(found["chosen"], found["rejected"], strict=True) if old == new]
    assert len(kept) == 2
    assert found["source"] == "2 left in the slate, 0 in earlier ones"
    assert found["newest_source"] == found["ended_at"]


def test_what_a_slate_lacks_comes_from_the_users_earlier_slates_newest_first(attempts):
    earlier = [
        slate("a", [0, 0, 1], items=[20, 21, 22], hour=-9),
        slate("b", [0, 1, 0], items=[30, 31, 1], hour=-6),  # 1 is in s
        slate("c", [2, 0], items=[20, 32], hour=-3),  # 20 is engaged with here
        slate("other", [0, 0], items=[40, 41], hour=-2, user="v"),
        slate("after", [0, 0], items=[50, 51], hour=3),
        slate("not over yet", [0, 0], items=[60, 61], hour=-1, hours=2),
    ]
    found = attempts(
        [*earlier, slate("s", [1, 1, 1, 0, 1, 1], items=[0, 1, 2, 3, 4, 5])],
        ranking=0, pairs_per_context=1, replaced_share=0.8,
    )  # fmt: skip
    [found] = [each for each in found if each["slate_id"] == "s"]
    assert set(found["rejected"]) - set(found["chosen"]) == {3, 32, 30, 21}
    assert found["source"] == "1 left in the slate, 3 in earlier ones"


def test_the_newest_source_of_borrowed_items_is_the_slate_that_they_come_from(attempts):
    found = attempts(
        [
            slate("a", [0, 0], items=[20, 21], hour=-9),
            slate("b", [0, 0], items=[22, 21], hour=-6),
            slate("s", [1, 1], hour=0),
        ],
        ranking=0, pairs_per_context=1,
    )  # fmt: skip
    [found] = [each for each in found if each["slate_id"] == "s"]
    assert set(found["rejected"]) - {0, 1} == {22}
    assert found["newest_source"].replace(tzinfo=UTC) == NOON - timedelta(hours=5)
    assert found["newest_source"] <= found["started_at"] <= found["ended_at"]


def test_how_far_back_items_are_borrowed_is_set(attempts):
    old = slate("old", [0, 0], items=[20, 21], day=DAY - timedelta(days=3))
    between = [slate(f"b{n}", [1, 1], items=[30, 31], hour=-4 + n) for n in range(3)]
    here = slate("s", [1, 1])

    def of_s(slates, **config):
        [found] = [
            each
            for each in attempts(slates, ranking=0, pairs_per_context=1, **config)
            if each["slate_id"] == "s"
        ]
        return found["reason"]

    assert of_s([old, here], window_days=4) is None
    assert of_s([old, here], window_days=3) == ALL_ENGAGED
    assert of_s([old, *between, here], earlier_slates=4) is None
    assert of_s([old, *between, here], earlier_slates=3) == ALL_ENGAGED


def test_an_interest_pair_that_cannot_be_made_says_why(attempts):
    found = attempts(
        [
            slate("all", [1, 2], user="a"),
            slate("none", [0, -1], user="n"),
            slate("before", [0, 0], items=[0, 1], user="i", hour=-3),
            slate("inside", [1, 2], items=[0, 1], user="i"),
        ],
        ranking=0, pairs_per_context=1,
    )  # fmt: skip
    assert {each["slate_id"]: each["reason"] for each in found} == {
        "all": ALL_ENGAGED,
        "none": NONE_ENGAGED,
        "before": NONE_ENGAGED,
        "inside": ALL_IN_SLATE,
    }


def test_what_lies_between_chosen_and_rejected_is_neither(attempts):
    [found] = attempts(
        [slate("s", [1, 2, 3, -1, 0])],
        ranking=0, pairs_per_context=1, positive_strength=2, negative_strength=-1, replaced_share=1,
    )  # fmt: skip
    assert found["chosen"] == [2, 1]
    assert sorted(found["rejected"]) in ([1, 3], [2, 3])


def test_diversity_keeps_the_first_and_adds_what_is_most_similar_to_it(attempts):
    [found] = only(
        attempts(
            [slate("s", [2, 3, 0, 1])], similar={1: [7, 2, 9, 0, 8]},
            ranking=0, interest=0, pairs_per_context=1,
        ),
        "diversity",
    )  # fmt: skip
    assert (found["chosen"], found["rejected"]) == ([1, 0, 3], [1, 7, 9])
    assert found["source"] == "most similar to item 1"


def test_the_next_item_stands_in_for_an_anchor_without_an_embedding(attempts):
    first, second = attempts(
        [slate("s", [2, 3, 1])], similar={0: [7, 8], 2: [5, 6]}, embedded=[0, 2],
        ranking=0, interest=0, pairs_per_context=2,
    )  # fmt: skip
    assert first["chosen"] == [1, 0, 2]
    assert first["rejected"] == [0, 7, 8]
    assert first["source"] == ("most similar to item 0, which stands in for 1 without an embedding")
    assert second["rejected"] == [2, 5, 6]


def test_a_diversity_pair_that_cannot_be_made_says_why(attempts):
    found = attempts(
        [
            slate("few", [1, 1, 1], items=[0, 1, 2]),
            slate("inside", [2, 1, 0], items=[10, 11, 12]),
            slate("unknown", [1, 1], items=[500, 501]),
            slate("one", [1, 0], items=[10, 11]),
            slate("none", [0, 0], items=[10, 11]),
        ],
        similar={0: [7], 10: [12, 11]}, embedded=range(100),
        ranking=0, interest=0, pairs_per_context=1,
    )  # fmt: skip
    assert {each["slate_id"]: each["reason"] for each in found} == {
        "few": FEW_SIMILAR,
        "inside": SIMILAR_IN_SLATE,
        "unknown": NO_EMBEDDING,
        "one": ONE_CHOSEN,
        "none": NONE_ENGAGED,
    }
    assert {each["rejected"] is None for each in found} == {True}
    _, *more = attempts(
        [slate("s", [1, 1])], similar={0: [7], 1: [8]}, ranking=0, interest=0, pairs_per_context=3
    )
    assert [each["reason"] for each in more] == [None, FEW_ANCHORS]


def test_a_catalogue_of_three_items_gives_what_it_can(attempts):
    found = attempts([slate("s", [2, 1, 0])], similar={0: [1, 2], 1: [0, 2]}, embedded=range(3))
    reasons = {each["kind"]: each["reason"] for each in found}
    assert reasons == {"ranking": None, "interest": None, "diversity": SIMILAR_IN_SLATE}


def test_kinds_come_in_their_proportions_and_never_more_than_asked(attempts):
    slates = [slate(f"s{n}", [1, 1, 0], user=f"u{n}") for n in range(400)]
    found = attempts(
        slates, similar={0: [8]}, ranking=0.5, interest=0.2, diversity=0.3, pairs_per_context=2
    )
    by_slate = Counter(each["slate_id"] for each in found)
    assert set(by_slate.values()) == {2}
    kinds = Counter(each["kind"] for each in found)
    assert kinds["ranking"] == 400  # 2 · 0.5: exactly one each
    assert kinds["interest"] == pytest.approx(160, abs=30)
    assert kinds["diversity"] == 400 - kinds["interest"]


def test_pairs_depend_on_the_seed_and_on_nothing_else(attempts):
    slates = [
        slate(f"s{n}", [(n + k) % 5 - 1 for k in range(8)], user=f"u{n % 7}", hour=n * 0.1,
              items=[(n * 3 + k) % 50 for k in range(8)], hours=0.05)
        for n in range(50)
    ]  # fmt: skip
    options = {"similar": {item: [97, 98, 99, 96, 95] for item in range(50)},
               "pairs_per_context": 6}  # fmt: skip
    first = attempts(slates, partitions=1, **options)
    again = attempts(slates[::-1], partitions=7, **options)
    other = attempts(slates, seed=1, **options)
    assert [str(each) for each in first] == [str(each) for each in again]
    assert [str(each) for each in first] != [str(each) for each in other]
    made_pairs = [each for each in first if each["reason"] is None]
    assert len(made_pairs) > 200
    for each in made_pairs:
        assert len(each["rejected"]) == len(each["chosen"]) == len(set(each["rejected"]))
        assert each["rejected"] != each["chosen"]
    lists = Counter((e["slate_id"], e["kind"], tuple(e["rejected"])) for e in made_pairs)
    assert set(lists.values()) == {1}, "no pair comes twice"


def test_counts_say_what_was_made_and_what_not(spark, attempts):
    found = attempts(
        [slate("s", [2, 1, 0]), slate("n", [0, 0], user="v"), slate("t", [2, 1], items=[1, 0])],
        similar={0: [8]}, embedded=[0],
    )  # fmt: skip
    schema = "kind string, reason string, source string"
    rows = spark.createDataFrame([(e["kind"], e["reason"], e["source"]) for e in found], schema)
    counted = {name: n for name, n in rows.agg(*counts()).first().asDict().items() if n}
    assert counted == {
        "stood_in": 1,
        "ranking": 2,
        f"ranking: {NONE_ENGAGED}": 1,
        "interest": 1,
        f"interest: {NONE_ENGAGED}": 1,
        f"interest: {ALL_ENGAGED}": 1,
        "diversity": 2,
        f"diversity: {NONE_ENGAGED}": 1,
    }


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"positive_strength": 1, "negative_strength": 1}, "would be chosen and rejected"),
        ({"ranking": 0, "interest": 0, "diversity": 0}, "no pair could be made"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong, text):
    with pytest.raises(ValueError, match=text):
        Preferences.model_validate(wrong)
