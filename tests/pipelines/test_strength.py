"""The preset's rules: which wins, which fails on a row, which are refused before one is read."""

import pytest
from pyspark.sql import functions as F

from feature_store.preset import PresetError
from pipelines.config import StrengthRule
from pipelines.transforms.row_functions import ROW_FUNCTIONS
from pipelines.transforms.strength import (
    NO_RULE,
    check_rules,
    failure,
    outcome_of,
    rule_columns,
    strength_of,
)

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

TEXT = "action string, seconds string, watched string, length string, liked string, ts string"
TYPED = (
    "action string, seconds double, plays int, liked boolean, at timestamp, tags array<string>, "
    "context struct<device: string, ms: string>"
)


def rules(*pairs):
    return tuple(StrengthRule(strength=strength, when=when) for strength, when in pairs)


def check(spark, schema, *conditions):
    return check_rules(
        rules(*((1, each) for each in conditions)), spark.createDataFrame([], schema)
    )


def outcomes(rows, *pairs):
    outcome = outcome_of(rules(*pairs), guard=F.col("a") > -(10**6))
    found = rows.select("a", outcome.alias("o"), strength_of(outcome).alias("s"))
    return [(row.o, row.s) for row in found.orderBy("a").collect()]


def test_the_first_rule_that_holds_wins_and_a_row_that_meets_none_has_no_strength(spark):
    rows = spark.createDataFrame([(1, 5.0), (2, 4.0), (3, None)], "a int, rating double")
    found = outcomes(rows, (-1, "rating < 1"), (3, "rating >= 4.5"), (2, "rating >= 3"))
    assert found == [(3, 3), (2, 2), (NO_RULE, None)]


FAILURES = {
    "a division": "a / b > 1",
    "a remainder": "a % b = 0",
    "a division asked twice": "a / b + a / b > 1 AND a / b < 9",
    "a cast": "CAST(word AS INT) > 1",
    "an index out of range": "element_at(array(1, 2), a + a) > 9",
    "an overflow": "CAST(a + 2147483646 AS INT) + a > 0",
    "an error of the preset's own": "assert_true(b > 0) IS NULL",
    "a date": "to_date(word) > DATE'2024-01-01'",
    "a constant": "1 / 0 > 1",
}


@pytest.mark.parametrize("codegen", ["true", "false"])
@pytest.mark.parametrize("what", FAILURES)
def test_a_rule_that_fails_on_a_row_is_that_rows_outcome_alone(spark, what, codegen):
    rows = spark.createDataFrame([(1, 1, "2024-03-10"), (2, 0, "x")], "a int, b int, word string")
    spark.conf.set("spark.sql.codegen.wholeStage", codegen)
    try:
        first, second = outcomes(rows, (2, "a = 9"), (1, FAILURES[what]), (0, "TRUE"))
        earlier = outcomes(rows, (3, "b = 0"), (1, FAILURES[what]), (0, "TRUE"))
    finally:
        spark.conf.unset("spark.sql.codegen.wholeStage")
    assert second == (failure(2), None)
    every_row_fails = what in ("a constant", "a cast", "an overflow")
    assert (first[0] == failure(2)) == every_row_fails
    # A rule that an earlier one leaves unasked refuses nothing.
    assert earlier[1] == (3, 3)


def test_text_is_read_as_the_rules_compare_it(spark):
    assert check(
        spark, TEXT, "action = 'purchase'", "Action = 'cart' OR seconds >= 30", "NOT liked", "TRUE"
    ) == {"action": "text", "seconds": "number", "liked": "truth"}
    numbers = {"watched": "number", "length": "number"}
    assert check(spark, TEXT, "watched / length >= 0.5") == numbers
    # Not by letters: '9' would be more than '10'.
    assert check(spark, TEXT, "watched > length") == numbers
    assert check(spark, TEXT, "watched = length") == {"watched": "text", "length": "text"}
    assert check(spark, TEXT, "watched = length", "length > 3") == numbers
    assert check(spark, TEXT, "CAST(seconds AS DOUBLE) > 3 AND seconds <> 'x'") == {
        "seconds": "text"
    }
    assert check(spark, TEXT, "liked IS NULL", "seconds IN (1, 2)", "action LIKE 'p%'") == {
        "liked": "text",
        "seconds": "number",
        "action": "text",
    }


