"""What contracts and tables say, as rules: names, conditions and words; no engine is started."""

import json
import re
from datetime import date
from pathlib import Path

import pytest

from feature_store.checks.check import table_rules
from feature_store.checks.interface import CheckResult, RuleResult, check_facts
from feature_store.contract import Column, Contract
from feature_store.contract_rules import column_differences, contract_rules
from feature_store.rules import KeyRule, RowRule, RuleInputs, TableRule, Trailing
from feature_store.tables import CATALOG
from feature_store.validation import Validation

DAY = date(2024, 5, 7)
INPUTS = RuleInputs(day=DAY, config=Validation())
HISTORY = Trailing(rows={date(2024, 5, 6): 100}, mix={1: 1 / 3, 2: 2 / 3})


def conditions(*columns, key=("id",)):
    identity = Column(name="id", type="string", meaning="id")
    contract = Contract(
        name="things",
        grain="one thing",
        key=key,
        columns=(identity, *columns),
    )
    rules = contract_rules(contract)
    return {rule.name: rule.condition for rule in rules if isinstance(rule, RowRule)}


def test_a_closed_set_stands_for_its_range():
    found = conditions(
        Column(name="grade", type="int", meaning="g", minimum=-1, maximum=3, allowed=(-1, 3))
    )
    assert found["grade_is_allowed"] == "grade IN (-1, 3)"
    assert "grade_is_in_range" not in found


def test_text_in_a_closed_set_is_quoted_as_every_engine_reads_it():
    found = conditions(Column(name="kind", type="string", meaning="k", allowed=("it's", "b")))
    assert found["kind_is_allowed"] == "kind IN ('it''s', 'b')"


def test_a_list_is_judged_by_its_lowest_and_highest_element():
    found = conditions(Column(name="marks", type="list<int>", meaning="m", minimum=-1, maximum=3))
    assert found["marks_is_in_range"] == "array_min(marks) >= -1 AND array_max(marks) <= 3"
    assert found["marks_has_no_null_inside"] == "array_contains(marks, -2) IS NOT NULL"


def test_nan_may_stand_for_a_number_that_is_not_known_and_infinity_for_none():
    [in_list, alone] = [
        conditions(Column(name="dwell", type=kind, meaning="d", may_be_nan=True))
        for kind in ("list<float>", "float")
    ]
    assert in_list["dwell_is_finite"] == (
        "array_min(dwell) > -CAST('infinity' AS double) "
        "AND NOT array_contains(dwell, CAST('infinity' AS float))"
    )
    assert in_list["dwell_has_no_null_inside"] == (
        "array_contains(dwell, CAST('-infinity' AS float)) IS NOT NULL"
    )
    assert alone["dwell_is_finite"] == (
        "dwell > -CAST('infinity' AS double) AND dwell <> CAST('infinity' AS float)"
    )


def test_a_nullable_column_may_be_null_and_a_key_is_never_empty_text():
    found = conditions(Column(name="note", type="string", meaning="n", nullable=True))
    assert set(found) == {"id_is_present", "id_is_not_empty"}


def test_the_key_is_one_rule_over_all_its_columns():
    [key] = [r for r in contract_rules(CATALOG["interactions"]) if isinstance(r, KeyRule)]
    assert key.columns == ("user_id", "item_id", "event_time", "request_id", "position")


@pytest.mark.parametrize("table", CATALOG)
def test_rule_names_of_a_table_are_unique_and_their_columns_exist(table):
    inputs = RuleInputs(day=DAY, config=Validation(), num_items=5)
    rules = table_rules(CATALOG[table], inputs)
    names = [rule.name for rule in rules]
    assert len(set(names)) == len(names)
    assert {rule.column for rule in rules} <= {None, *CATALOG[table].column_names}


def test_without_a_catalogue_no_rule_looks_at_it():
    for table in CATALOG:
        texts = [
            rule.condition if isinstance(rule, RowRule) else getattr(rule, "expression", "")
            for rule in CATALOG[table].rules(INPUTS)
        ]
        assert not any("_known_item_index" in text for text in texts)


@pytest.mark.parametrize("table", CATALOG)
def test_rules_are_written_as_every_engine_reads_them(table):
    inputs = RuleInputs(day=DAY, config=Validation(), num_items=5, trailing=HISTORY)
    for rule in table_rules(CATALOG[table], inputs):
        for text in (getattr(rule, "condition", ""), getattr(rule, "expression", "")):
            assert not re.search(r"->|\\|\d[DLF]\b", text), rule.name


