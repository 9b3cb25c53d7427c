"""Checks on Spark, on bad days: each rule finds exactly its rows, and the verdict says which."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from feature_store.checks.check import check as check_stage
from feature_store.checks.check import prepare
from feature_store.contract_rules import contract_rules
from feature_store.rules import RowRule, RuleInputs
from feature_store.tables import CATALOG
from feature_store.validation import Validation
from pipelines.validation.own_rules import own_conditions, own_rules
from pipelines.validation.spark_engine import SparkEngine, catalogue_size, trailing_days
from tests.suites.engines import spark_catalogue, spark_frame
from tests.suites.validation_rows import (
    DAY,
    DAY_BEFORE,
    DIRTY,
    NUM_ITEMS,
    embedding,
    event,
    item,
)

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]


def test_a_null_in_a_map_of_text_is_found_whatever_stands_beside_it(spark):
    signals = [{}, {"a": "x"}, {"a": "\0"}, {"a": "x", "b": None}, {"a": "\0", "b": None}]
    rows = spark.createDataFrame([(each,) for each in signals], "signals map<string, string>")
    [condition] = [
        rule.condition
        for rule in contract_rules(CATALOG["interactions"])
        if rule.name == "signals_has_no_null_inside"
    ]
    found = [row[0] for row in rows.selectExpr(condition).collect()]
    assert found == [True, True, True, False, False]


def check(spark, settings, table, rows, *, items=NUM_ITEMS, trailing=None, **config):
    frame = spark_frame(spark, table, rows)
    return check_frame(spark, settings, table, frame, items=items, trailing=trailing, **config)


def check_frame(
    spark, settings, table, frame, *, items=None, trailing=None, contract=None, **config
):
    """As the runner does it."""
    contract, limits = contract or CATALOG[table], Validation(**config)
    known = spark_catalogue(spark, items)
    published = None
    if trailing is not None:
        published = spark.createDataFrame(trailing, "day date, strength int, n long")
    conditions = own_conditions(contract, limits)
    engine = SparkEngine(spark, frame, known_items=known, conditions=conditions)
    inputs = RuleInputs(
        day=DAY,
        config=limits,
        trailing=trailing_days(published, before=DAY, limit=limits.trailing_days),
        num_items=catalogue_size(known),
    )
    return check_stage(
        engine,
        contract,
        inputs,
        preset="shop",
        data_docs=settings.data_docs_of("shop"),
        preset_rules=own_rules(contract, limits),
    )


def failures(result):
    return {rule.rule: rule.rows_failed for rule in result.rules if not rule.success}


def rule(result, name):
    [found] = [one for one in result.rules if one.rule == name]
    return found


@pytest.mark.parametrize("table", DIRTY)
def test_each_rule_finds_exactly_the_rows_that_break_it(spark, settings, table):
    rows, expected = DIRTY[table]
    result = check(spark, settings, table, rows)
    assert failures(result) == expected
    assert not result.success
    for name in expected:
        assert name in result.refusal()


def test_lost_items_and_missing_rows_are_seen(spark, settings):
    lost = check(spark, settings, "items", [item(0), item(1)])
    assert failures(lost) == {"no_item_is_lost": None}
    assert rule(lost, "no_item_is_lost").observed == "2"
    missing = check(spark, settings, "item_embeddings", [embedding(0), embedding(1)])
    assert failures(missing) == {"every_item_is_there": None}


def test_three_examples_show_the_key_and_what_is_wrong(spark, settings):
    rows = [event(f"u{n}", strength=n) for n in range(3, 9)]
    found = rule(check(spark, settings, "interactions", rows), "strength_is_allowed")
    assert found.rows_failed == 5
    assert found.observed == "5 of 6 rows"
    assert len(found.examples) == 3
    assert found.examples[0] == (
        "user_id=u4, item_id=i1, event_time=2024-05-07T12:00:00, request_id=null, position=null, "
        "strength=4"
    )


def test_repeated_keys_are_shown_with_how_often_they_occur(spark, settings):
    rows = [event("again")] * 3 + [event("once")]
    found = rule(check(spark, settings, "interactions", rows), "key_is_unique")
    assert found.rows_failed == 2
    [example] = found.examples
    assert example.startswith("user_id=again")
    assert example.endswith("rows=3")


def history(days, *, each):
    """`each` rows of every strength on each of the days before DAY."""
    return [(date(2024, 5, 7 - n), s, each) for n in range(1, days + 1) for s in (1, 2, 3)]


def events(count):
    """A day whose strengths 1, 2 and 3 are equally frequent."""
    return [event(f"u{n}", strength=1 + n % 3) for n in range(count)]


def test_a_day_with_a_tenth_of_the_usual_rows_is_refused(spark, settings):
    result = check(spark, settings, "interactions", events(30), trailing=history(5, each=100))
    assert failures(result) == {"rows_against_trailing_days": None}
    found = rule(result, "rows_against_trailing_days")
    assert (found.observed, found.expected) == ("30", "90 to 1,500")
    assert found.examples[-1] == "2024-05-06: 300 rows"
    assert "30, expected 90 to 1,500" in result.refusal()


def test_with_two_days_of_history_a_small_day_is_reported_and_published(spark, settings):
    result = check(spark, settings, "interactions", events(30), trailing=history(2, each=100))
    assert failures(result) == {"rows_against_trailing_days": None}
    assert result.success
    assert result.refusal() is None


def test_a_day_whose_strengths_are_mixed_otherwise_is_refused(spark, settings):
    rows = [event(f"u{n}", strength=3) for n in range(30)]
    result = check(spark, settings, "interactions", rows, trailing=history(3, each=10))
    assert failures(result) == {"strength_mix_against_trailing_days": None}
    # All of strength 3 against a third each: 1/3 + 1/3 + 2/3.
    mix = rule(result, "strength_mix_against_trailing_days")
    assert mix.observed == "1.333"
    assert mix.examples[0] == "33.3% of strength 3; on this day 100.0%"
    # As many as are shown, the greatest difference first.
    assert mix.examples[1:] == (
        "33.3% of strength 2; on this day 0.0%",
        "33.3% of strength 1; on this day 0.0%",
    )
    assert "    compared with 33.3% of strength 3; on this day 100.0%" in result.refusal()


def test_days_after_the_runs_are_not_history(spark, settings):
    trailing = [(date(2024, 5, 7 + n), 1, 10_000) for n in range(5)]
    result = check(spark, settings, "interactions", events(3), trailing=trailing)
    assert failures(result) == {}


def test_an_empty_day_is_refused_unless_the_preset_allows_it(spark, settings):
    usual = history(4, each=10)
    refused = check(spark, settings, "interactions", [], trailing=usual)
    assert "day_has_rows" in refused.refusal()
    allowed = check(spark, settings, "interactions", [], trailing=usual, allow_empty_day=True)
    assert allowed.success


def test_late_rows_of_another_day_don_t_make_the_day_full(spark, settings):
    late = [event("late", day=DAY_BEFORE, event_time=datetime(2024, 5, 6, 9, tzinfo=UTC))]
    assert "day_has_rows" in failures(check(spark, settings, "interactions", late))


def test_another_schema_is_the_only_finding(spark, settings):
    whole = spark_frame(spark, "interactions", events(3))
    staged = whole.drop("strength").withColumnRenamed("day", "d")
    rules = [{"name": "mine", "table": "interactions", "condition": "strength > 0"}]
    result = check_frame(spark, settings, "interactions", staged, rules=rules)
    assert failures(result) == {"columns_match_the_contract": None}
    assert "day is missing; strength is missing; d is not in the contract" in result.refusal()


def test_a_rule_that_can_t_be_evaluated_is_no_verdict(spark, settings):
    broken = RowRule(name="broken", description="", condition="no_such_column > 1")
    contract = replace(CATALOG["interactions"], rules=lambda _: (broken,))
    frame = spark_frame(spark, "interactions", events(3))
    with pytest.raises(RuntimeError, match=r"'broken' of interactions could not be evaluated"):
        check_frame(spark, settings, "interactions", frame, contract=contract)


def queries(spark):
    """The numbers of the queries that read rows; the store forgets all but the last fifty."""
    executions = spark._jsparkSession.sharedState().statusStore().executionsList()
    listed = [executions.apply(n) for n in range(executions.size())]
    return {each.executionId() for each in listed if each.jobs().size()}


def test_a_good_table_is_read_by_one_query_for_its_rows_and_one_for_its_key(spark, settings):
    before = queries(spark)
    result = check(spark, settings, "interactions", events(30), items=None)
    assert failures(result) == {}
    assert len(result.rules) > 20
    assert len(queries(spark) - before) == 2


def test_preparing_imports_great_expectations_in_the_background():
    thread = prepare()
    thread.join(timeout=60)
    assert not thread.is_alive()
