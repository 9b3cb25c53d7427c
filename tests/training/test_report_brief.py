import json

import pytest

from feature_store.run_record import write_step
from tests.evaluation_records import around, comparison, entrant, evaluation
from tests.report_days import DAY, measured, record, whole_day
from training.report.brief import Brief, brief_of, read_briefs, write_brief
from training.report.outcome import outcome_of


def brief(steps, found=None, strengths=None):
    return brief_of(DAY, steps, outcome_of(steps), found, strengths or {})


def test_a_day_in_numbers_comes_back_from_its_json():
    steps = whole_day(
        build_items={"rows": 7, "seconds": 2.0},
        build_user_sequences={"rows": 3, "seconds": 1.25},
        train_recommender={"families": {"tiger": {"warm_start": {"day": "1998-04-19"}}}},
    )
    made = brief(steps, measured(), {3: 4, -1: 1})
    assert (made.rows, made.quarantined, made.items, made.people) == (9, 1, 7, 3)
    assert (made.began_with, made.seconds, made.version) == ("1998-04-19", 3.2, 2)
    assert Brief.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_the_gain_is_against_the_champion_and_more_is_better():
    entrants = {
        "tiger": entrant("tiger", lists={"ndcg@10": around(0.2)}),
        "champion": entrant("champion", lists={"ndcg@10": around(0.3)}),
    }
    row = comparison("tiger", "champion", "ndcg@10", (-0.2, -0.1, 0.0))
    made = brief(whole_day(), evaluation(entrants, [row]))
    assert made.gain == row.gain
    assert made.champion == around(0.3)


def test_leads_are_shares_of_the_reference_or_of_the_champion_that_it_is():
    entrants = {label: entrant(label) for label in ("tiger", "champion", "reference")}
    rows = [
        comparison("tiger", "champion", "ndcg@10", (-0.02, -0.01, 0.0)),
        comparison("tiger", "reference", "ndcg@10", (-0.06, -0.04, -0.02)),
        comparison("champion", "reference", "ndcg@10", (-0.04, -0.02, 0.0)),
    ]
    made = brief(whole_day(), evaluation(entrants, rows))
    assert made.lead.point == pytest.approx(-0.2)
    assert made.champion_lead == pytest.approx(-0.1)
    del entrants["reference"]
    alone = brief(whole_day(), evaluation(entrants, rows[:1]))
    assert (alone.lead.point, alone.champion_lead) == (pytest.approx(-0.05), 0.0)
    del entrants["champion"]
    first = brief(whole_day(), evaluation(entrants))
    assert (first.lead, first.champion_lead) == (None, None)


def test_a_json_of_another_version_is_not_read():
    plain = brief(whole_day()).to_json()
    assert Brief.from_json({**plain, "brief_version": 0}) is None
    assert Brief.from_json({}) is None


def test_days_come_from_their_json_and_without_one_from_their_records(tmp_path):
    write_step(tmp_path, DAY, "build_items", {"rows": 7, "seconds": 1.0})
    [read] = read_briefs(tmp_path)
    assert (read.kind, read.items) == ("data_only", 7)
    kept = brief(whole_day(), measured())
    write_brief(tmp_path, kept)
    assert read_briefs(tmp_path) == [kept]


def test_many_days_are_read_without_opening_a_record(tmp_path, monkeypatch):
    days = [f"1998-04-{number:02}" for number in range(1, 31)]
    for day in days:
        (tmp_path / day / "steps").mkdir(parents=True)
        write_brief(tmp_path, Brief(day=day, kind="promoted", sentence="."))
    monkeypatch.setattr("training.report.brief.read_steps", lambda *given: 1 / 0)
    assert [read.day for read in read_briefs(tmp_path)] == days


def test_an_evaluation_of_an_older_version_leaves_the_day_without_a_metric(tmp_path):
    for name, facts in whole_day(evaluate_recommender={"entrants": {}}).items():
        write_step(tmp_path, DAY, name, facts)
    [read] = read_briefs(tmp_path)
    assert (read.kind, read.metric) == ("promoted", "")
    write_step(tmp_path, DAY, "evaluate_recommender", record())
    assert read_briefs(tmp_path)[0].metric == "ndcg@10"