def test_a_typed_column_is_seen_as_it_is_and_1_and_0_do_for_true_and_false(spark):
    assert check(spark, TYPED, "liked", "seconds >= 30", "at > '2024-03-10'") == {
        "liked": "truth",
        "seconds": "number",
        "at": "as it is",
    }
    assert check(spark, TYPED, "liked = 1", "plays = TRUE") == {"liked": "number", "plays": "truth"}
    assert check(spark, TYPED, "context.device = 'tv'", "exists(tags, tag -> tag = action)") == {
        "context": "as it is",
        "tags": "as it is",
        "action": "text",
    }


def test_a_column_that_rules_use_in_two_ways_is_refused_with_both_rules(spark):
    with pytest.raises(PresetError) as refused:
        check(spark, TEXT, "seconds >= 30", "TRUE", "seconds = 'many'")
    assert "rule 1 uses 'seconds' as a number, and rule 3 as text; a column has one reading" in str(
        refused.value
    )
    with pytest.raises(PresetError, match="rule 1 uses 'liked' as true or false, and rule 2 as a"):
        check(spark, TEXT, "liked", "liked = 1")
    with pytest.raises(PresetError, match="the rules use 'length' in more than one way, in rule 1"):
        check(spark, TEXT, "watched = length", "length > 3", "watched = 'x'")


def test_every_rule_that_cannot_be_evaluated_is_named_with_its_place(spark):
    with pytest.raises(PresetError) as refused:
        check(
            spark,
            TYPED,
            "secnds >= 4.5",
            "seconds >=",
            "action || 'x'",
            "seconds = 'many'",
            "liked = 'yes'",
            "context.ms > 3",
            "_row.line = 1",
            "TRUE",
        )
    found = str(refused.value)
    for expected in (
        "source.strength.0 ('secnds >= 4.5'): no raw column 'secnds' (did you mean 'seconds'?)",
        "there are 'action', 'seconds', 'plays', 'liked', 'at', 'tags', 'context'",
        "source.strength.1 ('seconds >='): not Spark SQL",
        "it is a value and no condition; compare it with something; 'action' holds text",
        "it compares text with a number or a truth: write a number without quotes, or CAST what "
        "is text; 'seconds' holds floats",
        "'liked' holds booleans",
        "'context' holds structs",
        "no raw column '_row'",
    ):
        assert expected in found
    assert "source.strength.7" not in found


FOREIGN = {
    "rand() < 0.5": "it uses rand, and a rule is a function of the row's columns alone",
    "uuid() = action": "it uses uuid",
    "ts > current_date()": "it uses current_date",
    "ts > current_date": "it uses current_date",
    "ts > localtimestamp": "it uses localtimestamp",
    "unix_timestamp() > 3": "it uses current_timestamp",
    "convert_timezone('Europe/Berlin', to_timestamp_ntz(ts)) > '2024-01-01'": "current_timezone",
    "current_user = action": "it uses current_user",
    "monotonically_increasing_id() = 1": "it uses monotonically_increasing_id",
    "spark_partition_id() = 1": "it uses spark_partition_id",
    "input_file_name() = 'x'": "it uses input_file_name",
    "java_method('java.util.UUID', 'randomUUID') = 'x'": "it uses java_method",
    "reflect('java.lang.System', 'nanoTime') = 'x'": "it uses reflect",
    "action IN (SELECT 1)": "it uses a subquery",
    "EXISTS (SELECT 1)": "it uses a subquery",
    "(SELECT 1) = 1": "it uses a subquery",
    "sum(seconds) > 3": "it uses sum",
    "first(action) = 'x'": "WHERE condition",
    "row_number() OVER (ORDER BY ts) = 1": "it uses a window",
    "explode(array(1)) = 1": "it uses explode",
    "shop.scored(action) = 1": "it uses shop.scored",
    "session.threshold = 1": "no raw column 'session'",
    "struct(*) IS NULL": r"it uses \*; name the columns",
    "ts > DATE'today'": "it reads 'today' as a date, which the clock would complete",
    "ts > TIMESTAMP'12:30'": "it reads '12:30' as a date",
    "to_date(ts) > 'yesterday'": "it reads 'yesterday' as a date",
    "to_date(ts) > concat('n', 'ow')": "it reads 'now' as a date",
    "hour(ts) > 20": "it reads text as a timestamp, and Spark completes a time without a date from "
    r"the clock; write to_timestamp_ntz\(ts\)",
}


