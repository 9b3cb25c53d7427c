"""Spark and DuckDB give every rule of every table the same verdict, counts and examples."""

import math
import re
from dataclasses import asdict
from datetime import date

import pytest

from feature_store.checks.check import check
from feature_store.checks.interface import STAGED
from feature_store.rules import RuleInputs, Trailing
from feature_store.tables import CATALOG
from feature_store.validation import Validation
from pipelines.validation.own_rules import own_conditions, own_rules
from pipelines.validation.spark_engine import SparkEngine
from tests.suites.engines import duckdb_engine, spark_catalogue, spark_frame
from tests.suites.validation_rows import DAY, DIRTY, GOOD, NUM_ITEMS, event, shown
from training.checks.dialect import MACROS
from training.checks.preset_rules import FUNCTIONS, preset_rules

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]
HISTORY = Trailing(rows={date(2024, 5, d): 100 for d in (3, 4, 5, 6)}, mix={1: 1 / 3, 2: 2 / 3})


@pytest.fixture
def both(spark, tmp_path):
    """Checks rows of a table on Spark and on DuckDB; gives both results, rule by rule."""

    def run(table, rows, *, num_items=NUM_ITEMS, trailing=None, **config):
        contract = CATALOG[table]
        inputs = RuleInputs(
            day=DAY,
            config=Validation(**config),
            trailing=trailing or Trailing(),
            num_items=num_items,
        )
        on_spark = SparkEngine(
            spark,
            spark_frame(spark, table, rows),
            known_items=spark_catalogue(spark, num_items),
        )
        with duckdb_engine(tmp_path / "staged", table, rows, num_items=num_items) as on_duckdb:
            results = [
                check(engine, contract, inputs, preset="shop", data_docs=tmp_path / name)
                for name, engine in (("spark", on_spark), ("duckdb", on_duckdb))
            ]
        return [{rule.rule: asdict(rule) for rule in result.rules} for result in results]

    return run


def failures(rules):
    return {name: rule["rows_failed"] for name, rule in rules.items() if not rule["success"]}


@pytest.mark.parametrize("table", CATALOG)
def test_rows_that_keep_every_rule_pass_on_both(both, table):
    on_spark, on_duckdb = both(table, GOOD[table])
    assert on_duckdb == on_spark
    assert failures(on_duckdb) == {}


@pytest.mark.parametrize("table", DIRTY)
def test_rows_that_break_rules_are_counted_and_shown_alike(both, table):
    on_spark, on_duckdb = both(table, DIRTY[table][0])
    assert on_duckdb == on_spark
    assert failures(on_duckdb) == DIRTY[table][1]


@pytest.mark.parametrize("table", CATALOG)
def test_a_table_without_rows_is_judged_alike(both, table):
    on_spark, on_duckdb = both(table, [])
    assert on_duckdb == on_spark


@pytest.mark.parametrize("table", CATALOG)
def test_every_rule_of_a_table_is_broken_by_one_of_our_rows_or_by_a_null(both, table):
    """A row of nulls: conditions are null, and presence is what breaks."""
    columns = CATALOG[table].columns
    on_spark, on_duckdb = both(table, [*GOOD[table], {c.name: None for c in columns}])
    assert on_duckdb == on_spark
    required = {f"{c.name}_is_present" for c in columns if not c.nullable}
    assert required <= set(failures(on_duckdb))


def test_volume_and_mix_are_compared_with_history_alike(both):
    rows = [event(f"u{n}", strength=3 - n % 2) for n in range(7)]
    on_spark, on_duckdb = both("interactions", rows, trailing=HISTORY)
    assert on_duckdb == on_spark
    assert failures(on_duckdb) == {
        "rows_against_trailing_days": None,
        "strength_mix_against_trailing_days": None,
    }
    mix = on_duckdb["strength_mix_against_trailing_days"]
    assert mix["examples"][0] == "0.0% of strength 3; on this day 57.1%"
    empty = both("interactions", [], trailing=HISTORY, allow_empty_day=True)
    assert empty[0] == empty[1]


