"""compare_answers: one word from the table, the service and the evaluation, or the day fails."""

import itertools
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.recommender_world import DAY, NUM_USERS, tables_of
from tests.service_world import bundle_of, register
from tests.training.test_promotion_programs import NEXT_DAY, another, config, publish, published
from training.programs import compare_answers, recommend, write_report
from training.programs.compare_answers import NUM_USERS as ASKED
from training.programs.compare_answers import Lists, compare
from training.programs.errors import ProgramError
from training.registry.predictor import BundlePredictor
from training.service.served import Served

FAMILIES = ("item_knn", "tiger", "unigrf")


@pytest.fixture(scope="module")
def home(mlflow_settings, tmp_path_factory):
    """Two days of tables and a version of each family."""
    folder = tmp_path_factory.mktemp("compared")
    task = another(published(mlflow_settings, folder), day=NEXT_DAY)
    return task, {name: register(task, bundle_of(name, folder / name)) for name in FAMILIES}


def serving(home, family, **sections):
    """The task of a day whose champion is of this family and has written the table."""
    task, versions = home
    task = another(task, config=config(task.config.name, **sections)) if sections else task
    task.registry.promote(versions[family], day=NEXT_DAY.isoformat(), reason="test")
    recommend.run(another(task, step="recommend"))
    return another(task, step="compare_answers")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "sections",
    [
        {"recommendations": {"num_items": 10}},
        {"evaluation": {"holdout_days": 7, "validation_days": 2, "asked_at": "event"}},
        {"recommendations": {"num_items": 5, "ranked_candidates": 30, "exclude_seen": False}},
    ],
    ids=["midnight", "event", "ranked"],
)
def test_an_honest_day_agrees(home, family, sections):
    task = serving(home, family, **sections)
    facts = compare_answers.run(task)
    places = task.config.recommendations.num_items * ASKED
    assert (facts["users"], facts["places"]) == (ASKED, places)
    assert 0 <= facts["largest_difference"] <= 1e-5 == facts["tolerance"]
    assert facts["model_family"] == family
    assert facts["message"].startswith(
        f"table, service and evaluation agree: 64 people, {places} places, largest difference "
    )


def test_who_is_asked_about_follows_from_the_day_and_the_ids(home):
    task = serving(home, "item_knn")
    rows = compare_answers.sample(task.store, task)
    again = compare_answers.sample(task.store, task)
    assert rows.equals(again) and rows.num_rows == ASKED < NUM_USERS
    ids = rows["user_id"].to_pylist()
    assert ids == sorted(ids)
    whole = tables_of(task).read("recommendations", partition=NEXT_DAY)
    moved = whole.set_column(0, "day", pa.array([DAY] * NUM_USERS, pa.date32()))
    publish(tables_of(task), "recommendations", moved, DAY)
    other = compare_answers.sample(task.store, another(task, day=DAY))
    assert set(other["user_id"].to_pylist()) != set(ids)


def tampered_table(task, change):
    """The day's table with one person's row changed, and who that is."""
    store = tables_of(task)
    asked = compare_answers.sample(store, task)["user_id"].to_pylist()
    rows = store.read("recommendations", partition=NEXT_DAY)
    changed = [change(row) if row["user_id"] == asked[9] else row for row in rows.to_pylist()]
    publish(store, "recommendations", pa.Table.from_pylist(changed, rows.schema), NEXT_DAY)
    return asked[9]


def exchanged(row):
    """Second and third item in each other's place, scores as they were."""
    first, second, third, *rest = row["item_ids"]
    return row | {"item_ids": [first, third, second, *rest]}


def test_a_table_with_two_items_in_each_others_place_is_refused(home):
    task = serving(home, "tiger")
    user = tampered_table(task, exchanged)
    [row] = [
        each
        for each in tables_of(task).read("recommendations", partition=NEXT_DAY).to_pylist()
        if each["user_id"] == user
    ]
    item, other = row["item_ids"][1:3]
    says = (
        f"tiger version .* is not heard alike about 1 of 64 people .*: user '{user}' at place 2: "
        rf"recommendations {item} \(.*\), the service {other} \(.*\), the evaluation {other} \("
    )
    with pytest.raises(ProgramError, match=says):
        compare_answers.run(task)


def test_a_table_with_another_score_is_refused(home):
    task = serving(home, "tiger")
    user = tampered_table(
        task, lambda row: row | {"scores": [row["scores"][0] + 0.01, *row["scores"][1:]]}
    )
    with pytest.raises(ProgramError, match=f"1 of 64 people .*: user '{user}' at place 1: "):
        compare_answers.run(task)


def test_a_table_with_a_shorter_list_is_refused(home):
    task = serving(home, "item_knn")
    cut = ("item_ids", "item_indices", "scores")
    user = tampered_table(task, lambda row: row | {name: row[name][:-1] for name in cut})
    says = f"user '{user}' at place 5: recommendations nothing, the service item-"
    with pytest.raises(ProgramError, match=says):
        compare_answers.run(task)


def test_a_service_that_says_something_else_is_refused(home, monkeypatch):
    task, honest = serving(home, "unigrf"), Served.recommend

    def shifted(self, requests, k, exclude_seen):
        return [
            answer.model_copy(update={"scores": [score + 1e-3 for score in answer.scores]})
            for answer in honest(self, requests, k, exclude_seen)
        ]

    monkeypatch.setattr(Served, "recommend", shifted)
    with pytest.raises(
        ProgramError, match=r"unigrf version .* about 64 of 64 people .*and 61 more"
    ):
        compare_answers.run(task)