def test_items_may_share_their_codes_only_under_the_bucket_policy():
    shared = RuleInputs(day=DAY, config=Validation(), codes_are_unique=False)
    names = [rule.name for rule in CATALOG["semantic_ids"].rules(shared)]
    assert "codes_are_unique" not in names
    assert "codes_are_unique" in [rule.name for rule in CATALOG["semantic_ids"].rules(INPUTS)]


@pytest.mark.parametrize(("days", "severity"), [(0, "report"), (2, "report"), (3, "refuse")])
def test_volume_and_drift_refuse_only_once_there_is_enough_history(days, severity):
    trailing = Trailing(rows={date(2024, 5, d + 1): 10 for d in range(days)}, mix={1: 1.0})
    inputs = RuleInputs(day=DAY, config=Validation(), trailing=trailing)
    rules = CATALOG["interactions"].rules(inputs)
    by_name = {rule.name: rule.severity for rule in rules}
    assert by_name["rows_against_trailing_days"] == severity
    assert by_name["strength_mix_against_trailing_days"] == severity
    assert by_name["day_has_rows"] == "refuse"


def test_the_bounds_of_the_volume_are_factors_of_the_median_day():
    rows = {date(2024, 5, 3): 100, date(2024, 5, 4): 1000, date(2024, 5, 5): 200}
    inputs = RuleInputs(day=DAY, config=Validation(), trailing=Trailing(rows=rows))
    rules = CATALOG["interactions"].rules(inputs)
    [rule] = [each for each in rules if each.name.startswith("rows_against")]
    assert isinstance(rule, TableRule)
    assert (rule.minimum, rule.maximum) == (60.0, 1000.0)
    assert rule.compared_with[0] == "2024-05-03: 100 rows"


def test_column_differences_are_all_named_at_once():
    expected = {"a": "int", "b": "string", "c": "list<int>"}
    assert column_differences(expected, {"a": "long", "c": "list<int>", "d": "int"}) == [
        "b is missing",
        "d is not in the contract",
        "a is long, expected int",
    ]
    assert column_differences({"a": "int", "b": "int"}, {"b": "int", "a": "int"}) == [
        "columns are in the order b, a"
    ]
    assert column_differences(expected, expected) == []


def result(**changes):
    facts = {
        "table": "interactions",
        "rule": "strength_is_allowed",
        "column": "strength",
        "success": False,
        "severity": "refuse",
        "rows_failed": 2,
        "observed": "2 of 50 rows",
        "expected": "0 rows",
        "description": "strength is one of 1, 2.",
        "examples": ("user_id=u1, strength=9",),
    }
    return RuleResult(**{**facts, **changes})


def verdict(*rules):
    return CheckResult(table="interactions", day=DAY, rules=rules, docs_path=Path("docs/day.html"))


def test_a_refusal_names_the_rule_the_rows_an_example_and_what_to_do():
    text = verdict(result()).refusal()
    assert text.splitlines()[:3] == [
        "interactions of 2024-05-07 refused by 1 rule(s); what was published before stays:",
        "  strength_is_allowed: strength is one of 1, 2. Here 2 of 50 rows break it.",
        "    e.g. user_id=u1, strength=9",
    ]
    assert "run the day again" in text
    assert "docs/day.html" in text


def test_a_table_rules_refusal_says_what_was_found_and_expected():
    volume = result(
        rule="rows_against_trailing_days",
        rows_failed=None,
        observed="12",
        expected="60 to 1,000",
        examples=("2024-05-03: 100 rows",),
    )
    assert "Here found 12, expected 60 to 1,000.\n    compared with 2024-05-03" in str(volume)


def test_a_rule_that_only_reports_refuses_nothing():
    found = verdict(result(severity="report"), result(success=True))
    assert found.success
    assert found.refusal() is None


def test_the_facts_of_a_runs_checks_are_json_and_count_every_table():
    other = CheckResult(
        table="deliveries",
        day=DAY,
        rules=(result(table="deliveries", success=True),),
        docs_path=Path("docs/other.html"),
    )
    facts = json.loads(json.dumps(check_facts([verdict(result()), other], 0.5)))
    assert facts["success"] is False
    assert [rule["table"] for rule in facts["rules"]] == ["interactions", "deliveries"]
    assert facts["rules"][0]["rows_failed"] == 2
    assert facts["rules"][0]["examples"] == ["user_id=u1, strength=9"]
    assert facts["docs_paths"] == ["docs/day.html", "docs/other.html"]
