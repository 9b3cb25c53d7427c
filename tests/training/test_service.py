"""`sidereal serve` says what the predictor and the daily table say, to whoever asks together."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pytest

from tests.recommender_world import ITEM_IDS, NUM_ITEMS, histories, tables_of
from tests.service_world import asking, bundle_of, follower_of, register
from tests.training.test_promotion_programs import NEXT_DAY, another, published
from training.data.histories import Histories
from training.programs import recommend
from training.registry.predictor import BundlePredictor
from training.service.stored import end_of

FAMILIES = ("item_knn", "tiger", "unigrf")
MIDNIGHT = end_of(NEXT_DAY)


@pytest.fixture(scope="module")
def home(mlflow_settings, tmp_path_factory):
    """Two days of tables and a version of each family."""
    folder = tmp_path_factory.mktemp("service")
    task = another(published(mlflow_settings, folder), day=NEXT_DAY)
    return task, {name: register(task, bundle_of(name, folder / name)) for name in FAMILIES}


@pytest.fixture(scope="module", params=FAMILIES)
def champion(request, home):
    """A family's version as champion, and a client of the service over it."""
    task, versions = home
    task.registry.promote(versions[request.param], day=NEXT_DAY.isoformat(), reason="test")
    follower = follower_of(task)
    follower.look()
    with asking(follower) as client:
        yield task, versions[request.param], client


def sent(row):
    """A row of `user_sequences` as a request."""
    return {
        "item_ids": [ITEM_IDS[index] for index in row["item_indices"]],
        "strengths": row["strengths"],
        "event_times": [
            int(each.replace(tzinfo=each.tzinfo or UTC).timestamp()) for each in row["event_times"]
        ],
    }


def ask_together(client, bodies, path="/v1/recommend"):
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda body: client.post(path, json=body), bodies))
    assert {answer.status_code for answer in answers} == {200}
    return [answer.json() for answer in answers]


def assert_same_list(answer, item_ids, scores):
    assert answer["item_ids"] == item_ids
    np.testing.assert_allclose(answer["scores"], scores, rtol=1e-5, atol=1e-5)


def test_the_service_says_what_the_daily_table_says(champion):
    task, version, client = champion
    recommend.run(another(task, step="recommend"))
    rows = tables_of(task).read("recommendations", partition=NEXT_DAY).to_pylist()[:60]
    answers = ask_together(client, [{"user_id": row["user_id"]} for row in rows])
    for row, answer in zip(rows, answers, strict=True):
        assert_same_list(answer, row["item_ids"], row["scores"])
        assert (answer["model_family"], answer["model_version"]) == (
            version.family,
            version.number,
        )
        assert answer["bundle_digest"] == row["bundle_digest"] == version.digest
        assert answer["generation"] == row["generation"]
        assert answer["history_day"] == NEXT_DAY.isoformat() and answer["num_events"] == 24


def test_a_history_that_is_sent_is_read_as_the_predictor_reads_it(champion):
    task, version, client = champion
    table = histories(NEXT_DAY, seed=1)
    rows = Histories.from_arrow(table.to_batches())
    predictor = BundlePredictor.of(task.registry.fetch(version), device="cpu")
    top = predictor.next_items(rows, 7, exclude_seen=False)
    bodies = [sent(row) | {"k": 7, "exclude_seen": False} for row in table.to_pylist()[:40]]
    for number, answer in enumerate(ask_together(client, bodies)):
        item_ids = [ITEM_IDS[index] for index in top.items_Bk[number]]
        assert_same_list(answer, item_ids, top.scores_Bk[number])
        assert answer["history_day"] is None


def test_a_stored_history_is_asked_about_as_one_that_is_sent_at_midnight(champion):
    _, _, client = champion
    rows = histories(NEXT_DAY, seed=1).to_pylist()[:8]
    for row in rows:
        [stored] = ask_together(client, [{"user_id": row["user_id"]}])
        [fresh] = ask_together(client, [sent(row) | {"asked_at": MIDNIGHT}])
        assert_same_list(fresh, stored["item_ids"], stored["scores"])


