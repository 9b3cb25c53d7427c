"""recommend goes on after the users that a killed run had answered, and writes the same table."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from feature_store.errors import TableRefused
from feature_store.settings import Settings
from tests.recommender_world import DAY, NUM_USERS, histories, tables_of
from tests.training.test_promotion_programs import (
    another,
    config,
    keep,
    publish,
    published,
    run_day,
)
from training.programs import recommend
from training.programs.day_inputs import DayTables
from training.registry.predictor import BundlePredictor

CHUNK = 40
"""Users answered at once here: four chunks of 150."""


class Killed(BaseException):
    """What ends a step in the middle, as a signal does."""


def of_a_day(mlflow_settings, folder):
    """A day with its champion, which has recommended nothing yet."""
    made = published(mlflow_settings, folder)
    run_day(made, folder / "bundles")
    return another(made, step="recommend")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(recommend, "_USERS", CHUNK)


@pytest.fixture
def task(mlflow_settings, tmp_path):
    return of_a_day(mlflow_settings, tmp_path)


@pytest.fixture(scope="module")
def day(mlflow_settings, tmp_path_factory):
    return of_a_day(mlflow_settings, tmp_path_factory.mktemp("day"))


@pytest.fixture
def shared(day):
    """A task of a day that several tests recommend for; nothing is kept of the test before."""
    for path in kept(day):
        path.unlink()
    return day


@pytest.fixture
def asked(monkeypatch):
    """How many users each question to the model was about; `asked.most` questions are answered."""

    class Asked(list):
        most = 1_000

    counted, next_items = Asked(), BundlePredictor.next_items

    def counting(self, histories, *given, **named):
        if len(counted) == counted.most:
            raise Killed
        counted.append(histories.num_users)
        return next_items(self, histories, *given, **named)

    monkeypatch.setattr(BundlePredictor, "next_items", counting)
    return counted


def killed_after(task, asked, questions):
    asked.most = questions
    with pytest.raises(Killed):
        recommend.run(task)
    assert asked == [CHUNK] * questions
    asked.clear()
    asked.most = 1_000


def kept(task):
    folder = task.settings.home / "checkpoints" / task.config.name / DAY.isoformat() / "recommend"
    return sorted(folder.rglob("*.*"))


def test_a_killed_run_is_gone_on_with_and_the_table_is_the_same(task, asked, caplog):
    caplog.set_level("INFO")
    killed_after(task, asked, 2)
    assert len(kept(task)) == 2
    assert tables_of(task).snapshot_id("recommendations") is None

    facts = recommend.run(task)
    assert asked == [CHUNK, NUM_USERS - 3 * CHUNK]
    assert (facts["users"], facts["users_answered_before"]) == (NUM_USERS, 2 * CHUNK)
    assert facts["message"] == (
        "150 users, item_knn version 1; a run that was stopped had answered 80 of them"
    )
    assert "recommend: users: 80 of 150" in caplog.messages
    assert any(line.startswith("recommend: users: 120 of 150, ") for line in caplog.messages)
    assert kept(task) == []

    asked.clear()
    whole = recommend.run(task)
    assert sum(asked) == NUM_USERS and whole["users_answered_before"] == 0
    assert (whole["status"], whole["content_hash"]) == ("unchanged", facts["content_hash"])
    same = ("users", "users_left_out", "places_empty", "snapshot_id")
    assert [whole[name] for name in same] == [facts[name] for name in same]


def test_a_run_that_is_killed_again_and_again_comes_to_its_end(task, asked):
    for already in range(4):
        asked.most = 1
        if already < 3:
            with pytest.raises(Killed):
                recommend.run(task)
        else:
            assert recommend.run(task)["users_answered_before"] == 3 * CHUNK
        asked.clear()
    assert tables_of(task).row_count("recommendations", partition=DAY) == NUM_USERS


def test_another_champion_answers_everyone(task, asked, tmp_path):
    killed_after(task, asked, 3)
    old = kept(task)
    keep(task, "popularity", tmp_path / "other", seed=3)
    found = task.registry.find_candidate(DAY.isoformat(), "popularity")
    task.registry.promote(task.registry.register(found), day=DAY.isoformat(), reason="by hand")
    killed_after(task, asked, 1)
    assert len(kept(task)) == 1 and not set(kept(task)) & set(old)
    facts = recommend.run(task)
    assert sum(asked) == NUM_USERS - CHUNK and facts["users_answered_before"] == CHUNK
    rows = tables_of(task).read("recommendations", partition=DAY)
    assert rows["model_family"].unique().to_pylist() == ["popularity"]
    assert kept(task) == []


def of_six(task):
    return another(task, config=config(task.config.name, recommendations={"num_items": 6}))


def at_each_event(task):
    wanted = task.config.evaluation.model_copy(update={"asked_at": "event"})
    return another(task, config=task.config.model_copy(update={"evaluation": wanted}))


def by_other_code(task):
    settings = Settings(**{**task.settings.model_dump(), "code_revision": "1" * 40})
    return another(task, settings=settings)


@pytest.mark.parametrize("changed", [of_six, at_each_event, by_other_code])
def test_what_decides_the_answers_makes_everyone_be_asked_again(shared, asked, changed):
    killed_after(shared, asked, 2)
    facts = recommend.run(changed(shared))
    assert sum(asked) == NUM_USERS and facts["users_answered_before"] == 0


def test_an_item_that_is_withdrawn_in_between_is_in_no_list(shared, asked, monkeypatch):
    killed_after(shared, asked, 3)
    monkeypatch.setattr(DayTables, "unlisted", lambda *_: np.array([0, 4, 8], np.int32))
    recommend.run(shared)
    assert sum(asked) == NUM_USERS
    rows = tables_of(shared).read("recommendations", partition=DAY)
    assert not {0, 4, 8} & set(rows["item_indices"].combine_chunks().flatten().to_pylist())


def test_only_users_with_another_history_are_asked_again(task, asked):
    killed_after(task, asked, 3)
    rows = histories(DAY, seed=1)
    strengths = rows["strengths"].to_pylist()
    strengths[CHUNK] = [1, *strengths[CHUNK][1:]]
    place = rows.schema.get_field_index("strengths")
    changed = rows.set_column(place, "strengths", pa.array(strengths, pa.list_(pa.int32())))
    publish(tables_of(task), "user_sequences", changed, DAY)
    assert recommend.run(task)["users_answered_before"] == 2 * CHUNK
    assert asked == [CHUNK, NUM_USERS - 3 * CHUNK]


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b""])
def test_a_file_that_is_not_whole_is_asked_again(shared, asked, caplog, damage):
    killed_after(shared, asked, 2)
    first = kept(shared)[0]
    first.write_bytes(damage(first.read_bytes()))
    assert recommend.run(shared)["users_answered_before"] == CHUNK
    assert [m for m in caplog.messages if "is not whole" in m and "asked again" in m]


def test_answers_that_the_check_refused_are_not_kept(shared, asked, monkeypatch):
    honest = recommend._rows

    def careless(*given):
        rows = honest(*given).to_pylist()
        rows[0]["day"] = DAY + timedelta(days=1)
        return pa.RecordBatch.from_pylist(rows, schema=honest(*given).schema)

    monkeypatch.setattr(recommend, "_rows", careless)
    with pytest.raises(TableRefused, match="day_is_the_runs"):
        recommend.run(shared)
    assert kept(shared) == []
