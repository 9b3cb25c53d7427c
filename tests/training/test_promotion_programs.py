"""evaluate_recommender, promote_recommender and recommend over two days of the small world."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store.errors import TableRefused
from feature_store.settings import Settings
from tests.recommender_world import (
    DAY,
    ITEM_IDS,
    NUM_ITEMS,
    NUM_KINDS,
    NUM_USERS,
    catalogue,
    histories,
    tables_of,
)
from tests.recommender_world import trained_bundle as train
from training.config import TrainingConfig
from training.evaluation.record import Evaluation
from training.models.interface import PAD, TopK
from training.programs import evaluate_recommender, promote_recommender, recommend
from training.programs.entrants import warnings_about_champion
from training.programs.errors import ProgramError
from training.programs.interface import Task
from training.registry.bundle import Bundle, BundleCorruptError
from training.registry.predictor import BundlePredictor

NEXT_DAY = DAY + timedelta(days=1)
_NAMES = itertools.count()


def config(name, **sections):
    return TrainingConfig.model_validate(
        {
            "name": name,
            "models": {"challenger": "item_knn", "baselines": ["popularity"]},
            "evaluation": {
                "holdout_days": 7,
                "validation_days": 2,
                "cutoffs": [1, 10],
                "bootstrap_samples": 200,
            },
            "recommendations": {"num_items": 5},
            **sections,
        }
    )


def published(mlflow_settings, folder):
    """A task of the first day over published tables, in a preset that no other test has."""
    settings = Settings(
        home=mlflow_settings.home,
        warehouse=str(folder / "warehouse"),
        catalog_uri=f"sqlite:///{folder}/catalog.db",
        device="cpu",
    )
    made = Task(settings, config(f"world-{next(_NAMES)}"), DAY, step="evaluate_recommender")
    publish_items(tables_of(made))
    for day in (DAY, NEXT_DAY):
        publish(tables_of(made), "user_sequences", histories(day, seed=1), day)
    return made


@pytest.fixture
def task(mlflow_settings, tmp_path):
    """Two days of tables; nothing is trained yet."""
    return published(mlflow_settings, tmp_path)


@pytest.fixture(scope="module")
def served(mlflow_settings, tmp_path_factory):
    """The first day with its champion, for tests that leave candidates and aliases as they are."""
    folder = tmp_path_factory.mktemp("served")
    made = published(mlflow_settings, folder)
    return made, *run_day(made, folder / "bundles")


def another(task, **changes):
    """The same task with changes, over the same open registry."""
    made = replace(task, **changes)
    made.__dict__.update(registry=task.registry)
    return made


def publish(store, table, rows, day):
    stage = store.stage(table, day=day, job="test")
    stage.write(rows)
    return store.publish(stage)


def publish_items(store):
    items = catalogue()
    attributes = pa.array([[]] * NUM_ITEMS, pa.map_(pa.string(), pa.string()))
    rows = items.append_column("first_day", pa.array([DAY] * NUM_ITEMS, pa.date32()))
    for name in ("first_listed_day", "last_listed_day"):
        rows = rows.append_column(name, pa.nulls(NUM_ITEMS, pa.date32()))
    for name in ("title", "text"):
        rows = rows.append_column(name, pa.array([None] * NUM_ITEMS, pa.string()))
    publish(store, "items", rows.append_column("attributes", attributes), DAY)


def keep(task, family, directory, *, seed=1):
    """Train a family on the day's published histories and keep it, as train_recommender does."""
    content = tables_of(task).content_hash("user_sequences", partition=task.day)
    inputs = {"user_sequences": {"snapshot_id": 1, "content_hash": content}}
    bundle = train(directory, family, day=task.day, inputs=inputs, seed=seed)
    day = task.day.isoformat()
    with task.registry.run(day=day, step="train_recommender", family=family) as run:
        run.log_candidate(bundle)


def run_day(task, directory, **changes):
    """Both families trained, evaluated and judged for one day."""
    for family in ("item_knn", "popularity"):
        keep(task, family, directory / f"{task.day}-{family}", **changes)
    return evaluate(task), promote(task)


def evaluate(task):
    return evaluate_recommender.run(another(task, step="evaluate_recommender"))


def promote(task):
    return promote_recommender.run(another(task, step="promote_recommender"))