@pytest.mark.parametrize("condition", FOREIGN)
def test_a_rule_that_is_no_function_of_the_row_is_refused_by_name(spark, condition):
    with pytest.raises(PresetError, match=FOREIGN[condition]):
        check(spark, TEXT, condition)


def test_what_only_the_analysis_finds_is_named_with_what_the_text_shows(spark):
    rules = [StrengthRule(strength=2, when=when) for when in ("rand() < x", "prise > 1", "x +")]
    clock = StrengthRule(strength=1, when="x = 1 AND DATE'2024-01-01' = current_date")
    rows = spark.createDataFrame([], "x double")
    with pytest.raises(PresetError) as said:
        check_rules([*rules, clock], rows)
    assert [f"source.strength.{place} " in str(said.value) for place in range(4)] == [True] * 4


def test_every_function_of_spark_is_allowed_on_purpose_or_refused(spark):
    registered = {row.function for row in spark.sql("SHOW FUNCTIONS").collect()}
    assert registered > ROW_FUNCTIONS - {"not"}
    called = sorted(name for name in registered - ROW_FUNCTIONS if name.isidentifier())
    assert len(called) > 200
    with pytest.raises(PresetError) as refused:
        check(spark, TEXT, *(f"{name}(action) = 1" for name in called))
    lines = str(refused.value).splitlines()[1:]
    # The parser turns a few aggregates and SQL's own words into nodes of their own.
    unnamed = [
        name for name, line in zip(called, lines, strict=True) if f"it uses {name}," not in line
    ]
    assert set(unnamed) <= {"any_value", "first", "last"}


def test_what_is_allowed_gives_the_same_twice_and_no_aggregate_window_or_generator(spark):
    registry = spark._jvm.org.apache.spark.sql.catalyst.analysis.FunctionRegistry
    infos = registry.expressions()
    groups = {
        name: infos.apply(name)._1().getGroup() for name in ROW_FUNCTIONS if infos.contains(name)
    }
    assert len(groups) > len(ROW_FUNCTIONS) - 5
    assert not set(groups.values()) & {
        "agg_funcs",
        "generator_funcs",
        "window_funcs",
        "table_funcs",
        "sketch_funcs",
    }


def test_the_columns_of_each_rule_are_named_as_the_files_spell_them(spark):
    columns = ["Action", "seconds", "a.b", "ctx", "scores", "unused"]
    wanted = rules(
        (3, "action = 'purchase' AND SECONDS >= 30"),
        (2, "`a.b` = 1 OR ctx.device = 'tv'"),
        (1, "exists(scores, score -> score > seconds)"),
        (1, "ratng >= 4"),
        (1, "seconds >="),
        (0, "TRUE"),
    )
    assert rule_columns(wanted, columns) == {
        1: ("Action", "seconds"),
        2: ("a.b", "ctx"),
        3: ("seconds", "scores"),
        4: (),
        5: (),
        6: (),
    }
