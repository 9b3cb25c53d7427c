"""Catalogues → items: an index that is dense and only ever appended to."""

from datetime import date

import pytest

from feature_store.tables.items import ITEMS
from pipelines.schema import conform, spark_schema
from pipelines.transforms.catalogue import extend_items, one_per_item, without_content

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]
FIRST, LATER = date(2024, 3, 10), date(2024, 3, 11)
SCHEMA = "item_id string, title string, text string, attributes map<string,string>"


def catalogue(spark, *rows):
    return spark.createDataFrame(rows, SCHEMA)


def test_new_items_follow_in_the_order_of_their_ids_and_old_ones_keep_their_place(spark):
    nothing = spark.createDataFrame([], spark_schema(ITEMS))
    rows = [("b", "B", "b", {}), ("c", "C", "c", {"kind": "x"}), ("a", "A", None, {})]
    for order in (rows, rows[::-1]):
        first = extend_items(nothing, catalogue(spark, *order), day=FIRST)
        found = conform(first, ITEMS).orderBy("item_index").collect()
        assert [(r.item_id, r.item_index, r.first_day) for r in found] == [
            ("a", 0, FIRST),
            ("b", 1, FIRST),
            ("c", 2, FIRST),
        ]
    changed = catalogue(spark, ("0", "zero", "z", {}), ("b", "B2", None, {"kind": "y"}))
    later = extend_items(spark.createDataFrame(found, spark_schema(ITEMS)), changed, day=LATER)
    assert [tuple(row) for row in later.orderBy("item_index").collect()] == [
        ("a", 0, FIRST, "A", None, {}),
        ("b", 1, FIRST, "B2", None, {"kind": "y"}),
        ("c", 2, FIRST, "C", "c", {"kind": "x"}),
        ("0", 3, LATER, "zero", "z", {}),
    ]


def test_an_item_listed_twice_is_one_item_whatever_the_order(spark):
    rows = [
        ("a", "short", "x", {}),
        ("a", "long", "xyz", {}),
        (" a", "long", "xyz", {"k": "v"}),
        ("", "no id", "x", {}),
        (None, "no id", "x", {}),
    ]
    for order in (rows, rows[::-1]):
        (row,) = one_per_item(catalogue(spark, *order)).collect()
        assert (row.item_id, row.title, row.attributes) == ("a", "long", {})


def test_items_known_by_their_id_alone_have_no_content(spark):
    ids = spark.createDataFrame([("a",), ("a",), ("b",)], "item_id string")
    rows = without_content(ids).orderBy("item_id").collect()
    assert [tuple(row) for row in rows] == [("a", None, None, {}), ("b", None, None, {})]