def test_two_days_find_a_first_champion_and_challenge_it(task, tmp_path):
    evaluated, promoted = run_day(task, tmp_path)
    record = Evaluation.from_json(evaluated)
    knn, popularity = (
        record.entrants[label].value("hr@10") for label in ("item_knn", "popularity")
    )
    assert knn.point > 0.7 > 0.2 > popularity.point
    assert knn.low < knn.point < knn.high
    assert (record.sizes.num_users, record.sizes.num_targets) == (NUM_USERS, 7 * NUM_USERS)
    assert promoted["decision"] == "promote" and promoted["champion_version"] == 1

    second = another(task, day=NEXT_DAY)
    evaluated, promoted = run_day(second, tmp_path)
    assert evaluated["entrants"]["champion"]["day"] == DAY.isoformat()
    assert evaluated["warnings"] == []
    rules = {reason["rule"] for reason in promoted["verdict"]["reasons"]}
    assert {"minimum_users", "baseline", "champion", "guard", "legal", "consistent"} <= rules
    assert promoted["decision"] == "promote"
    assert (promoted["champion_version"], promoted["previous_version"]) == (2, 1)
    stored = task.registry.version(2).verdicts[NEXT_DAY.isoformat()]
    assert stored["decision"] == "promote"


def test_running_a_day_again_adds_no_version_and_moves_nothing(task, tmp_path):
    first, _ = run_day(task, tmp_path / "first")
    again, promoted = run_day(task, tmp_path / "again")
    assert again["entrants"]["item_knn"]["digest"] == first["entrants"]["item_knn"]["digest"]
    assert (promoted["decision"], promoted["status"]) == ("promote", "unchanged")
    assert promoted["champion_version"] == 1
    assert len(task.registry.versions()) == 1 and len(task.registry.history()) == 1
    assert task.registry.version(1).verdicts[DAY.isoformat()]["decision"] == "promote"


def test_a_day_that_is_run_again_faces_the_champion_from_before_its_own_promotion(task, tmp_path):
    run_day(task, tmp_path / "before")
    second = another(task, day=NEXT_DAY)
    first, promoted = run_day(second, tmp_path)
    assert (promoted["previous_version"], promoted["champion_version"]) == (1, 2)
    again, rerun = evaluate(second), promote(second)
    assert again["status"] == "unchanged" and again["run_id"] == first["run_id"]
    assert again["entrants"]["champion"]["day"] == DAY.isoformat()
    assert (rerun["status"], rerun["decision"]) == ("unchanged", "promote")
    assert len(task.registry.history()) == 2


THIRD_DAY = NEXT_DAY + timedelta(days=1)


@pytest.fixture
def third(task, tmp_path):
    """The third day, its candidates there, after two whose champions were promoted."""
    run_day(task, tmp_path / "first")
    run_day(another(task, day=NEXT_DAY), tmp_path / "second", seed=2)
    publish(tables_of(task), "user_sequences", histories(THIRD_DAY, seed=1), THIRD_DAY)
    made = another(task, day=THIRD_DAY)
    for family in ("item_knn", "popularity"):
        keep(made, family, tmp_path / f"third-{family}", seed=3)
    return made


def test_a_champion_that_a_baseline_beats_and_goes_on_serving_is_an_alarm(task, tmp_path, caplog):
    run_day(task, tmp_path / "first")
    popularity = task.registry.find_candidate(DAY.isoformat(), "popularity")
    version = task.registry.register(popularity)
    task.registry.promote(version, day=DAY.isoformat(), reason="by hand")
    models = {"challenger": "popularity", "baselines": ["item_knn"]}
    gate = {"on_baseline_win": "refuse"}
    strict = config(task.config.name, models=models, gate=gate)
    _, refused = run_day(another(task, day=NEXT_DAY, config=strict), tmp_path / "second")
    alarm, lost = refused["alarms"]
    assert "more than 5.0% to the reference (item_knn of 2024-03-31)" in lost
    assert (refused["decision"], refused["status"]) == ("refuse", "unchanged")
    assert alarm.startswith("the champion (popularity of 2024-03-31) is worse than item_knn beyond")
    assert refused["message"].endswith("; 2 alarm(s)")
    assert f"champion: alarm: {alarm}" in caplog.text
    lenient = another(task, day=NEXT_DAY, config=config(task.config.name, models=models))
    assert promote(lenient)["alarms"] == []  # item_knn serves in its place


