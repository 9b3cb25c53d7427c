from dataclasses import replace

import pytest

from feature_store.preset import PresetError
from tests.evaluation_records import board, comparison, entrant, evaluation
from training.config import Gate
from training.evaluation.gate import decide, require_measured
from training.evaluation.record import CHAMPION, REFERENCE, Interval

METRICS = ("ndcg@10", "hr@10", "mrr")
BETTER, SAME, WORSE = (0.01, 0.02, 0.03), (-0.01, 0.0, 0.01), (-0.05, -0.04, -0.03)


def evidence(found, *, champion=False, num_users=200, slices=(), entrants=None):
    """An evaluation in which pairs that `found` does not name are ties on every metric."""
    labels = ["tiger", "item_knn", "popularity", *([CHAMPION] if champion else [])]
    rows = [
        comparison(a, b, metric, found.get((a, b), SAME), slice_name=name)
        for a in labels
        for b in labels
        if a != b
        for name in ("all", *slices)
        for metric in METRICS
    ]
    every = {label: entrant(label, num_users=num_users) for label in labels}
    return evaluation({**every, **(entrants or {})}, rows)


def with_rows(facts, *rows):
    """The evaluation with some comparisons in the place of those of the same pair and metric."""
    keyed = {(r.ours, r.theirs, r.slice, r.metric): r for r in (*facts.comparisons, *rows)}
    return replace(facts, comparisons=tuple(keyed.values()))


def failed(verdict):
    return [reason.rule for reason in verdict.reasons if not reason.passed]


def test_a_first_challenger_above_the_floor_is_promoted():
    verdict = decide(evidence({("tiger", "popularity"): BETTER}), Gate())
    assert (verdict.decision, verdict.promoted, failed(verdict)) == ("promote", "tiger", [])


def test_a_first_challenger_whose_lower_bound_is_not_above_the_floor_is_refused():
    verdict = decide(evidence({("tiger", "popularity"): SAME}), Gate())
    assert (verdict.decision, verdict.promoted, failed(verdict)) == ("refuse", None, ["floor"])
    assert "the lower bound must be above 0" in verdict.summary


def test_a_baseline_that_wins_stands_in_where_the_preset_says_so():
    found = {("tiger", "item_knn"): WORSE, ("item_knn", "popularity"): BETTER}
    verdict = decide(evidence(found), Gate(on_baseline_win="promote_baseline"))
    assert (verdict.decision, verdict.promoted) == ("promote_baseline", "item_knn")
    assert failed(verdict) == ["baseline"]
    assert "-0.0400" in verdict.summary and "item_knn" in verdict.summary


def test_a_baseline_that_wins_stops_everything_where_the_preset_refuses():
    found = {("tiger", "item_knn"): WORSE, ("item_knn", "popularity"): BETTER}
    verdict = decide(evidence(found), Gate(on_baseline_win="refuse"))
    assert (verdict.decision, verdict.promoted) == ("refuse", None)
    assert failed(verdict) == ["baseline", "on_baseline_win"]


def test_of_two_winning_baselines_the_stronger_stands_in():
    found = {("tiger", "item_knn"): WORSE, ("tiger", "popularity"): WORSE}
    facts = evidence({**found, ("item_knn", "popularity"): BETTER})
    stronger = comparison("tiger", "item_knn", "ndcg@10", WORSE, theirs_at=0.3)
    assert decide(with_rows(facts, stronger), Gate()).promoted == "item_knn"


def test_the_floor_itself_may_be_the_first_champion():
    verdict = decide(evidence({("tiger", "popularity"): WORSE}), Gate())
    assert (verdict.decision, verdict.promoted) == ("promote_baseline", "popularity")


def test_a_baseline_that_stands_in_must_not_lose_to_the_champion():
    found = {("tiger", "item_knn"): WORSE, ("item_knn", CHAMPION): WORSE}
    verdict = decide(evidence(found, champion=True), Gate())
    assert verdict.decision == "refuse"
    assert failed(verdict)[:2] == ["baseline", "champion"]