def test_an_evaluation_that_says_something_else_is_refused(home, monkeypatch):
    task, honest = serving(home, "tiger"), BundlePredictor.queries

    def forgetful(self, histories, questions, *, exclude_seen):
        return honest(self, histories, questions, exclude_seen=False)

    monkeypatch.setattr(BundlePredictor, "queries", forgetful)
    with pytest.raises(ProgramError, match=r"is not heard alike about .* of 64 people"):
        compare_answers.run(task)


def test_a_table_of_another_version_is_refused(home):
    task, versions = home
    serving(home, "item_knn")
    task.registry.promote(versions["tiger"], day=NEXT_DAY.isoformat(), reason="by hand")
    says = r"were written by version \d+ .*, the champion is version .*; run recommend for that day"
    with pytest.raises(ProgramError, match=says):
        compare_answers.run(another(task, step="compare_answers"))


def test_people_without_a_history_are_refused(home):
    task = serving(home, "item_knn")
    rows = tables_of(task).read("recommendations", partition=NEXT_DAY)
    names = pa.array([f"stranger-{number:03d}" for number in range(rows.num_rows)])
    strangers = rows.set_column(1, "user_id", names)
    publish(tables_of(task), "recommendations", strangers, NEXT_DAY)
    with pytest.raises(ProgramError, match=r"has user 'stranger-.* and 63 more without a history"):
        compare_answers.run(task)


def test_nothing_is_compared_where_nothing_is_recommended(mlflow_settings, tmp_path):
    task = another(published(mlflow_settings, tmp_path), step="compare_answers")
    nobody = {"status": "unchanged", "message": "no champion yet, so nothing is compared"}
    assert compare_answers.run(task) == nobody
    version = register(task, bundle_of("item_knn", tmp_path / "bundle"))
    task.registry.promote(version, day=DAY.isoformat(), reason="test")
    never = compare_answers.run(task)  # as after a champion that only ranks: no list was published
    assert never["message"] == f"recommendations has nobody of {DAY}, so nothing is compared"
    recommend.run(another(task, step="recommend"))
    empty = compare_answers.run(another(task, day=NEXT_DAY))
    assert empty["message"] == "recommendations has nobody of 2024-04-01, so nothing is compared"


def test_the_report_says_what_was_compared(home):
    task = serving(home, "item_knn")
    steps = {"recommend": {"rows": NUM_USERS}, "compare_answers": compare_answers.run(task)}
    people, *_ = write_report._served(another(task, step="write_report"), steps, [])
    assert "Asked again, table, service and evaluation agree: 64 people, 320 " in people.say


def says(name, items, scores):
    return Lists(name, [np.asarray(items, object)], [np.asarray(scores, np.float64)])


TABLE = says("the table", ["a", "b", "c"], [3.0, 2.0, 1.0])
AGREE = {
    "the same": (TABLE, says("x", ["a", "b", "c"], [3.0, 2.0, 1.0])),
    "rounding": (TABLE, says("x", ["a", "b", "c"], [3.00002, 2.0, 0.999995])),
    "large scores": (says("x", ["a"], [-1000.0]), says("y", ["a"], [-1000.009])),
    "a tie": (says("x", ["a", "b"], [2.0, 2.0]), says("y", ["b", "a"], [2.0, 2.0])),
    "a tie at the end": (says("x", ["a", "b"], [2.0, 1.0]), says("y", ["a", "c"], [2.0, 1.0])),
    "nobody has any": (says("x", [], []), says("y", [], [])),
}
DIFFER = {
    "a score": (TABLE, says("x", ["a", "b", "c"], [3.0, 2.0001, 1.0]), 2),
    "large scores": (says("x", ["a"], [-1000.0]), says("y", ["a"], [-1000.02]), 1),
    "an order": (TABLE, says("x", ["b", "a", "c"], [3.0, 2.0, 1.0]), 1),
    "an item before the end": (TABLE, says("x", ["a", "d", "c"], [3.0, 2.0, 1.0]), 2),
    "a length": (TABLE, says("x", ["a", "b"], [3.0, 2.0]), 3),
    "no number": (TABLE, says("x", ["a", "b", "c"], [3.0, np.nan, 1.0]), 2),
}


@pytest.mark.parametrize("case", AGREE)
def test_ties_and_rounding_are_agreement(case):
    for said in itertools.permutations(AGREE[case]):
        facts = compare(said, ["u"], because="a model")
        assert facts["largest_difference"] <= 1e-5
        assert facts["tied_places"] == {"a tie": 2, "a tie at the end": 1}.get(case, 0)


@pytest.mark.parametrize("case", DIFFER)
def test_anything_else_is_told_by_its_place(case):
    *said, place = DIFFER[case]
    for order in itertools.permutations(said):
        with pytest.raises(ProgramError, match=f"about 1 of 1 people .*user 'u' at place {place}:"):
            compare(order, ["u"], because="a model")


def test_a_third_that_differs_is_told_beside_the_two_that_agree():
    third = says("the evaluation", ["a", "b", "d"], [3.0, 2.0, 1.5])
    with pytest.raises(ProgramError) as refused:
        compare([TABLE, replace(TABLE, says="the service"), third], ["u"], because="a model")
    assert (
        "user 'u' at place 3: the table c (1), the service c (1), the evaluation d (1.5). Serve"
        in str(refused.value)
    )