def test_the_best_champion_of_the_last_weeks_is_measured_on_todays_questions(third):
    facts = evaluate(third)
    assert facts["entrants"]["champion"]["day"] == NEXT_DAY.isoformat()
    assert facts["entrants"]["reference"]["day"] == DAY.isoformat()
    found = Evaluation.from_json(facts)
    row = found.compared("champion", "reference", "ndcg@10")
    assert row.num_users == NUM_USERS
    promoted = promote(third)
    faced = [r for r in promoted["verdict"]["reasons"] if r["rule"] == "reference"]
    assert len(faced) == 1 and "item_knn of 2024-03-31" in faced[0]["detail"]
    number = promoted["challenger_version"]
    standing = third.registry.version(number).verdicts[THIRD_DAY.isoformat()]["standing"]
    assert standing["digest"] == found.entrants["item_knn"].digest
    assert promoted["decision"] == "promote"
    again = evaluate(third)  # asks the same of the same, whoever serves now
    assert again["status"] == "unchanged" and again["run_id"] == facts["run_id"]


def test_a_champion_that_is_the_best_of_the_weeks_is_faced_once(third):
    weeks = config(third.config.name, gate={"champion_rule": "better"})
    assert "reference" not in evaluate(another(third, config=weeks))["entrants"]
    third.registry.rollback(reason="complaints")  # the first champion serves, the second may not
    assert "reference" not in evaluate(third)["entrants"]