def test_only_a_family_that_answers_feedback_ranks(champion):
    task, version, client = champion
    table = histories(NEXT_DAY, seed=1)
    candidates = [ITEM_IDS[3], ITEM_IDS[40], "nobody's", ITEM_IDS[5]]
    bodies = [sent(row) | {"candidates": candidates} for row in table.to_pylist()[:20]]
    if version.family != "unigrf":
        refused = client.post("/v1/rank", json=bodies[0])
        assert refused.status_code == 409
        assert refused.json()["error"].startswith(f"this {version.family} answers lists and slates")
        return
    predictor = BundlePredictor.of(task.registry.fetch(version), device="cpu")
    rows = Histories.from_arrow(table.to_batches())
    expected_BC = predictor.next_feedback(rows, np.tile([3, 40, -1, 5], (rows.num_users, 1)))
    for number, answer in enumerate(ask_together(client, bodies, "/v1/rank")):
        assert answer["item_ids"] == candidates
        assert answer["probabilities"][2] is None and answer["unknown_items"] == ["nobody's"]
        found = [answer["probabilities"][place] for place in (0, 1, 3)]
        np.testing.assert_allclose(found, expected_BC[number, [0, 1, 3]], atol=1e-5)


def test_lists_may_be_ordered_by_probability_as_in_the_table(home):
    task, versions = home
    ordering = {"num_items": 5, "ranked_candidates": 30}
    asked = task.config.model_copy(
        update={"recommendations": task.config.recommendations.model_copy(update=ordering)}
    )
    task = another(task, config=asked)
    task.registry.promote(versions["unigrf"], day=NEXT_DAY.isoformat(), reason="ranks")
    recommend.run(another(task, step="recommend"))
    rows = tables_of(task).read("recommendations", partition=NEXT_DAY).to_pylist()[:20]
    follower = follower_of(task)
    follower.look()
    with asking(follower) as client:
        answers = ask_together(client, [{"user_id": row["user_id"]} for row in rows])
    for row, answer in zip(rows, answers, strict=True):
        assert answer["is_ranked"] and all(0 <= score <= 1 for score in answer["scores"])
        assert_same_list(answer, row["item_ids"], row["scores"])


def test_requests_of_different_k_that_come_together_have_their_own(champion):
    _, _, client = champion
    rows = histories(NEXT_DAY, seed=1).to_pylist()[:30]
    bodies = [sent(row) | {"k": 1 + number % 3} for number, row in enumerate(rows)]
    answers = ask_together(client, bodies)
    assert [len(answer["item_ids"]) for answer in answers] == [1 + n % 3 for n in range(30)]


def test_a_list_ends_where_the_catalogue_does(champion):
    _, _, client = champion
    [everything] = ask_together(client, [{"item_ids": [], "k": 200}])
    assert sorted(everything["item_ids"]) == sorted(ITEM_IDS)
    [rest] = ask_together(client, [{"item_ids": ITEM_IDS[:100], "k": 200}])
    assert sorted(rest["item_ids"]) == sorted(ITEM_IDS[100:NUM_ITEMS])


def test_what_describes_it_loads_nothing_from_another_host(champion):
    _, _, client = champion
    page = client.get("/openapi.json")
    assert page.status_code == 200 and "://" not in page.text
    assert {"/v1/recommend", "/v1/rank", "/ready"} <= set(page.json()["paths"])
    for path in ("/docs", "/docs/oauth2-redirect", "/redoc"):
        assert client.get(path).status_code == 404


def test_probes_say_what_serves(champion):
    _, version, client = champion
    ready, health = client.get("/ready"), client.get("/health")
    assert (ready.status_code, health.status_code) == (200, 200)
    state = ready.json()
    assert (state["model_family"], state["model_version"]) == (version.family, version.number)
    assert state["history_day"] == NEXT_DAY.isoformat() and state["num_users"] == 150
    assert "lists" in state["answers"]
    page = client.get("/metrics").text
    assert f'digest="{version.digest}"' in page and "sidereal_batch_rows_count" in page
    assert datetime.fromtimestamp(MIDNIGHT, UTC).isoformat() == "2024-04-02T00:00:00+00:00"
