import json

import pytest

from tests.evaluation_records import around, board, comparison, entrant, evaluation
from training.evaluation.metrics import FEEDBACK, LISTS
from training.evaluation.record import (
    VERSION,
    Evaluation,
    Interval,
    RecordError,
    Slice,
    evaluation_of,
)

LOSS = (0.01, 0.02, 0.03)


@pytest.fixture
def record():
    lists = {"ndcg@10": around(0.1), "hr@10": around(0.2)}
    ranks = board({"logloss": around(0.6)}, slices=("light_users",), num_users=150)
    return evaluation(
        {
            "tiger": entrant("tiger", lists=lists, feedback=ranks, slices=("new_items:",)),
            "popularity": entrant("popularity", lists=lists),
            "champion": entrant("champion", family="sasrec", lists=lists),
        },
        [
            comparison("tiger", "champion", "logloss", LOSS),
            comparison("tiger", "champion", "logloss", LOSS, slice_name="light_users"),
            comparison("popularity", "champion", "ndcg@10", LOSS),
        ],
        warnings=("old",),
    )


def test_a_record_survives_json(record):
    text = json.dumps(record.to_json(), sort_keys=True)
    again = Evaluation.from_json(json.loads(text))
    assert again == record
    assert again.entrants["tiger"].boards[LISTS].slices["all"].metrics["hr@10"] == around(0.2)


def test_other_keys_beside_a_record_are_left_alone(record):
    step = {**record.to_json(), "seconds": 3.0, "message": "done"}
    assert evaluation_of(json.loads(json.dumps(step))) == record
    assert evaluation_of({"seconds": 3.0, "status": "failed"}) is None


@pytest.mark.parametrize(("version", "shown"), [(None, 1), (VERSION + 1, VERSION + 1)])
def test_a_record_of_another_version_is_refused(record, version, shown):
    found = {**record.to_json(), "record_version": version}
    with pytest.raises(RecordError, match=f"record of version {shown}, .*run evaluate_recommender"):
        evaluation_of(found)


def test_what_is_not_measured_is_none(record):
    assert record.entrants["popularity"].on(FEEDBACK) is None
    assert record.entrants["popularity"].value("logloss") is None
    assert record.entrants["tiger"].on(LISTS, "new_items") == Slice(0, 0)
    assert record.find("tiger", "popularity", "logloss") is None
    with pytest.raises(ValueError, match=r"no 'hr@10' of tiger against popularity on 'all'; it"):
        record.compared("tiger", "popularity", "hr@10")


def test_a_gain_is_a_difference_with_more_as_the_better(record):
    row = record.compared("tiger", "champion", "logloss")
    assert row.gain == Interval(-0.03, -0.02, -0.01)
    more = comparison("tiger", "champion", "ndcg@10", (-0.03, -0.02, -0.01))
    assert more.gain == more.difference


def test_slices_are_those_that_were_compared(record):
    assert record.slices("tiger", "champion", "logloss") == ["light_users"]
    assert record.slices("popularity", "champion", "ndcg@10") == []


def test_a_brief_record_is_of_all_targets_and_the_challenger(record):
    brief = record.brief()
    assert [row.slice for row in brief.comparisons] == ["all"]
    assert list(brief.entrants["tiger"].boards[FEEDBACK].slices) == ["all"]
    assert brief.means() == record.means()
    assert Evaluation.from_json(brief.to_json()) == brief


def test_means_and_words_are_of_all_targets(record):
    assert record.means()["tiger.logloss"] == 0.6
    assert record.in_words() == (
        "ndcg@10 on 200 users: tiger 0.1000, popularity 0.1000, champion 0.1000"
    )
    of_feedback = evaluation(record.entrants, primary_metric="logloss")
    assert of_feedback.in_words() == "logloss on 150 users: tiger 0.6000"
