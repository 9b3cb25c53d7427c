import pytest

from tests.report_days import DAY, verdict, whole_day
from training.report.brief import Brief, brief_of
from training.report.outcome import of_this_run, outcome_of
from training.report.remedies import remedies

AGAIN = "sidereal run --preset shop --day 1998-04-20"


def found(earlier=(), **changes):
    records = whole_day(**changes)
    steps = {name: facts for name, facts in records.items() if facts is not None}
    outcome = outcome_of(steps)
    steps = of_this_run(steps, outcome)
    return remedies(steps, outcome, brief_of(DAY, steps, outcome, None, {}), earlier, "shop")


def refused(rule, **more):
    reason = {"rule": rule, "passed": False, "detail": "…"}
    facts = verdict("refuse", None, **{"champion_version": 3, "challenger_version": 4, **more})
    return {**facts, "verdict": {**facts["verdict"], "reasons": [reason]}}


def test_nothing_is_to_be_done_about_a_good_day():
    assert found() == []


def test_refused_data_are_corrected_and_run_again():
    [remedy] = found(ingest_interactions={"status": "refused", "reason": "1 rule\n  failed"})
    assert remedy.wrong == "1 rule failed"
    assert (remedy.command, remedy.page) == (AGAIN, "docs/deliveries.md")


def test_refused_rows_of_a_later_step_are_no_matter_of_the_delivery():
    broken = {"rules": [{"rule": "key_is_unique", "success": False}]}
    record = {"status": "refused", "reason": "1 rule failed", "validation": broken}
    [remedy] = found(build_slates=record)
    assert remedy.advice == "Look at the rows that the rules name, then run the day again."
    assert (remedy.command, remedy.page) == (AGAIN, "")


def test_data_that_can_teach_nothing_name_what_to_change():
    reason = "no event may be trained on; shorten evaluation.holdout_days"
    [remedy] = found(train_recommender={"status": "refused", "reason": reason})
    assert (remedy.wrong, remedy.command) == (reason, AGAIN)
    assert remedy.advice == "Change what it names, then run the day again."


def test_a_failed_step_is_run_again_and_its_words_are_cut():
    [remedy] = found(build_slates={"status": "failed", "reason": "word " * 200})
    assert remedy.command == AGAIN
    assert len(remedy.wrong) <= 402
    assert remedy.wrong.endswith("word …")


def test_answers_that_differ_are_no_reason_to_run_the_day_again():
    facts = {"status": "failed", "error": "tiger version 3 is not heard alike"}
    [remedy] = found(compare_answers=facts)
    assert remedy.wrong == "tiger version 3 is not heard alike"
    assert remedy.command.startswith("sidereal models rollback --preset")


def test_a_day_that_stopped_is_run_again():
    steps = ("blend_recommenders", "evaluate_recommender", "promote_recommender", "recommend")
    [remedy] = found(**dict.fromkeys(steps))
    assert remedy.wrong == "blend_recommenders has left no record."
    assert remedy.command == AGAIN


@pytest.mark.parametrize(
    ("rule", "more", "words"),
    [
        ("champion", {}, "The champion goes on recommending. Wait for the next day."),
        ("floor", {"champion_version": None}, "Nothing is recommended until"),
        ("on_baseline_win", {}, "Set gate.on_baseline_win to promote_baseline"),
        ("minimum_users", {}, "lengthen evaluation.holdout_days"),
        ("reference", {}, "Small losses of several days have added up."),
        ("withdrawn", {}, "Only a person can promote it again."),
    ],
)
def test_a_refusal_says_what_helps_against_its_rule(rule, more, words):
    [remedy] = found(promote_recommender=refused(rule, **more))
    assert remedy.wrong == "The gate refused tiger."
    assert words in remedy.advice


def test_a_champion_that_should_not_serve_comes_first():
    alarm = {"alarms": ["the champion (unigrf of 1998-04-19) is worse than popularity"]}
    first, second = found(promote_recommender=refused("champion", **alarm))
    assert first.wrong == "The champion (unigrf of 1998-04-19) is worse than popularity."
    assert "gate.on_baseline_win" in first.advice
    assert first.command == 'sidereal models rollback --preset shop --reason "…"'
    assert second.wrong == "The gate refused tiger."


def test_only_a_person_brings_back_what_was_rolled_back():
    [remedy] = found(promote_recommender=refused("withdrawn"))
    assert remedy.command == 'sidereal models promote 4 --preset shop --reason "…"'


def test_refusals_in_a_row_are_counted():
    kinds = ("promoted", "refused", "refused")
    earlier = [Brief(day="1998-04-01", kind=kind, sentence=".") for kind in kinds]
    [remedy] = found(earlier, promote_recommender=refused("champion"))
    assert remedy.wrong == "The gate refused tiger, for the 3rd day in a row."
    assert "Look for what changed in the data." in remedy.advice


def test_days_that_never_came_in_are_filled_in():
    ingest = {"rows_in": 1, "missing_days": ["1998-04-18", "1998-04-19"]}
    [remedy] = found(ingest_interactions=ingest)
    assert remedy.wrong == "2 earlier days never came in: 1998-04-18 to 1998-04-19."
    assert remedy.command == "sidereal run --preset shop --from 1998-04-18 --to 1998-04-20"


def test_a_champion_that_has_not_recommended_is_asked_to():
    [remedy] = found(recommend=None)
    assert remedy.command == "sidereal step recommend --preset shop --day 1998-04-20"


@pytest.mark.parametrize(
    ("changes", "page"),
    [
        ({"embed_items": {"alarms": ["x"]}}, "docs/presets.md, section source"),
        ({"build_semantic_ids": {"alarms": ["x"]}}, "docs/presets.md, section tokenizer"),
        ({"align_recommender": {"collapsed": "x"}}, "docs/presets.md, section alignment"),
        (
            {"train_recommender": {"families": {"unigrf": {"alarms": ["x"]}}}},
            "docs/presets.md, section training",
        ),
    ],
)
def test_an_alarm_names_the_section_of_the_preset(changes, page):
    [remedy] = found(**changes)
    assert remedy.page == page