@pytest.mark.parametrize(
    ("difference", "rule", "decision"),
    [
        (BETTER, "not_worse", "promote"),
        (SAME, "not_worse", "promote"),
        ((-0.03, -0.009, 0.01), "not_worse", "promote"),  # 4.5 % below, within the 5 %
        ((-0.03, -0.011, 0.01), "not_worse", "refuse"),  # 5.5 % below, though perhaps by luck
        ((-0.009, -0.005, -0.001), "not_worse", "refuse"),  # a small loss, but surely one
        (BETTER, "better", "promote"),
        (SAME, "better", "refuse"),
    ],
)
def test_the_champion_is_faced_by_the_rule_of_the_preset(difference, rule, decision):
    facts = evidence({("tiger", CHAMPION): difference}, champion=True)
    only_primary = Gate(champion_rule=rule, guard_metrics=())
    verdict = decide(facts, only_primary)
    assert verdict.decision == decision
    assert failed(verdict) == ([] if decision == "promote" else ["champion"])


def with_reference(difference, *, before=SAME):
    """An evaluation with a reference; the challenger against it, and against the champion."""
    facts = evidence({("tiger", CHAMPION): before}, champion=True)
    entrants = {**facts.entrants, REFERENCE: entrant(REFERENCE, family="tiger")}
    row = comparison("tiger", REFERENCE, "ndcg@10", difference)
    return with_rows(replace(facts, entrants=entrants), row)


@pytest.mark.parametrize(
    ("difference", "before", "decision"),
    [
        (SAME, SAME, "promote"),
        ((-0.03, -0.009, 0.01), SAME, "promote"),  # 4.5 % below, within the budget
        ((-0.011, -0.009, -0.007), SAME, "promote"),  # the same beyond chance: it is a budget
        ((-0.03, -0.011, 0.01), SAME, "refuse"),
        (WORSE, BETTER, "promote"),  # refusing would keep a champion that is worse still
    ],
)
def test_losses_against_the_reference_are_bounded(difference, before, decision):
    verdict = decide(with_reference(difference, before=before), Gate(guard_metrics=()))
    assert verdict.decision == decision
    assert failed(verdict) == ([] if decision == "promote" else ["reference"])


def test_a_chain_of_small_losses_is_refused_with_its_numbers():
    told = decide(with_reference(WORSE), Gate(guard_metrics=())).summary
    assert told == (
        "refuse: tiger against reference, ndcg@10: 0.1600 against 0.2000, -20.0% (difference "
        "-0.0400, interval -0.0500 to -0.0300, 200 users); the loss may not be above 5.0% of what "
        "the reference (tiger of 1998-04-20), the best champion of 8 weeks, has on the same "
        "questions"
    )


def test_who_must_be_better_faces_no_reference():
    facts = with_reference(WORSE, before=BETTER)
    verdict = decide(facts, Gate(champion_rule="better", guard_metrics=()))
    assert "reference" not in [reason.rule for reason in verdict.reasons]


def test_a_reference_that_does_not_answer_is_told_and_not_compared():
    facts = on_feedback("auc", {}, champion=True)
    facts = replace(facts, entrants={**facts.entrants, REFERENCE: entrant(REFERENCE)})
    verdict = decide(facts, Gate(primary_metric="auc", guard_metrics=()))
    assert verdict.decision == "promote"
    assert [r.detail for r in verdict.reasons if r.rule == "reference"] == [
        "tiger or the reference (reference of 1998-04-20) can't rank: it is not compared on auc"
    ]


def test_the_floor_is_asked_of_the_first_champion_only():
    facts = evidence({("tiger", "popularity"): SAME}, champion=True)
    assert decide(facts, Gate()).decision == "promote"


def against_champion(metric, difference, **how):
    return comparison("tiger", CHAMPION, metric, difference, **how)


def test_a_sure_and_large_loss_on_a_guard_metric_is_refused():
    facts = with_rows(evidence({}, champion=True), against_champion("mrr", WORSE))
    verdict = decide(facts, Gate())
    assert (verdict.decision, failed(verdict)) == ("refuse", ["guard"])
    assert "mrr" in verdict.summary


@pytest.mark.parametrize("loss", [(-0.1, -0.04, 0.02), (-0.009, -0.008, -0.001)])
def test_a_guard_loss_that_is_luck_or_small_is_tolerated(loss):
    facts = with_rows(evidence({}, champion=True), against_champion("mrr", loss))
    assert decide(facts, Gate()).decision == "promote"


def test_a_slice_that_loses_is_refused():
    facts = evidence({}, champion=True, slices=("light_users",))
    facts = with_rows(facts, against_champion("ndcg@10", WORSE, slice_name="light_users"))
    verdict = decide(facts, Gate())
    assert verdict.decision == "refuse" and "ndcg@10 on light_users" in verdict.summary