SPARK_FUNCTIONS = {
    "array_contains": [
        "array_contains(item_indices, 1)",
        "array_contains(strengths, 7)",
        "array_contains(dwell_seconds, CAST('NaN' AS float))",
    ],
    "array_distinct": ["size(array_distinct(item_indices))", "size(array_distinct(dwell_seconds))"],
    "array_max": ["array_max(strengths)", "array_max(dwell_seconds)"],
    "array_min": ["array_min(strengths)", "array_min(dwell_seconds)"],
    "array_sort": ["array_sort(item_indices)", "array_sort(dwell_seconds)"],
    "arrays_zip": [
        "size(arrays_zip(item_indices, strengths))",
        "arrays_zip(item_indices, strengths) = arrays_zip(item_indices, item_indices)",
    ],
    "count_if": ["count_if(size(item_indices) > 1)", "count_if(dwell_seconds IS NULL)"],
    "size": ["size(item_indices)"],
    "sort_array": [
        "sort_array(item_indices)",
        "sort_array(dwell_seconds, true)",
        "sort_array(dwell_seconds, false)",
        "dwell_seconds = sort_array(dwell_seconds, false)",
    ],
    "try_element_at": ["try_element_at(item_indices, 2)", "try_element_at(dwell_seconds, 1)"],
    "vector_norm": ["vector_norm(dwell_seconds)"],
}
"""Of every macro, expressions over lists of two types."""
LISTS = (
    ([3, 1, 3], [1, 2, 1], [1.5, 0.25, -1.0]),
    ([1, 1], [None, 7], [math.nan, 2.0]),
    ([None, 1, None, 3], [7, None, 7, None], [None, math.nan, math.inf, None]),
    ([], [], []),
    ([1], [1, 2], [-0.5]),
    (None, None, None),
)
"""Of a slate, by `LIST_COLUMNS`."""
LIST_COLUMNS = ("item_indices", "strengths", "dwell_seconds")


def test_every_macro_is_compared():
    assert {macro.partition("(")[0] for macro in MACROS} == set(SPARK_FUNCTIONS)


@pytest.mark.parametrize("function", SPARK_FUNCTIONS)
def test_a_macro_means_what_sparks_function_means(spark, tmp_path, function):
    rows = [
        shown(f"s{n}", **dict(zip(LIST_COLUMNS, lists, strict=True)))
        for n, lists in enumerate(LISTS)
    ]
    on_spark = SparkEngine(spark, spark_frame(spark, "slates", rows))
    with duckdb_engine(tmp_path, "slates", rows) as on_duckdb:
        for expression in SPARK_FUNCTIONS[function]:
            each = f"SELECT slate_id, {expression} AS value FROM {STAGED} GROUP BY"
            sql = f"{each} slate_id, {', '.join(LIST_COLUMNS)} ORDER BY slate_id"
            assert repr(on_duckdb.query(sql)) == repr(on_spark.query(sql)), expression


CONDITIONS = (
    "abs(size(item_ids) - 1) < 1",
    "array_contains(item_ids, 'i0') OR generation IS NULL",
    "array_max(scores) < 0.5 OR array_min(scores) >= 0.1",
    "array_sort(item_ids) = item_ids",
    "coalesce(generation, 'none') IN ('none', 'g''1')",
    "greatest(size(item_ids), size(scores)) = least(size(item_ids), size(scores))",
    "if(model_family = 'tiger', size(scores) >= 2, NULL)",
    "length(user_id) BETWEEN 4 AND 8 AND day = DATE'2024-05-07'",
    "lower(user_id) <> upper(user_id) AND nullif(model_version, '1') IS NULL",
    "CASE WHEN size(item_ids) > 1 THEN sort_array(scores, false) = scores ELSE TRUE END",
    "size(arrays_zip(item_ids, scores)) IS DISTINCT FROM 2 OR array_min(item_indices) > -1",
)
"""Rules that a preset may have about recommendations: every function that they may call."""


def test_rules_of_a_preset_mean_the_same_in_both(spark, tmp_path):
    called = {name for each in CONDITIONS for name in re.findall(r"(\w+)\(", each)} - {"IN"}
    assert called == set(FUNCTIONS)
    rules = [
        {"name": f"n{place}", "table": "recommendations", "condition": condition}
        for place, condition in enumerate(CONDITIONS)
    ]
    config = Validation.model_validate({"rules": rules})
    contract = CATALOG["recommendations"]
    rows = [*GOOD["recommendations"], *DIRTY["recommendations"][0]]
    rows += [{**rows[0], "user_id": f"n{n}", name: None} for n, name in enumerate(rows[0])]
    conditions = own_conditions(contract, config)
    on_spark = SparkEngine(
        spark, spark_frame(spark, "recommendations", rows), conditions=conditions
    )
    with duckdb_engine(tmp_path, "recommendations", rows) as on_duckdb:
        for place, (ours, theirs) in enumerate(
            zip(preset_rules(contract, config), own_rules(contract, config), strict=True)
        ):
            found = [
                engine.query(f"SELECT count_if(NOT ({rule.condition})) AS n FROM {STAGED}")
                for engine, rule in ((on_duckdb, ours), (on_spark, theirs))
            ]
            assert found[0] == found[1], CONDITIONS[place]
