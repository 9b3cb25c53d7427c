from dataclasses import replace

import pytest

from training.config import Gate
from training.evaluation.compare import Comparison, Interval
from training.gate import CHAMPION, Entrant, Evidence, decide

METRICS = ("ndcg@10", "hr@10", "mrr")
BETTER, SAME, WORSE = (0.01, 0.02, 0.03), (-0.01, 0.0, 0.01), (-0.05, -0.04, -0.03)


def comparison(difference, theirs=0.2, num_users=200):
    low, point, high = difference
    return Comparison(
        num_users=num_users,
        ours=theirs + point,
        theirs=theirs,
        difference=Interval(low, point, high),
        relative=Interval(low / theirs, point / theirs, high / theirs),
        probability_better=0.5,
    )


def entrant(label, digest=None, **facts):
    facts = {"illegal_share": 0.0, "repeated_share": 0.0, **facts}
    return Entrant(label=label, family=label, digest=digest or f"digest of {label}", **facts)


def evidence(found, *, champion=False, num_users=200, slices=(), entrants=None):
    """Evidence in which pairs that `found` does not name are ties on every metric."""
    labels = ["tiger", "item_knn", "popularity", *([CHAMPION] if champion else [])]
    pairs = [(a, b) for a in labels for b in labels if a != b]
    comparisons = {
        (a, b, name, metric): comparison(found.get((a, b), SAME))
        for a, b in pairs
        for name in ("all", *slices)
        for metric in METRICS
    }
    return Evidence(
        num_users=num_users,
        challenger="tiger",
        baselines=("item_knn", "popularity"),
        entrants={label: (entrants or {}).get(label, entrant(label)) for label in labels},
        comparisons=comparisons,
    )


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
    key = ("tiger", "item_knn", "all", "ndcg@10")
    stronger = {**facts.comparisons, key: comparison(WORSE, theirs=0.3)}
    assert decide(replace(facts, comparisons=stronger), Gate()).promoted == "item_knn"


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


def test_the_floor_is_asked_of_the_first_champion_only():
    facts = evidence({("tiger", "popularity"): SAME}, champion=True)
    assert decide(facts, Gate()).decision == "promote"


def with_comparison(facts, metric, slice_name, found):
    key = ("tiger", CHAMPION, slice_name, metric)
    return replace(facts, comparisons={**facts.comparisons, key: found})


def test_a_sure_and_large_loss_on_a_guard_metric_is_refused():
    facts = with_comparison(evidence({}, champion=True), "mrr", "all", comparison(WORSE))
    verdict = decide(facts, Gate())
    assert (verdict.decision, failed(verdict)) == ("refuse", ["guard"])
    assert "mrr" in verdict.summary


@pytest.mark.parametrize("loss", [(-0.1, -0.04, 0.02), (-0.009, -0.008, -0.001)])
def test_a_guard_loss_that_is_luck_or_small_is_tolerated(loss):
    facts = with_comparison(evidence({}, champion=True), "mrr", "all", comparison(loss))
    assert decide(facts, Gate()).decision == "promote"


def test_a_slice_that_loses_is_refused():
    facts = evidence({}, champion=True, slices=("light_users",))
    facts = with_comparison(facts, "ndcg@10", "light_users", comparison(WORSE))
    verdict = decide(facts, Gate())
    assert verdict.decision == "refuse" and "ndcg@10 on light_users" in verdict.summary


def test_a_slice_of_too_few_users_is_told_and_not_judged():
    facts = evidence({}, champion=True, slices=("new_items",))
    few = comparison(WORSE, num_users=29)
    verdict = decide(with_comparison(facts, "ndcg@10", "new_items", few), Gate(minimum_users=30))
    assert verdict.decision == "promote"
    assert any("too few users to judge (29)" in reason.detail for reason in verdict.reasons)


def test_too_few_users_are_refused_before_anything_else():
    verdict = decide(evidence({("tiger", "popularity"): BETTER}, num_users=29), Gate())
    assert failed(verdict) == ["minimum_users"] and len(verdict.reasons) == 1


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        ({"illegal_share": 0.0001}, "legal"),
        ({"repeated_share": 0.0001}, "legal"),
        ({"contradictions": ("all: hr@10 is below hr@5",)}, "consistent"),
    ],
)
def test_what_is_illegal_or_impossible_is_never_promoted(facts, rule):
    found = {("tiger", "popularity"): BETTER}
    verdict = decide(evidence(found, entrants={"tiger": entrant("tiger", **facts)}), Gate())
    assert (verdict.decision, failed(verdict)) == ("refuse", [rule])


def test_the_same_bundle_again_changes_nothing():
    same = {"tiger": entrant("tiger", "d"), CHAMPION: entrant(CHAMPION, "d")}
    verdict = decide(evidence({}, champion=True, entrants=same), Gate())
    assert (verdict.decision, verdict.promoted, failed(verdict)) == ("unchanged", None, [])


def test_a_baseline_that_serves_already_is_not_promoted_again():
    same = {"item_knn": entrant("item_knn", "d"), CHAMPION: entrant(CHAMPION, "d")}
    verdict = decide(evidence({("tiger", "item_knn"): WORSE}, champion=True, entrants=same), Gate())
    assert (verdict.decision, verdict.promoted) == ("unchanged", None)


def test_a_bundle_that_was_rolled_back_is_promoted_by_a_person_only():
    facts = evidence({("tiger", "popularity"): BETTER})
    verdict = decide(replace(facts, withdrawn={"digest of tiger"}), Gate())
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


def ranked(label, auc=(0.6, 0.65, 0.7)):
    return entrant(label, auc=Interval(*auc) if auc else None)


def on_feedback(metric, found, *, champion=False, who=("tiger",), aucs=None):
    """Evidence with one metric of feedback, compared among those who can rank."""
    base = evidence({}, champion=champion)
    comparisons = dict(base.comparisons)
    for pair, difference in found.items():
        comparisons[*pair, "all", metric] = comparison(difference, theirs=0.6)
    able = {label: ranked(label, (aucs or {}).get(label, (0.6, 0.65, 0.7))) for label in who}
    return replace(base, comparisons=comparisons, entrants={**base.entrants, **able})


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