def test_a_slice_of_too_few_users_is_told_and_not_judged():
    facts = evidence({}, champion=True, slices=("new_items",))
    few = against_champion("ndcg@10", WORSE, slice_name="new_items", num_users=29)
    verdict = decide(with_rows(facts, few), Gate(minimum_users=30))
    assert verdict.decision == "promote"
    assert any("too few users to judge (29)" in reason.detail for reason in verdict.reasons)


def test_too_few_users_are_refused_before_anything_else():
    verdict = decide(evidence({("tiger", "popularity"): BETTER}, num_users=29), Gate())
    assert failed(verdict) == ["minimum_users"] and len(verdict.reasons) == 1


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        ({"facts": {"illegal_share": 0.0001}}, "legal"),
        ({"facts": {"repeated_share": 0.0001}}, "legal"),
        ({"contradictions": ("all: hr@10 is below hr@5",)}, "consistent"),
    ],
)
def test_what_is_illegal_or_impossible_is_never_promoted(facts, rule):
    found = {("tiger", "popularity"): BETTER}
    verdict = decide(evidence(found, entrants={"tiger": entrant("tiger", **facts)}), Gate())
    assert (verdict.decision, failed(verdict)) == ("refuse", [rule])


def test_the_same_bundle_again_changes_nothing():
    same = {"tiger": entrant("tiger", digest="d"), CHAMPION: entrant(CHAMPION, digest="d")}
    verdict = decide(evidence({}, champion=True, entrants=same), Gate())
    assert (verdict.decision, verdict.promoted, failed(verdict)) == ("unchanged", None, [])


def test_a_baseline_that_serves_already_is_not_promoted_again():
    same = {"item_knn": entrant("item_knn", digest="d"), CHAMPION: entrant(CHAMPION, digest="d")}
    verdict = decide(evidence({("tiger", "item_knn"): WORSE}, champion=True, entrants=same), Gate())
    assert (verdict.decision, verdict.promoted) == ("unchanged", None)


def test_a_bundle_that_was_rolled_back_is_promoted_by_a_person_only():
    facts = evidence({("tiger", "popularity"): BETTER})
    verdict = decide(facts, Gate(), {"digest of tiger"})
    assert (verdict.decision, failed(verdict)) == ("refuse", ["withdrawn"])


def test_a_metric_that_was_not_compared_is_named():
    with pytest.raises(ValueError, match=r"no 'ndcg@20' of tiger against item_knn on 'all'"):
        decide(evidence({}), Gate(primary_metric="ndcg@20"))


def test_the_summary_of_a_promotion_is_how_the_champion_was_faced():
    facts = evidence({("tiger", CHAMPION): BETTER}, champion=True, slices=("light_users",))
    told = decide(facts, Gate()).summary
    assert told.startswith("promote tiger: tiger against champion, ndcg@10: 0.2200 against 0.2000")
    assert "light_users" not in told


def test_reasons_are_sentences_with_numbers_and_intervals():
    verdict = decide(evidence({("tiger", "popularity"): BETTER}), Gate())
    assert verdict.reasons[-1].detail == (
        "first champion: tiger against popularity, ndcg@10: 0.2200 against 0.2000, +10.0% "
        "(difference +0.0200, interval +0.0100 to +0.0300, 200 users); "
        "the lower bound must be above 0"
    )
    assert verdict.to_json()["summary"].startswith("promote tiger: first champion")


def ranked(label, auc):
    metrics = {"auc": Interval(*auc)} if auc else {}
    return entrant(label, feedback=board(metrics, base_rate=0.5))


def on_feedback(metric, found, *, champion=False, who=("tiger",), aucs=None):
    """An evaluation with one metric of feedback, compared among those who can rank."""
    base = evidence({}, champion=champion)
    rows = [comparison(*pair, metric, bounds, theirs_at=0.6) for pair, bounds in found.items()]
    able = {label: ranked(label, (aucs or {}).get(label, (0.6, 0.65, 0.7))) for label in who}
    return with_rows(replace(base, entrants={**base.entrants, **able}), *rows)


def test_baselines_that_cannot_rank_are_not_compared_on_feedback():
    verdict = decide(on_feedback("auc", {}), Gate(primary_metric="auc", guard_metrics=()))
    assert (verdict.decision, verdict.promoted) == ("promote", "tiger")
    assert "popularity can't rank; tiger's auc is 0.6500" in verdict.summary


@pytest.mark.parametrize("auc", [(0.49, 0.55, 0.6), None])
def test_an_order_no_better_than_chance_is_no_first_champion(auc):
    found = on_feedback("auc", {}, aucs={"tiger": auc})
    verdict = decide(found, Gate(primary_metric="auc", guard_metrics=()))
    assert (verdict.decision, failed(verdict)) == ("refuse", ["floor"])


