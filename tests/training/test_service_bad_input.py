"""What is wrong with a request is answered in one line, and never by a traceback."""

import asyncio
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.recommender_world import ITEM_IDS
from tests.service_world import asking, bundle_of, follower_of, register, service_of
from tests.training.test_promotion_programs import NEXT_DAY, another, published
from training.service.batches import Limits
from training.service.guard import MOST_BYTES, Guard
from training.service.messages import MOST_EVENTS, RecommendRequest
from training.service.metrics import Metrics

TOKEN = "a token of this test"


@pytest.fixture(scope="module")
def follower(mlflow_settings, tmp_path_factory):
    """unigrf, which answers lists and feedback, over two days of tables."""
    folder = tmp_path_factory.mktemp("bad-input")
    task = another(published(mlflow_settings, folder), day=NEXT_DAY)
    version = register(task, bundle_of("unigrf", folder / "bundle"))
    task.registry.promote(version, day=NEXT_DAY.isoformat(), reason="test")
    found = follower_of(task)
    found.look()
    return found


@pytest.fixture(scope="module")
def client(follower):
    with asking(follower) as made:
        yield made


REFUSED = {
    "neither user nor history": ({"k": 3}, "send either user_id or item_ids"),
    "both": ({"user_id": "user-001", "item_ids": []}, "send either user_id or item_ids"),
    "k of 0": ({"item_ids": [], "k": 0}, "k: Input should be greater than or equal to 1"),
    "k of many": ({"item_ids": [], "k": 201}, "k: Input should be less than or equal to 200"),
    "k as text": ({"item_ids": [], "k": "5"}, "k: Input should be a valid integer"),
    "k as a truth": ({"item_ids": [], "k": True}, "k: Input should be a valid integer"),
    "items as numbers": ({"item_ids": [1, 2]}, "item_ids.0: Input should be a valid string"),
    "a history as text": ({"item_ids": "item-1"}, "item_ids: Input should be a valid array"),
    "an event too many": (
        {"item_ids": ["item-1"] * (MOST_EVENTS + 1)},
        "item_ids: List should have at most 10000 items",
    ),
    "strengths of others": (
        {"item_ids": ["item-1"], "strengths": [1, 2]},
        "strengths must be as many as item_ids",
    ),
    "times of a user": ({"user_id": "user-001", "event_times": [1]}, "event_times must be as many"),
    "a strength of 4": (
        {"item_ids": ["item-1"], "strengths": [4]},
        "strengths.0: Input should be less than or equal to 3",
    ),
    "times that fall": (
        {"item_ids": ["item-1", "item-2"], "event_times": [9, 8]},
        "event_times must not decrease",
    ),
    "asked before the last event": (
        {"item_ids": ["item-1"], "event_times": [9], "asked_at": 8},
        "asked_at lies before the last event",
    ),
    "a key of nobody": ({"item_ids": [], "kk": 3}, "kk: Extra inputs are not permitted"),
    "a list": ([], "Input should be an object"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_body_that_says_something_else_is_refused_by_its_key(client, case):
    body, says = REFUSED[case]
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == 422
    assert says in answer.json()["error"]


BODIES = {
    "no JSON": (b"{", 422),
    "NaN": (b'{"item_ids": ["item-1"], "strengths": [NaN]}', 422),
    "infinite": (b'{"item_ids": [], "k": Infinity}', 422),
    "half a character": (b'{"user_id": "\\ud800"}', 422),
    "a key of half a character": (b'{"item_ids": [], "\\ud800": 1}', 422),
    "a number of 5,000 digits": (b'{"item_ids": [], "k": ' + b"9" * 5000 + b"}", 422),
    "10,000 brackets": (b"[" * 10_000, 422),
    "no UTF-8": (b'{"user_id": "\xff"}', 422),
    "nothing": (b"", 422),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_is_no_json_of_ours_is_refused(client, case):
    content, status = BODIES[case]
    answer = client.post(
        "/v1/recommend", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status
    assert set(answer.json()) == {"error"} and "Traceback" not in answer.text


def test_an_unknown_user_is_told_what_to_send(client):
    answer = client.post("/v1/recommend", json={"user_id": "nobody"})
    assert answer.status_code == 404
    assert answer.json()["error"] == (
        "no history of user 'nobody' on 2024-04-01; send a history as item_ids, which may be empty"
    )


def test_who_shares_a_batch_with_an_unknown_user_is_answered(follower):
    bodies = [{"user_id": name} for name in ("user-001", "nobody", "user-002")]

    async def ask(service):
        service.batches.start()
        asked = [
            service.batches.ask((3, True), RecommendRequest.model_validate(body)) for body in bodies
        ]
        return await asyncio.gather(*asked, return_exceptions=True)

    first, nobody, last = asyncio.run(ask(service_of(follower)))
    assert len(first.item_ids) == len(last.item_ids) == 3
    assert "no history of user 'nobody'" in str(nobody)


def test_an_empty_history_is_answered(client):
    answer = client.post("/v1/recommend", json={"item_ids": [], "k": 4})
    assert answer.status_code == 200
    assert len(answer.json()["item_ids"]) == 4 and answer.json()["num_events"] == 0


def test_ten_thousand_events_are_read_and_all_their_items_left_out(client):
    body = {"item_ids": ITEM_IDS[:100] * 100, "k": 50}
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == 200
    assert sorted(answer.json()["item_ids"]) == sorted(ITEM_IDS[100:])
    assert answer.json()["num_events"] == MOST_EVENTS


def test_more_candidates_than_the_catalogue_has_are_all_of_it(follower, monkeypatch):
    ordering = follower.served.config.recommendations.model_copy(update={"ranked_candidates": 9000})
    config = follower.served.config.model_copy(update={"recommendations": ordering})
    monkeypatch.setattr(follower, "served", replace(follower.served, config=config))
    with asking(follower) as client:
        answer = client.post("/v1/recommend", json={"item_ids": ITEM_IDS[:5], "k": 200})
    assert answer.status_code == 200 and answer.json()["is_ranked"]
    assert sorted(answer.json()["item_ids"]) == sorted(ITEM_IDS[5:])


def test_unknown_items_are_counted_and_named(client):
    strangers = [f"stranger-{number}" for number in range(130)]
    answer = client.post("/v1/recommend", json={"item_ids": ["item-3", *strangers], "k": 2}).json()
    assert answer["num_unknown_items"] == 130
    assert answer["unknown_items"] == strangers[:100]
    plain = client.post("/v1/recommend", json={"item_ids": ["item-3"], "k": 2}).json()
    assert answer["item_ids"] == plain["item_ids"]


def test_candidates_are_at_most_a_thousand(client):
    body = {"item_ids": [], "candidates": ["item-1"] * 1001}
    assert client.post("/v1/rank", json=body).status_code == 422
    assert client.post("/v1/rank", json=body | {"candidates": []}).status_code == 422
    answer = client.post("/v1/rank", json=body | {"candidates": ["item-1"] * 1000})
    assert answer.status_code == 200 and len(set(answer.json()["probabilities"])) == 1


def test_a_body_that_is_too_long_is_not_kept(client):
    answer = client.post("/v1/recommend", content=b"x" * 10_000_000)
    assert answer.status_code == 413
    assert f"more than {MOST_BYTES:,} bytes" in answer.json()["error"]
    stated = client.post("/v1/recommend", content=b"x", headers={"Content-Length": str(10**12)})
    assert stated.status_code == 413
    parts = client.post("/v1/recommend", content=(b"x" * 1000 for _ in range(3000)))
    assert parts.status_code == 413


def test_without_its_token_nothing_is_answered_but_probes(follower):
    body = {"item_ids": [], "k": 1}
    with asking(follower, token=TOKEN) as client:
        for sent in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": TOKEN}):
            answer = client.post("/v1/recommend", json=body, headers=sent)
            assert answer.status_code == 401 and TOKEN not in answer.text
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert client.post("/v1/recommend", json=body, headers=right).status_code == 200
        assert client.get("/ready").status_code == client.get("/metrics").status_code == 200
        assert client.get("/openapi.json").json()["components"]["securitySchemes"]


def test_other_paths_and_methods_are_refused_in_the_same_form(client):
    assert client.get("/v1/recommend").status_code == 405
    assert client.get("/admin").json() == {"error": "Not Found"}
    assert 'sidereal_requests_total{path="other",status="404"}' in client.get("/metrics").text


def test_a_defect_is_one_line_in_the_log_and_none_of_it_in_the_answer(client, caplog, monkeypatch):
    served = client.service.follower.served

    def broken(*_):
        raise RuntimeError("the secret of\nthe model")

    monkeypatch.setattr(type(served), "recommend", broken)
    with caplog.at_level(logging.ERROR):
        answer = client.post("/v1/recommend", json={"item_ids": [], "k": 1})
    assert answer.status_code == 500
    assert answer.json() == {"error": "the service has a defect here; its log has a line"}
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["/v1/recommend: RuntimeError: the secret of the model"]
    assert all(record.exc_info is None for record in caplog.records)


def test_requests_beyond_the_queue_are_told_to_come_again(follower, monkeypatch):
    slow(follower, monkeypatch, 0.5)
    with asking(follower, Limits(most_at_once=1, most_waiting=1)) as client:
        answers = concurrently(client, 6)
    statuses = sorted(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429} and statuses.count(429) >= 3
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["Retry-After"] == "1"
    assert refused.json()["error"] == "1 requests wait already; try again"


def test_who_waits_too_long_is_told_so(follower, monkeypatch):
    slow(follower, monkeypatch, 0.5)
    with asking(follower, Limits(timeout_seconds=0.1)) as client:
        answer = client.post("/v1/recommend", json={"item_ids": [], "k": 1})
    assert answer.status_code == 504
    assert answer.json()["error"] == "no answer within 0.1 s; try again"


def slow(follower, monkeypatch, seconds):
    served = type(follower.served)
    answer = served.recommend

    def slowly(*arguments):
        time.sleep(seconds)
        return answer(*arguments)

    monkeypatch.setattr(served, "recommend", slowly)


def concurrently(client, count):
    with ThreadPoolExecutor(count) as threads:
        return list(
            threads.map(
                lambda number: client.post(
                    "/v1/recommend", json={"item_ids": [ITEM_IDS[number]], "k": 1}
                ),
                range(count),
            )
        )


def test_a_client_that_hangs_up_is_not_asked_about(follower, monkeypatch):
    """Its request leaves the queue: the model answers the one before it and the one after it."""
    asked = []
    served = type(follower.served)
    answer = served.recommend

    def watched(self, requests, *rest):
        asked.extend(request.item_ids[0] for request in requests)
        time.sleep(0.2)
        return answer(self, requests, *rest)

    monkeypatch.setattr(served, "recommend", watched)
    before = counted(follower, "sidereal_hung_up_total")
    with asking(follower, Limits(most_at_once=1)) as client:

        async def talk(item, hangs_up_after=None):
            body = json.dumps({"item_ids": [item], "k": 1}).encode()
            said, sent = [{"type": "http.request", "body": body}], []

            async def receive():
                if said:
                    return said.pop()
                await asyncio.sleep(5 if hangs_up_after is None else hangs_up_after)
                return {"type": "http.disconnect"}

            async def send(message):
                sent.append(message)

            await client.app(scope("/v1/recommend"), receive, send)
            return sent[0]["status"] if sent else None

        async def three():
            return await asyncio.gather(talk("item-1"), talk("item-2", 0.05), talk("item-3"))

        assert client.portal.call(three) == [200, None, 200]
    assert asked == ["item-1", "item-3"]
    assert counted(follower, "sidereal_hung_up_total") == before + 1


def counted(follower, name):
    lines = follower.metrics.page().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def scope(path):
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
    }


def test_a_client_that_hangs_up_within_its_body_is_counted_and_that_is_all():
    metrics, said = Metrics(), [{"type": "http.disconnect"}, {"type": "http.request", "body": b"{"}]
    said[1]["more_body"] = True

    async def receive():
        return said.pop()

    async def never(*_):
        raise AssertionError

    asyncio.run(Guard(never, "", metrics)(scope("/v1/rank"), receive, never))
    page = metrics.page().decode()
    assert "sidereal_hung_up_total 1.0" in page and 'path="/v1/rank",status="499"} 1.0' in page


def test_a_body_that_does_not_arrive_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("training.service.guard.BODY_SECONDS", 0.05)
    sent = []

    async def receive():
        await asyncio.sleep(5)

    async def send(message):
        sent.append(message)

    async def never(*_):
        raise AssertionError

    asyncio.run(Guard(never, "", Metrics())(scope("/v1/rank"), receive, send))
    assert sent[0]["status"] == 408
