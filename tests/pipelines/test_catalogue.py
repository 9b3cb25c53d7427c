"""Catalogues → items: an index that is dense and only ever appended to."""

from datetime import date

import pytest

from feature_store.tables.items import ITEMS
from pipelines.schema import conform, spark_schema
from pipelines.transforms.catalogue import (
    Listing,
    extend_items,
    listed,
    one_per_item,
    without_content,
)

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]
FIRST, LATER, LAST = date(2024, 3, 10), date(2024, 3, 11), date(2024, 3, 12)
SCHEMA = "item_id string, title string, text string, attributes map<string,string>"


def catalogue(spark, *rows, on=FIRST):
    return listed(spark.createDataFrame(rows, SCHEMA), on)


def extended(spark, items, rows, *, day, **listing):
    """Items after a day's catalogue, and the day each was last listed, by id."""
    how = Listing(newest=day, **listing)
    frame = catalogue(spark, *((item, item, None, {}) for item in rows), on=day)
    made = extend_items(items, frame, day=day, listing=how).orderBy("item_index").collect()
    rows = {row.item_id: (row.first_listed_day, row.last_listed_day) for row in made}
    assert [row.item_index for row in made] == list(range(len(made)))
    return spark.createDataFrame(made, spark_schema(ITEMS)), rows


def test_new_items_follow_in_the_order_of_their_ids_and_old_ones_keep_their_place(spark):
    nothing = spark.createDataFrame([], spark_schema(ITEMS))
    rows = [("b", "B", "b", {}), ("c", "C", "c", {"kind": "x"}), ("a", "A", None, {})]
    for order in (rows, rows[::-1]):
        first = extend_items(nothing, catalogue(spark, *order), day=FIRST, listing=None)
        found = conform(first, ITEMS).orderBy("item_index").collect()
        assert [(r.item_id, r.item_index, r.first_day) for r in found] == [
            ("a", 0, FIRST),
            ("b", 1, FIRST),
            ("c", 2, FIRST),
        ]
    changed = catalogue(spark, ("0", "zero", "z", {}), ("b", "B2", None, {"kind": "y"}))
    published = spark.createDataFrame(found, spark_schema(ITEMS))
    later = extend_items(published, changed, day=LATER, listing=None)
    content = later.drop("first_listed_day", "last_listed_day").orderBy("item_index")
    assert [tuple(row) for row in content.collect()] == [
        ("a", 0, FIRST, "A", None, {}),
        ("b", 1, FIRST, "B2", None, {"kind": "y"}),
        ("c", 2, FIRST, "C", "c", {"kind": "x"}),
        ("0", 3, LATER, "zero", "z", {}),
    ]


def test_an_item_listed_twice_is_one_item_whatever_the_order(spark):
    rows = [
        ("a", "short", "x", {}),
        ("a", "long", "xyz", {}),
        ("a", "long", "xyz", {"k": "v"}),
        (None, "no id", "x", {}),
    ]
    for order in (rows, rows[::-1]):
        (row,) = one_per_item(catalogue(spark, *order)).collect()
        assert (row.item_id, row.title, row.attributes) == ("a", "long", {})


def test_items_known_by_their_id_alone_have_no_content(spark):
    ids = spark.createDataFrame([("a",), ("a",), ("b",)], "item_id string")
    rows = without_content(ids).orderBy("item_id").collect()
    assert [tuple(row) for row in rows] == [
        ("a", None, None, {}, None),
        ("b", None, None, {}, None),
    ]


def test_an_item_is_withdrawn_by_the_newest_catalogue_and_comes_back_with_its_index(spark):
    nothing = spark.createDataFrame([], spark_schema(ITEMS))
    items, first = extended(spark, nothing, "abc", day=FIRST)
    assert first == dict.fromkeys("abc", (FIRST, None))
    items, second = extended(spark, items, "acd", day=LATER, previous=FIRST)
    assert second["b"] == (FIRST, FIRST)
    assert (second["a"], second["d"]) == ((FIRST, None), (LATER, None))
    same, third = extended(spark, items, "acd", day=LAST, previous=LATER)
    assert third == second, "it stays withdrawn since the same day"
    _, back = extended(spark, same, "abcd", day=LAST, previous=LATER)
    assert back["b"] == (FIRST, None)


def test_an_older_catalogue_withdraws_nothing_and_changes_nothing(spark):
    nothing = spark.createDataFrame([], spark_schema(ITEMS))
    items, newest = extended(spark, nothing, "ab", day=LATER)
    _, rows = extended(spark, items, "bc", day=FIRST, withdraws=False)
    assert rows == newest | {"b": (FIRST, None), "c": (FIRST, FIRST)}


def test_an_item_that_no_catalogue_ever_listed_is_not_withdrawn(spark):
    nothing = spark.createDataFrame([], spark_schema(ITEMS))
    delivered = without_content(spark.createDataFrame([("x",)], "item_id string"))
    both = catalogue(spark, ("a", "A", None, {})).unionByName(delivered)
    how = Listing(newest=FIRST)
    made = extend_items(nothing, both, day=FIRST, listing=how).collect()
    items = spark.createDataFrame(made, spark_schema(ITEMS))
    _, rows = extended(spark, items, "b", day=LATER, previous=FIRST)
    assert rows == {"a": (FIRST, FIRST), "x": (None, None), "b": (LATER, None)}


def test_of_several_catalogues_the_newest_says_what_an_item_is(spark):
    old = catalogue(spark, ("a", "old and long", "text", {}), ("b", "B", None, {}), on=FIRST)
    rows = one_per_item(old.unionByName(catalogue(spark, ("a", "new", None, {}), on=LATER)))
    nothing = spark.createDataFrame([], spark_schema(ITEMS))
    made = extend_items(nothing, rows, day=LATER, listing=Listing(newest=LATER)).collect()
    assert {row.item_id: (row.title, row.last_listed_day) for row in made} == {
        "a": ("new", None),
        "b": ("B", FIRST),
    }
