"""Rules that a preset brings, from their text to the verdict."""

import pytest

from feature_store.preset import PresetError
from feature_store.tables import CATALOG
from feature_store.validation import Validation
from pipelines.config import PipelineConfig
from pipelines.preset_rules import RULES
from pipelines.sql_words import words_of
from pipelines.validation.own_rules import check_own_rules, own_rules
from tests.pipelines.test_spark_checks import check, failures
from tests.suites.validation_rows import event

INTERACTIONS = CATALOG["interactions"]


def rule(condition, *, name="mine", table="interactions", **more):
    return {"name": name, "table": table, "condition": condition, **more}


def problems(*rules, strength="TRUE", **sections):
    """What the check without Spark says, by path."""
    config = PipelineConfig.model_validate(
        {
            "name": "shop",
            "source": {
                "layout": "kuairand",
                "path": "k",
                "strength": [{"strength": 1, "when": strength}],
            },
            "validation": {"rules": rules},
            **sections,
        }
    )
    found = [one for each in RULES for one in each.problems(config)]
    return {".".join(map(str, path)): str(problem) for path, problem in found}


RIGHT = {
    "dwell_seconds < 86400": ("dwell_seconds",),
    "size(filter(map_keys(signals), k -> k <> 'x')) > 0": ("signals",),
    "aggregate(array(strength), 0, (total, s) -> total + s) >= 0": ("strength",),
    "event_time >= DATE'2024-01-01' AND extract(YEAR FROM event_time) < 2100": ("event_time",),
    "event_time > TIMESTAMP'2024-01-01 00:00:00' - INTERVAL 3 DAYS": ("event_time",),
    "CASE WHEN strength IS NULL THEN FALSE ELSE CAST(strength AS int) <= 3 END": ("strength",),
    "`user_id` RLIKE '^u' -- a comment": ("user_id",),
    "upper(item_id) LIKE 'I%' AND position BETWEEN 0 AND 1e3": ("item_id", "position"),
    "USER_ID::string <> 'it''s \" x' /* y */": ("USER_ID",),
    "trim(BOTH ' ' FROM user_id) <> ''": ("user_id",),
}


@pytest.mark.parametrize("condition", RIGHT)
def test_the_columns_of_a_condition_are_found_without_spark(condition):
    assert words_of(condition).columns == RIGHT[condition]
    assert problems(rule(condition)) == {}


WRONG = {
    "strenght >= 0": "interactions has no column 'strenght'; did you mean 'strength'?",
    "price > 0": "interactions has no column 'price', expected one of day, user_id",
    "user_id = 'x": "a quote that is not closed",
    "(strength >= 0": "a bracket that is not closed, or one too many",
    "strength >= 0; DROP": "more than one statement",
    "strength > (SELECT 1)": "it uses SELECT: a condition is about one row",
    "": "is empty",
    "rand() < 0.5": "it uses rand, and a rule is a function of the row's columns alone",
    "event_time < current_timestamp()": "it uses current_timestamp, and a rule is a function",
    "upr(user_id) = 'U'": "columns alone; did you mean 'upper'?",
}


@pytest.mark.parametrize("condition", WRONG)
def test_a_condition_that_can_not_be_is_refused_before_anything_starts(condition):
    found = problems(rule(condition))
    assert WRONG[condition] in found["validation.rules.0.condition"]


def test_names_are_words_and_used_once_for_a_table():
    assert (
        "lower-case letters, digits and _"
        in problems(rule("TRUE", name="My rule"))["validation.rules.0.name"]
    )
    twice = problems(rule("TRUE"), rule("strength > 0"))
    assert twice == {"validation.rules.1.name": "interactions has a rule 'mine' already"}
    assert problems(rule("TRUE"), rule("TRUE", table="items")) == {}


def test_strength_rules_are_read_too():
    assert problems(strength="rating > 'x") == {
        "source.strength.0.when": "a quote that is not closed"
    }
    assert (
        "it uses java_method"
        in problems(strength="java_method('java.lang.Math', 'random')")["source.strength.0.when"]
    )
    assert problems(strength="user = 'x' AND length(item) > 2") == {}


