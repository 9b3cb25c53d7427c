"""Contracts as Spark schemas, and frames held against them."""

import pytest
from pyspark.sql import functions as F

from feature_store.errors import ContractViolation
from feature_store.tables import CATALOG
from feature_store.tables.items import ITEMS
from pipelines.schema import conform, null, spark_schema, typed

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]


def test_every_contract_has_a_spark_schema_with_its_names_and_nulls():
    for contract in CATALOG.values():
        schema = spark_schema(contract)
        assert tuple(schema.names) == contract.column_names
        assert [field.nullable for field in schema] == [c.nullable for c in contract.columns]
    types = {field.name: field.dataType for field in spark_schema(ITEMS)}
    assert types["attributes"].simpleString() == "map<string,string>"
    assert not types["attributes"].valueContainsNull


def test_columns_are_put_in_order_and_all_differences_are_named_at_once(spark):
    shuffled = spark.createDataFrame([], spark_schema(ITEMS)).select(*ITEMS.column_names[::-1])
    assert conform(shuffled, ITEMS).columns == list(ITEMS.column_names)
    wrong = shuffled.drop("title").withColumn("item_index", F.lit(1)).withColumn("x", F.lit(1))
    with pytest.raises(ContractViolation) as refused:
        conform(wrong.withColumn("first_day", F.lit("1998-04-15")), ITEMS)
    assert refused.value.problems == (
        "column 'x' is not in the contract",
        "column 'first_day' has type string, expected date",
        "column 'title' is missing, expected string",
    )


def test_a_value_takes_the_type_and_name_of_its_column(spark):
    row = spark.range(1).select(typed(F.lit("7"), ITEMS, "item_index"), null(ITEMS, "text"))
    assert row.collect() == [(7, None)]
    assert row.dtypes == [("item_index", "int"), ("text", "string")]
