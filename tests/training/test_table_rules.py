"""Rules that a preset brings about tables that training writes."""

import json

import pytest

from feature_store.preset import PresetError, load
from feature_store.tables import CATALOG
from feature_store.validation import Validation
from tests.suites.engines import duckdb_engine
from tests.suites.validation_rows import slate
from training.checks.preset_rules import FUNCTIONS, preset_rules
from training.config import PART


def limits(condition, *, table="recommendations", **more):
    rule = {"name": "mine", "table": table, "condition": condition, **more}
    return Validation.model_validate({"rules": [rule]})


def kept(folder, rows, condition, table="recommendations"):
    """Whether each row keeps a rule, in the order of its key's last column."""
    [rule] = preset_rules(CATALOG[table], limits(condition, table=table))
    with duckdb_engine(folder, table, rows) as engine:
        order = CATALOG[table].key[-1]
        sql = f"SELECT {rule.condition} AS keeps FROM staged ORDER BY {order}"
        return [row["keeps"] for row in engine.query(sql)]


ROWS = [slate("a", scores=[0.5, 0.1]), slate("b", generation="g1"), slate("c", item_ids=None)]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("array_min(scores) >= 0.5", [False, True, True]),
        ("generation = 'g1'", [None, True, None]),  # null breaks nothing
        ("generation IS NOT NULL", [False, True, False]),
        ("array_min(scores) > 0.1", [True, True, True]),  # a float is a little more than 0.1
        ("array_min(item_indices) > -1", [True, True, True]),
        ("size(item_ids) BETWEEN 1 AND 9", [True, True, None]),
        ("user_id IS DISTINCT FROM 'b'", [True, False, True]),
        ("USER_ID <> 'b' AND length(model_family) = 5", [True, False, True]),
    ],
)
def test_a_rule_is_evaluated_on_each_row(tmp_path, condition, expected):
    assert kept(tmp_path, ROWS, condition) == expected


def test_rules_of_other_tables_are_not_asked():
    assert preset_rules(CATALOG["semantic_ids"], limits("size(item_ids) > 0")) == ()


WRONG = {
    "size(item_ids) / 2 > 1": "it uses /, and rules of recommendations, which is checked without",
    "user_id RLIKE '^u'": "it uses RLIKE, which is no column of recommendations",
    "user_id IN (SELECT user_id)": "it uses SELECT, which is no column",
    "user_id IN (FROM 'secret.csv')": "it uses FROM, which is no column",
    "user_id IN (TABLE staged)": "it uses TABLE, which is no column",
    "user_id = 'a' user_id": "Parser Error",
    "forall(scores, x -> x > 0)": "it uses forall",
    'user_id = "u"': 'it uses "',
    "scors > 0": "it uses scors, which is no column of recommendations; did you mean 'scores'?",
    "size(item_ids) + 1 > 2": "it uses +",
    "model_version > 1": "Cannot compare values of type VARCHAR and",
    "array_max(scores)": "it is FLOAT, expected a condition",
}


@pytest.mark.parametrize("condition", WRONG)
def test_a_rule_that_can_not_be_evaluated_is_refused_with_the_preset(tmp_path, condition):
    (tmp_path / "shop.yaml").write_text("name: shop\n")
    rule = json.dumps({"name": "mine", "table": "recommendations", "condition": condition})
    with pytest.raises(PresetError) as refused:
        load(PART, "shop", folder=tmp_path, overrides=[f"validation.rules=[{rule}]"])
    assert "validation.rules.0.condition" in str(refused.value)
    assert WRONG[condition] in str(refused.value)


def test_every_function_is_named_where_one_is_refused():
    assert list(FUNCTIONS) == sorted(FUNCTIONS)