def test_the_tables_are_all_that_hold_what_is_made_of_the_data():
    ruled = set(CATALOG) - {"quarantine", "deliveries"}
    annotation = Validation.model_fields["rules"].annotation.__args__[0]
    assert set(annotation.model_fields["table"].annotation.__args__) == ruled


@pytest.mark.spark
@pytest.mark.xdist_group("spark")
class TestOnRows:
    def rows(self):
        return [event(n, dwell_seconds=float(10 * n)) for n in range(10)]

    def test_a_rule_that_holds_passes_and_stands_in_the_docs(self, spark, settings):
        result = check(
            spark, settings, "interactions", self.rows(), rules=[rule("dwell_seconds < 1000")]
        )
        assert result.success
        found = next(each for each in result.rules if each.rule == "preset.mine")
        assert found.observed == "0 of 10 rows"
        page = result.docs_path.read_text()
        assert "mine: dwell_seconds &lt; 1000 (a rule of the preset)" in page

    def test_rows_that_break_it_are_counted_shown_and_refuse_the_table(self, spark, settings):
        result = check(
            spark, settings, "interactions", self.rows(), rules=[rule("dwell_seconds < 75")]
        )
        assert failures(result) == {"preset.mine": 2}
        assert "preset.mine" in result.refusal()
        assert "dwell_seconds=80" in result.refusal()

    def test_a_share_may_break_it(self, spark, settings):
        allowed = [rule("dwell_seconds < 75", share=0.2)]
        result = check(spark, settings, "interactions", self.rows(), rules=allowed)
        assert result.success
        found = next(each for each in result.rules if each.rule == "preset.mine")
        assert (found.rows_failed, found.expected) == (2, "at most 0.2 of the rows")
        too_many = [rule("dwell_seconds < 65", share=0.2)]
        assert not check(spark, settings, "interactions", self.rows(), rules=too_many).success

    def test_null_breaks_nothing(self, spark, settings):
        rows = [event(n, dwell_seconds=None) for n in range(3)]
        rules = [rule("dwell_seconds < 0")]
        assert check(spark, settings, "interactions", rows, rules=rules).success

    def test_a_row_on_which_it_fails_breaks_it(self, spark, settings):
        rules = [rule("100 / (dwell_seconds - 20) < 50")]
        result = check(spark, settings, "interactions", self.rows(), rules=rules)
        assert failures(result) == {"preset.mine": 1}
        assert "dwell_seconds=20" in result.refusal()

    def test_rules_of_other_tables_are_not_asked(self, spark, settings):
        rules = [rule("title IS NOT NULL", table="items")]
        assert check(spark, settings, "interactions", self.rows(), rules=rules).success
        assert own_rules(INTERACTIONS, Validation.model_validate({"rules": rules})) == ()

    @pytest.mark.parametrize(
        ("condition", "says"),
        [
            ("strength >", "not Spark SQL"),
            ("strength + 1", "DATATYPE_MISMATCH"),
            ("sum(strength) > 1", "it uses sum, and a rule is a function"),
            ("rand() > 0", "it uses rand, and a rule is a function"),
            ("event_time < current_date", "it uses current_date, and a rule"),
            ("strngth > 1", "UNRESOLVED_COLUMN"),
        ],
    )
    def test_what_spark_can_not_evaluate_is_refused_before_a_row_is_read(
        self, spark, condition, says
    ):
        config = Validation.model_validate({"rules": [rule("TRUE", name="a"), rule(condition)]})
        with pytest.raises(PresetError, match=rf"validation\.rules\.1 .*{says}"):
            check_own_rules(spark, [INTERACTIONS], config)


def test_beams_want_weights_that_end_somewhere():
    beams = {"pseudo_exposures_from": "beams"}
    for protocol in ("rolling", "leave_last_out"):
        found = problems(preference_lists=beams, evaluation={"protocol": protocol})
        if protocol == "rolling":
            assert found == {}
        else:
            [(path, text)] = found.items()
            assert path == "preference_lists.pseudo_exposures_from"
            assert "found the text 'beams' under evaluation.protocol leave_last_out" in text
            assert "sampled, or the protocol rolling" in text
