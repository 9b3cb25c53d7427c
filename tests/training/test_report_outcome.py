import pytest

from tests.report_days import verdict, whole_day
from training.report.outcome import alarms_of, of_this_run, ordered, outcome_of

RULE = {"rule": "key_is_unique", "success": False}


@pytest.mark.parametrize(
    ("record", "tone", "sentence"),
    [
        (verdict("promote", "tiger", previous_version=1), "good", "tiger became the champion."),
        (
            verdict("promote", "tiger", previous_version=None),
            "good",
            "tiger became the first champion.",
        ),
        (
            verdict("promote_baseline", "sasrec"),
            "warn",
            "sasrec, a baseline, became the champion in the place of tiger.",
        ),
        (
            verdict("unchanged", None),
            "good",
            "The champion stays: its bundle is the one that was trained.",
        ),
        (
            verdict("refuse", None, champion_version=3),
            "bad",
            "tiger was refused, and the champion stays.",
        ),
        (
            verdict("refuse", None, champion_version=None),
            "bad",
            "tiger was refused, and there is no champion yet.",
        ),
    ],
)
def test_a_decided_day_says_who_is_champion(record, tone, sentence):
    outcome = outcome_of(whole_day(promote_recommender=record))
    assert (outcome.tone, outcome.sentence, outcome.is_decided) == (tone, sentence, True)


@pytest.mark.parametrize("decision", ["refuse", "unchanged"])
def test_a_champion_that_should_not_serve_is_told_in_the_first_sentence(decision):
    record = verdict(decision, None, champion_version=3, alarms=["the champion (…) is worse"])
    outcome = outcome_of(whole_day(promote_recommender=record))
    assert outcome.tone == "bad"
    assert outcome.sentence.endswith("That champion is worse than another model beyond chance.")
    assert alarms_of(whole_day(promote_recommender=record)) == [
        "champion: the champion (…) is worse"
    ]


def test_refused_data_count_the_rules_that_they_broke():
    facts = {"status": "refused", "reason": "1 of 9", "validation": {"rules": [RULE]}}
    outcome = outcome_of(whole_day(build_slates=facts))
    assert outcome.kind == "data_refused"
    assert outcome.sentence == "The data of the day broke 1 rule of build_slates."
    two = {**facts, "validation": {"rules": [RULE, RULE, {**RULE, "success": True}]}}
    assert "broke 2 rules" in outcome_of({"ingest_interactions": two}).sentence
    none = {"ingest_interactions": {"status": "refused", "reason": "columns"}}
    assert outcome_of(none).sentence == ("The data of the day were refused by ingest_interactions.")


def test_a_failed_step_is_told_before_what_an_earlier_run_decided():
    steps = whole_day(train_recommender={"status": "failed", "error": "OutOfMemory: 9 GB"})
    outcome = outcome_of(steps)
    assert (outcome.kind, outcome.step) == ("failed", "train_recommender")
    assert outcome.reason == "OutOfMemory: 9 GB"
    kept = of_this_run(steps, outcome)
    assert set(steps) - set(kept) == {
        "evaluate_recommender", "promote_recommender", "recommend", "compare_answers"
    }  # fmt: skip


def test_behind_refused_data_nothing_is_of_the_same_run():
    steps = whole_day(ingest_interactions={"status": "refused"})
    before = {"build_items", "build_users", "ingest_interactions"}
    assert set(of_this_run(steps, outcome_of(steps))) == before


def test_a_day_that_stopped_names_the_step_that_is_missing():
    steps = whole_day()
    for name in ("train_baselines", "evaluate_recommender", "promote_recommender", "recommend"):
        del steps[name]
    outcome = outcome_of(steps)
    assert outcome.sentence == "The day stopped before train_baselines."
    assert of_this_run(steps, outcome) == steps


def test_a_report_that_failed_is_no_failure_of_the_day():
    steps = whole_day(write_report={"status": "failed"})
    assert outcome_of(steps).kind == "promoted"
    assert "write_report" not in ordered(steps)


def test_alarms_say_what_they_are_about():
    steps = {
        "embed_items": {"alarms": ["no text"]},
        "train_tokenizer": {"alarms": ["old"]},
        "build_semantic_ids": {"alarms": ["collisions"]},
        "train_recommender": {"families": {"unigrf": {"alarms": ["AUC fell"]}, "tiger": {}}},
        "align_recommender": {"collapsed": "coverage"},
        "evaluate_recommender": {"warnings": ["another split"]},
    }
    assert alarms_of(steps) == [
        "embeddings: no text",
        "tokenizer: collisions",
        "unigrf: AUC fell",
        "alignment: stopped early, coverage",
        "evaluation: another split",
    ]
    assert alarms_of({}) == []