def test_a_reference_that_is_gone_is_told_and_nobody_stands_in(third):
    first = third.registry.fetch(third.registry.version(1))
    weights = next(first.directory.glob("model/*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-8])
    facts = evaluate(third)
    assert "reference" not in facts["entrants"]
    [told] = facts["warnings"]
    assert told.startswith("version 1 (item_knn of 2024-03-31) can't be the reference any more")
    assert promote(third)["decision"] == "promote"


def test_a_reference_of_another_catalogue_is_told(third, monkeypatch):
    items = Bundle.items

    def renumbered(bundle):
        found = items(bundle)
        return (
            found.take(list(range(NUM_ITEMS))[::-1])
            if bundle.origin.day == DAY.isoformat()
            else found
        )

    monkeypatch.setattr(Bundle, "items", renumbered)
    facts = evaluate(third)
    assert "reference" not in facts["entrants"]
    assert "its items are numbered in another way than today's" in facts["warnings"][0]


def test_a_day_whose_model_was_promoted_on_another_day_faces_it(task, tmp_path):
    run_day(task, tmp_path / "before")
    second = another(task, day=NEXT_DAY)
    run_day(second, tmp_path)
    task.registry.promote(task.registry.version(1), day=NEXT_DAY.isoformat(), reason="by hand")
    assert evaluate(task)["entrants"]["champion"]["day"] == DAY.isoformat()


def test_the_same_bundles_on_the_same_rows_are_not_measured_twice(task, tmp_path):
    for family in ("item_knn", "popularity"):
        keep(task, family, tmp_path / family)
    once, again = evaluate(task), evaluate(task)
    assert again["status"] == "unchanged" and again["run_id"] == once["run_id"]


def test_promoting_again_without_evaluating_again_changes_nothing(served):
    task, _, first = served
    again = promote(task)
    assert (first["status"], again["status"]) == ("done", "unchanged")
    assert again["champion_version"] == 1 and len(task.registry.history()) == 1


def test_the_baseline_is_promoted_where_the_challenger_loses_to_it(task, tmp_path):
    swapped = {"challenger": "popularity", "baselines": ["item_knn"]}
    losing = another(task, config=config(task.config.name, models=swapped))
    _, promoted = run_day(losing, tmp_path)
    assert promoted["decision"] == "promote_baseline" and promoted["champion_family"] == "item_knn"
    assert [version.family for version in task.registry.versions()] == ["popularity", "item_knn"]
    assert promoted["challenger_version"] == 1 and promoted["champion_version"] == 2


def test_a_refused_challenger_is_registered_with_its_verdict_and_serves_nobody(task, tmp_path):
    strict = another(task, config=config(task.config.name, gate={"minimum_users": 10_000}))
    _, promoted = run_day(strict, tmp_path)
    assert (promoted["decision"], promoted["champion_version"]) == ("refuse", None)
    assert "150 users evaluated, at least 10,000 needed" in promoted["message"]
    assert task.registry.version(1).verdicts[DAY.isoformat()]["decision"] == "refuse"
    assert task.registry.champion() is None


def test_a_bundle_that_a_person_rolled_back_is_not_promoted_by_a_rerun(task, tmp_path):
    run_day(task, tmp_path)
    run_day(another(task, day=NEXT_DAY), tmp_path)
    task.registry.rollback(reason="complaints")
    second = another(task, day=NEXT_DAY)
    evaluate(second)
    promoted = promote(second)
    assert promoted["decision"] == "refuse" and promoted["champion_version"] == 1
    assert "this very bundle was rolled back before" in promoted["message"]


def test_every_users_values_are_kept_with_the_evaluation(served):
    task, evaluated, _ = served
    run_id = evaluated["run_id"]
    place = task.registry._local(run_id, "lists.parquet")
    rows = pq.read_table(place).to_pandas()
    ours = rows[(rows["label"] == "item_knn") & (rows["slice"] == "all")]
    assert len(ours) == NUM_USERS and ours["num_targets"].eq(7).all()
    found = Evaluation.from_json(evaluated).entrants["item_knn"].value("mrr").point
    assert np.isclose(ours["mrr"].mean(), found)


def test_a_champion_that_saw_the_targets_is_said_to_have():
    trained = {"protocol": "rolling", "train_until": "2024-03-23"}
    for begin, warned in (("2024-03-25", False), ("2024-03-23", False), ("2024-03-10", True)):
        ours = {"protocol": "rolling", "validation_until": begin}
        found = [*warnings_about_champion(trained, ours)]
        assert bool(found) == warned
    assert found == [
        "the champion's weights saw events until 2024-03-23, the targets begin 2024-03-10: "
        "the comparison favours the champion"
    ]
    leave_last_out = {"protocol": "leave_last_out"}
    found = warnings_about_champion(leave_last_out, leave_last_out)
    assert "may have seen some targets" in next(iter(found))


def test_candidates_of_another_split_are_refused(served):
    task, _, _ = served
    shorter = {**task.config.evaluation.model_dump(), "holdout_days": 5}
    other = another(task, config=config(task.config.name, evaluation=shorter))
    with pytest.raises(
        ProgramError, match=r"item_knn was trained under another split \(train_until, valid"
    ):
        evaluate(other)


def test_candidates_of_other_rows_are_refused(task, tmp_path):
    run_day(task, tmp_path)
    publish(tables_of(task), "user_sequences", histories(DAY, seed=2), DAY)
    with pytest.raises(ProgramError, match="item_knn was trained on other rows of 'user_seq"):
        evaluate(task)


def test_a_day_without_candidates_says_what_to_run(task, tmp_path):
    with pytest.raises(ProgramError, match=r"no candidate of item_knn, popularity "):
        evaluate(task)
    keep(task, "item_knn", tmp_path / "b")
    with pytest.raises(ProgramError, match=r"no candidate of popularity for .*train_baselines"):
        evaluate(task)


def test_a_day_without_histories_says_what_to_run(task):
    empty = another(task, day=DAY - timedelta(days=9))
    with pytest.raises(ProgramError, match="'user_sequences' has no rows for 2024-03-22; run bui"):
        evaluate(empty)


def test_a_day_without_targets_says_what_to_change(task, tmp_path):
    later = DAY + timedelta(days=300)
    publish(
        tables_of(task),
        "user_sequences",
        histories(DAY).set_column(0, "day", pa.array([later] * NUM_USERS, pa.date32())),
        later,
    )
    for family in ("item_knn", "popularity"):
        keep(another(task, day=later), family, tmp_path / family)
    with pytest.raises(ProgramError, match="has no target to evaluate on"):
        evaluate(another(task, day=later))


def test_there_is_no_promotion_without_an_evaluation(task):
    with pytest.raises(ProgramError, match="has no evaluation; run evaluate_recommender"):
        promote(task)


def test_an_evaluation_that_an_older_version_kept_is_measured_anew(task, tmp_path):
    run_day(task, tmp_path)
    day, step = DAY.isoformat(), "evaluate_recommender"
    with task.registry.run(day=day, step=step, inputs_digest="of before") as tracked:
        tracked.log_json("evaluation.json", {"entrants": {}, "comparisons": []})
    with pytest.raises(ProgramError, match=r"version 1, .*; run evaluate_recommender again"):
        promote(task)
    assert "status" not in evaluate(task)
    assert promote(task)["decision"] == "promote"


def test_a_candidate_trained_after_the_evaluation_is_not_promoted(task, tmp_path):
    for family in ("item_knn", "popularity"):
        keep(task, family, tmp_path / family)
    evaluate(task)
    keep(task, "item_knn", tmp_path / "later", seed=3)
    with pytest.raises(ProgramError, match="item_knn was trained again since the evaluation"):
        promote(task)


def test_a_champion_that_moved_since_the_evaluation_is_not_replaced(task, tmp_path):
    run_day(task, tmp_path)
    second = another(task, day=NEXT_DAY)
    for family in ("item_knn", "popularity"):
        keep(second, family, tmp_path / f"second-{family}")
    evaluate(second)
    keep(another(task, day=DAY), "item_knn", tmp_path / "third", seed=3)
    third = task.registry.register(task.registry.find_candidate(DAY.isoformat(), "item_knn"))
    task.registry.promote(third, day=DAY.isoformat(), reason="by hand")
    with pytest.raises(ProgramError, match="the champion has moved since the evaluation"):
        promote(second)


def test_an_evaluation_of_another_challenger_is_not_decided_on(served):
    task, _, _ = served
    swapped = {"challenger": "popularity", "baselines": ["item_knn"]}
    other = another(task, config=config(task.config.name, models=swapped))
    with pytest.raises(ProgramError, match="the evaluation's challenger is 'item_knn', the pre"):
        promote(other)


def recommended(task):
    facts = recommend.run(another(task, step="recommend"))
    return facts, tables_of(task).read("recommendations", partition=task.day).to_pylist()


def test_the_champions_recommendations_are_new_and_of_the_users_kind(served):
    task, _, _ = served
    facts, rows = recommended(task)
    sequences = histories(DAY, seed=1)
    assert facts["rows"] == len(rows) == NUM_USERS
    assert [row["user_id"] for row in rows] == sequences["user_id"].to_pylist()
    right = 0
    for row, seen in zip(rows, sequences["item_indices"].to_pylist(), strict=True):
        assert row["item_ids"] == [ITEM_IDS[index] for index in row["item_indices"]]
        assert len(row["item_ids"]) == 5 and not set(seen) & set(row["item_indices"])
        assert row["scores"] == sorted(row["scores"], reverse=True)
        assert (row["model_family"], row["model_version"]) == ("item_knn", "1")
        right += all(index % NUM_KINDS == seen[0] % NUM_KINDS for index in row["item_indices"])
    assert right > 0.9 * NUM_USERS


@pytest.mark.parametrize("moment", ["day_end", "event"])
def test_lists_are_asked_for_when_the_champion_was_judged(served, monkeypatch, moment):
    task, _, _ = served
    midnight = datetime.combine(task.day + timedelta(days=1), time(), UTC).timestamp()
    asked = []

    def read(self, histories, k, *, asked_at, **how):
        asked.append(asked_at)
        return TopK.of_none(histories.num_users, k)

    monkeypatch.setattr(BundlePredictor, "next_items", read)
    wanted = task.config.evaluation.model_copy(update={"asked_at": moment})
    asking = task.config.model_copy(update={"evaluation": wanted})
    recommend.run(another(task, step="recommend", config=asking))
    assert set(asked) == {midnight if moment == "day_end" else None}


def test_recommending_again_commits_nothing(served):
    task, _, _ = served
    first, _ = recommended(task)
    again, _ = recommended(task)
    assert again["status"] == "unchanged" and again["snapshot_id"] == first["snapshot_id"]
    assert first["content_hash"] == again["content_hash"]


def test_small_chunks_give_the_same_rows(served, monkeypatch):
    task, _, _ = served
    _, whole = recommended(task)
    monkeypatch.setattr(recommend, "_USERS", 7)
    facts, rows = recommended(task)
    assert rows == whole and facts["status"] == "unchanged"


def test_only_active_users_are_answered_where_the_preset_says_so(task, tmp_path):
    run_day(task, tmp_path)
    days = pa.array([NEXT_DAY] * 3, pa.date32())
    three = histories(DAY, seed=1).slice(0, 3).set_column(0, "day", days)
    publish(tables_of(task), "user_sequences", three, NEXT_DAY)
    for days, users in ((1, 0), (2, 3)):
        wanted = {"num_items": 5, "active_days": days}
        active = config(task.config.name, recommendations=wanted)
        facts, rows = recommended(another(task, day=NEXT_DAY, config=active))
        assert len(rows) == users and facts["users_left_out"] == 3 - users


def test_nothing_is_recommended_before_there_is_a_champion(task):
    facts = recommend.run(task)
    assert facts == {"status": "unchanged", "message": "no champion yet, so nothing is recommended"}
    assert tables_of(task).snapshot_id("recommendations") is None


def test_nothing_is_recommended_for_a_day_without_histories(served):
    task, _, _ = served
    with pytest.raises(ProgramError, match="'user_sequences' has no rows for 2024-03-22"):
        recommended(another(task, day=DAY - timedelta(days=9)))


def test_a_corrupt_champion_recommends_nothing_and_leaves_the_table(task, tmp_path):
    run_day(task, tmp_path)
    recommended(task)
    bundle = task.registry.fetch(task.registry.champion())
    weights = next(bundle.directory.glob("model/*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(BundleCorruptError, match="bytes, expected"):
        recommend.run(another(task, step="recommend"))
    assert tables_of(task).row_count("recommendations", partition=task.day) == NUM_USERS


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([[1, 30]], r"1 lists with items outside the catalogue, first \[1, 30\]"),
        ([[PAD, 1]], "an item after an empty place"),
    ],
)
def test_lists_that_break_a_models_promise_are_refused(items, problem):
    top = TopK(np.array(items, np.int32), np.array([[2, 1]], np.float32))
    with pytest.raises(ProgramError, match=problem):
        recommend.require_promises(top, 30)


def twice(row):
    return {"item_ids": row["item_ids"][:1] * 2, "item_indices": row["item_indices"][:1] * 2} | {
        "scores": row["scores"][:1] * 2
    }


BROKEN = {
    "no_item_twice": twice,
    "scores_never_increase": lambda row: {"scores": [*row["scores"][:-1], row["scores"][0] + 1]},
    "scores_is_finite": lambda row: {"scores": [*row["scores"][:-1], float("nan")]},
    "items_are_known": lambda row: {"item_indices": [*row["item_indices"][:-1], NUM_ITEMS]},
    "lists_are_aligned": lambda row: {"scores": row["scores"][:-1]},
    "day_is_the_runs": lambda row: {"day": NEXT_DAY},
}
"""A user's row that breaks a rule, by the rule."""


@pytest.mark.parametrize("rule", BROKEN)
def test_lists_that_break_a_rule_are_refused_and_the_table_stays(served, monkeypatch, rule):
    task, _, _ = served
    before, rows = recommended(task)
    assert before["validation"]["success"]
    honest = recommend._rows

    def careless(*given):
        listed = honest(*given).to_pylist()
        listed[7] |= BROKEN[rule](listed[7])
        return pa.RecordBatch.from_pylist(listed, schema=honest(*given).schema)

    monkeypatch.setattr(recommend, "_rows", careless)
    with pytest.raises(TableRefused, match=f"  {rule}: .*Here 1 of 150 rows") as refused:
        recommended(task)
    assert "user_id=user-007" in str(refused.value)
    [result] = [each for each in refused.value.facts["validation"]["rules"] if each["rule"] == rule]
    assert (result["rows_failed"], result["table"]) == (1, "recommendations")
    after = tables_of(task).read("recommendations", partition=task.day).to_pylist()
    assert after == rows


def test_lists_that_end_early_keep_every_promise():
    top = TopK(np.array([[3, PAD, PAD]]), np.array([[1.0, -np.inf, -np.inf]]))
    recommend.require_promises(top, 30)
    turned = TopK(top.items_Bk[:, ::-1], top.scores_Bk)
    with pytest.raises(ProgramError, match="1 lists with an item after an empty place"):
        recommend.require_promises(turned, 30)
