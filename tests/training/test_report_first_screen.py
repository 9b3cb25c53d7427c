from tests.evaluation_records import around, comparison, entrant, evaluation
from tests.report_days import measured, verdict, whole_day
from training.report.brief import Brief
from training.report.changes import Change, changes
from training.report.entrants import best_baseline, in_order, is_better, named
from training.report.opening import opening
from training.report.outcome import outcome_of


def brief(**changes):
    return Brief(**{"day": "1998-04-20", "kind": "promoted", "sentence": ".", **changes})


def opened(found, *, champion=None, **more):
    steps = whole_day(promote_recommender=verdict("promote", "tiger", **more))
    return opening(steps, outcome_of(steps), found, [brief()], [], [])


def against_champion(difference, metric="ndcg@10"):
    entrants = {
        label: entrant(label, family="tiger", lists={"ndcg@10": around(0.2)})
        for label in ("tiger", "champion")
    }
    return evaluation(
        entrants, [comparison("tiger", "champion", metric, difference)], baselines=()
    )  # fmt: skip


def test_the_first_screen_says_the_deciding_metric_in_words():
    assert opened(measured()).said == [
        "tiger has a ndcg@10 of 0.1000.",
        "The best baseline, popularity, has 0.1000: tiger is significantly better.",
    ]
    worse = opened(against_champion((-0.3, -0.2, -0.1))).said[1]
    assert worse == (
        "The champion before, tiger of 1998-04-20, has 0.2000: tiger is significantly worse."
    )
    level = opened(against_champion((-0.3, 0.0, 0.1))).said[1]
    assert level.endswith("has 0.2000: the difference is not significant.")


def test_the_picture_of_what_decided_can_be_read_without_eyes():
    svg = opened(against_champion((-0.3, 0.0, 0.1))).svg
    assert "<title>ndcg@10: tiger 0.2000; champion, tiger 0.2000</title>" in svg
    silent = evaluation({"tiger": entrant("tiger")})
    assert opened(silent).svg == ""
    assert opened(silent).said == ["tiger has no ndcg@10."]


def test_rules_that_failed_stand_apart_from_all_rules():
    shown = opening(
        {"promote_recommender": verdict("refuse", None)}, outcome_of({}), None, [brief()], [], []
    )
    assert [rule.text for rule in shown.failed] == ["floor: 0.1 against <0.05>"]
    assert opened(None).failed == []
    assert len(opened(None).rules) == 1


def test_entrants_stand_in_one_order_under_names_for_people():
    labels = ("popularity", "tiger", "champion", "pretrained")
    entrants = {label: entrant(label, lists={"ndcg@10": around(0.2)}) for label in labels}
    found = evaluation(entrants, baselines=("pretrained", "popularity"))
    assert in_order(found, entrants) == ["tiger", "champion", "pretrained", "popularity"]
    assert named(found, "pretrained") == "tiger before alignment"
    assert named(found, "champion") == "champion, champion"


def test_the_best_baseline_has_most_or_where_less_is_better_least():
    both = {
        "tiger": entrant("tiger", lists={"logloss": around(0.1), "hr@10": around(0.1)}),
        "popularity": entrant("popularity", lists={"logloss": around(0.9), "hr@10": around(0.9)}),
        "item_knn": entrant("item_knn", lists={"logloss": around(0.5), "hr@10": around(0.5)}),
    }
    found = evaluation(both)
    assert best_baseline(found, "hr@10") == "popularity"
    assert best_baseline(found, "logloss") == "item_knn"
    assert best_baseline(found, "auc") is None


def test_a_difference_whose_interval_holds_zero_is_neither_better_nor_worse():
    assert is_better(None) is None
    assert is_better(comparison("a", "b", "mrr", (0.0, 0.1, 0.2))) is None
    assert is_better(comparison("a", "b", "mrr", (0.1, 0.2, 0.3))) is True
    assert is_better(comparison("a", "b", "logloss", (0.1, 0.2, 0.3))) is False


def test_a_first_day_has_nothing_to_be_compared_with():
    lines = changes(brief(rows=3, seconds=2.0), None)
    assert lines == [
        Change(what="events published", before="", now="3"),
        Change(what="alarms", before="", now="none"),
        Change(what="seconds of work", before="", now="2"),
    ]


def test_changes_are_told_against_the_run_before():
    before = brief(rows=1500, items=5, people=9, seconds=100.0, alarms=("old",), version=1)
    now = brief(
        rows=1200, items=7, people=9, seconds=150.0, alarms=("new", "old"), version=2,
        challenger="tiger", metric="mrr", value=around(0.5), began_with="1998-04-19",
    )  # fmt: skip
    told = {line.what: (line.before, line.now, line.change) for line in changes(now, before)}
    assert told["events published"] == ("1,500", "1,200", "−300")
    assert told["items"] == ("5", "7", "2 new")
    assert told["people with a history"] == ("9", "9", "")
    assert told["challenger's mrr"] == ("–", "0.5000", "")
    assert told["weights begun from"] == ("–", "1998-04-19", "")
    assert told["champion's version"] == ("1", "2", "")
    assert told["alarms"] == ("1", "2", "1 new")
    assert told["seconds of work"] == ("100", "150", "+50%")
    assert "rows quarantined" not in told