def test_a_champion_that_cannot_rank_is_followed_by_one_that_is_better_than_chance():
    found = on_feedback("auc", {}, champion=True)
    verdict = decide(found, Gate(primary_metric="auc", guard_metrics=("logloss",)))
    assert verdict.decision == "promote"
    assert "the champion can't rank; tiger's auc" in verdict.summary


@pytest.mark.parametrize(
    ("difference", "decision"),
    [((-0.03, -0.02, -0.01), "promote"), (SAME, "promote"), ((0.03, 0.04, 0.05), "refuse")],
)
def test_less_log_loss_is_better(difference, decision):
    found = on_feedback(
        "logloss", {("tiger", CHAMPION): difference}, champion=True, who=("tiger", CHAMPION)
    )
    verdict = decide(found, Gate(primary_metric="logloss", guard_metrics=()))
    assert verdict.decision == decision
    better = decide(found, Gate(primary_metric="logloss", guard_metrics=(), champion_rule="better"))
    assert better.decision == ("promote" if difference[2] < 0 else "refuse")
    assert "the upper bound must be below 0" in better.summary


def test_a_baseline_with_less_log_loss_wins():
    found = on_feedback(
        "logloss",
        {("tiger", "item_knn"): (0.01, 0.02, 0.03)},
        who=("tiger", "item_knn"),
    )
    verdict = decide(found, Gate(primary_metric="logloss", guard_metrics=()))
    assert (verdict.decision, verdict.promoted) == ("promote_baseline", "item_knn")
    assert "a baseline wins where the whole interval is above 0" in verdict.reasons[1].detail


@pytest.mark.parametrize(
    ("metric", "difference", "passes"),
    [
        ("auc", (-0.06, -0.05, -0.04), False),
        ("auc", (0.01, 0.02, 0.03), True),
        ("logloss", (0.04, 0.05, 0.06), False),
        ("logloss", (-0.06, -0.05, -0.04), True),
        ("logloss", (0.001, 0.002, 0.003), True),
    ],
)
def test_a_metric_of_feedback_guards(metric, difference, passes):
    found = on_feedback(
        metric, {("tiger", CHAMPION): difference}, champion=True, who=("tiger", CHAMPION)
    )
    verdict = decide(found, Gate(guard_metrics=(metric,)))
    assert (verdict.decision == "promote") == passes
    assert failed(verdict) == ([] if passes else ["guard"])


def test_a_guard_is_on_what_an_auc_has_above_chance():
    small = (-0.006, -0.005, -0.004)  # 0.8 % of 0.6, and 5 % of the 0.1 above chance
    for difference, decision in ((small, "promote"), ((-0.008, -0.007, -0.006), "refuse")):
        found = on_feedback(
            "auc", {("tiger", CHAMPION): difference}, champion=True, who=("tiger", CHAMPION)
        )
        verdict = decide(found, Gate(guard_metrics=("auc",), max_guard_loss=0.051))
        assert verdict.decision == decision
    assert "-7.0% of its lead over 0.5000 by chance" in verdict.summary


def test_a_champion_that_ranks_is_not_followed_by_one_that_cannot():
    found = on_feedback("auc", {}, champion=True, who=(CHAMPION,))
    verdict = decide(found, Gate(guard_metrics=("auc",)))
    assert (verdict.decision, failed(verdict)) == ("refuse", ["guard"])
    assert "auc: tiger can't rank, and the champion that it would follow can" in verdict.summary


def test_a_guard_of_feedback_says_nothing_where_nobody_ranks():
    found = on_feedback("auc", {}, champion=True, who=())
    verdict = decide(found, Gate(guard_metrics=("auc", "logloss")))
    assert verdict.decision == "promote"
    assert "guard" not in [reason.rule for reason in verdict.reasons]


def test_a_gate_that_asks_for_what_was_not_measured_is_refused():
    measured = ("ndcg@10", "hr@10", "mrr")
    require_measured(Gate(), measured)
    with pytest.raises(PresetError, match=r"the gate asks for expanded_mrr, the evaluation meas"):
        require_measured(Gate(guard_metrics=("expanded_mrr",)), measured)
    with pytest.raises(PresetError, match=r"the gate asks for auc, the evaluation measures"):
        require_measured(Gate(primary_metric="auc"), measured)
    require_measured(Gate(guard_metrics=("auc",)), measured)  # of those who rank; nobody does
