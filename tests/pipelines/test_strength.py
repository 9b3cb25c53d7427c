"""The preset's rules: which wins, and which are refused before a row is read."""

import pytest

from feature_store.preset import PresetError
from pipelines.config import StrengthRule
from pipelines.transforms.strength import check_rules, rule_columns, strength_of

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]


def rules(*pairs):
    return tuple(StrengthRule(strength=strength, when=when) for strength, when in pairs)


@pytest.fixture(scope="module")
def rows(spark):
    schema = "rating double, is_click double, country string, _row struct<line: bigint>"
    data = [(5.0, 1.0, "DE", None), (4.0, 0.0, "FR", None), (None, 0.0, "DE", None)]
    return spark.createDataFrame(data, schema)


def test_the_first_rule_that_holds_wins_and_a_row_that_meets_none_has_no_strength(rows):
    ordered = rules((-1, "rating < 1"), (3, "rating >= 4.5"), (2, "rating >= 3"))
    found = [row[0] for row in rows.select(strength_of(ordered)).collect()]
    assert found == [3, 2, None]


def test_a_rule_may_compare_text_with_text_and_numbers_with_numbers(rows):
    check_rules(rules((1, "country = 'DE' AND is_click = 1"), (0, "TRUE")), rows)


def test_every_rule_that_cannot_be_evaluated_is_named_with_its_place(rows):
    wrong = rules(
        (3, "ratng >= 4.5"),
        (2, "rating >="),
        (1, "country >= 3"),
        (1, "sum(rating) > 3"),
        (0, "rating"),
        (0, "TRUE"),
    )
    with pytest.raises(PresetError) as refused:
        check_rules(wrong, rows)
    text = str(refused.value)
    assert (
        "source.strength.0 ('ratng >= 4.5'): no raw column 'ratng' (did you mean 'rating'?)" in text
    )
    assert "there are ['rating', 'is_click', 'country']" in text
    assert "source.strength.1 ('rating >='): not Spark SQL" in text
    assert "'country' is text and is compared with a number; list it under source.columns" in text
    assert "source.strength.3" in text
    assert "source.strength.4" in text
    assert "source.strength.5" not in text


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
