"""Promotions, rollbacks, new days and withheld items come into service, and nothing else does."""

import gc
import hashlib
import json
import logging
import shutil
import threading
import time
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.recommender_world import DAY, ITEM_IDS, histories, tables_of
from tests.service_world import asking, bundle_of, follower_of, register
from tests.training.test_promotion_programs import NEXT_DAY, another, publish, published
from training.models.popularity.model import Popularity
from training.registry.bundle import MANIFEST, digest_of, generation_digest
from training.service import follow

ISO = NEXT_DAY.isoformat()
BODY = {"item_ids": ["item-3", "item-7"], "k": 5}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Fitted once, registered in every test's preset."""
    folder = tmp_path_factory.mktemp("bundles")
    return {name: bundle_of(name, folder / name) for name in ("item_knn", "popularity", "tiger")}


@pytest.fixture
def task(mlflow_settings, tmp_path):
    return another(published(mlflow_settings, tmp_path), day=NEXT_DAY)


@pytest.fixture
def versions(task, bundles):
    """Versions by family, registered when they are asked for first."""

    class Versions(dict):
        def __missing__(self, name):
            self[name] = register(task, bundles[name])
            return self[name]

    return Versions()


def promote(task, version):
    task.registry.promote(version, day=ISO, reason="test")


def counted(follower, line):
    return [found for found in follower.metrics.page().decode().splitlines() if line in found]


def test_the_thread_looks_by_itself_and_sets_what_serves_aside_for_python_s_collector(
    task, versions, monkeypatch
):
    monkeypatch.setattr(follow, "SECONDS_BETWEEN", 0.05)
    promote(task, versions["item_knn"])
    follower = follower_of(task)
    follower.start()
    try:
        for name in ("item_knn", "popularity"):
            promote(task, versions[name])
            deadline = time.monotonic() + 20
            while follower.served is None or follower.served.version != _now(task, versions[name]):
                assert time.monotonic() < deadline
                time.sleep(0.01)
        while not gc.get_freeze_count():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        follower.stop()
        gc.unfreeze()


def _now(task, version):
    return task.registry.version(version.number)


def test_before_the_first_promotion_it_is_not_ready_and_says_why(task):
    follower = follower_of(task)
    follower.look()
    with asking(follower) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 503
        assert client.get("/ready").json()["status"] == f"{task.config.name} has no champion yet"
        answer = client.post("/v1/recommend", json=BODY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["error"] == f"{task.config.name} has no champion yet"


def test_promotions_and_a_rollback_are_followed_and_no_request_fails(task, versions):
    promote(task, versions["popularity"])
    follower = follower_of(task)
    follower.look()
    ends, answers = threading.Event(), []
    with asking(follower) as client:

        def ask():
            while not ends.is_set():
                answers.append(client.post("/v1/recommend", json=BODY))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for change in ("item_knn", "tiger", None):
            if change is None:
                task.registry.rollback(reason="complaints")
            else:
                promote(task, versions[change])
            follower.look()
            seen = len(answers)
            while len(answers) < seen + 20:
                pass
        ends.set()
        for thread in threads:
            thread.join()
    assert {answer.status_code for answer in answers} == {200}
    lists = {(a.json()["model_version"], tuple(a.json()["item_ids"])) for a in answers}
    # Each version has one answer: none is a mixture of two.
    assert len(lists) == len({version for version, _ in lists}) == 3
    assert answers[-1].json()["model_version"] == versions["item_knn"].number
    assert counted(follower, "sidereal_swaps_total")[-1].endswith(" 4.0")


def damaged(task, version, how):
    """A registered bundle, changed on disk after it was registered."""
    directory = task.registry.fetch(version).directory
    how(directory)
    return directory


def cut(directory):
    weights = next(directory.glob("model/*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-8])


def mix(directory):
    """Semantic IDs of another generation, under a manifest that vouches for them."""
    other = f"{DAY - timedelta(days=7)}-{generation_digest('another', 'suffix')}"
    path = directory / "semantic_ids.parquet"
    rows = pq.read_table(path)
    column = rows.column_names.index("generation")
    rows = rows.set_column(column, "generation", pa.array([other] * rows.num_rows))
    pq.write_table(rows, path, compression="zstd")
    manifest = json.loads((directory / MANIFEST).read_text())
    manifest.pop("seal")
    content = path.read_bytes()
    manifest["files"]["semantic_ids.parquet"] = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    manifest["seal"] = digest_of(manifest)
    (directory / MANIFEST).write_text(json.dumps(manifest))


def errors(caplog):
    """What the service said; other loggers may say more, whichever test came before."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("training.service") and record.levelno >= logging.ERROR
    ]


@pytest.mark.parametrize(
    ("how", "reason", "says"),
    [
        (cut, "corrupt", "bytes, expected"),
        (mix, "mixed", "the SID table is of generation"),
        (shutil.rmtree, "other", "holds no bundle any more"),
    ],
    ids=["corrupt", "mixed", "gone"],
)
def test_a_champion_that_cannot_serve_is_refused_and_the_old_one_goes_on(
    task, versions, caplog, how, reason, says
):
    promote(task, versions["item_knn"])
    follower = follower_of(task)
    follower.look()
    promote(task, versions["tiger"])
    damaged(task, versions["tiger"], how)
    with caplog.at_level(logging.ERROR):
        follower.look()
        follower.look()
    assert follower.served.version.number == versions["item_knn"].number
    [line] = errors(caplog)
    assert line.startswith(
        f"champion {versions['tiger'].number} is refused ({reason}), version "
        f"{versions['item_knn'].number} goes on: "
    )
    assert says in line and "\n" not in line
    assert counted(follower, f'sidereal_refused_total{{reason="{reason}"}} 1.0')
    with asking(follower) as client:
        assert client.post("/v1/recommend", json=BODY).status_code == 200
        assert client.get("/ready").status_code == 200


def test_a_refused_champion_is_tried_again_and_serves_once_it_is_whole(task, versions, monkeypatch):
    monkeypatch.setattr(follow, "RETRY_SECONDS", 0.5)
    promote(task, versions["tiger"])
    directory = task.registry.fetch(versions["tiger"]).directory
    away = directory.with_name("away")
    directory.rename(away)
    follower = follower_of(task)
    follower.look()
    assert follower.served is None and "is refused (other)" in follower.trouble
    away.rename(directory)
    follower.look()
    assert follower.served is None  # not at every look
    time.sleep(0.5)
    follower.look()
    assert follower.served.version.number == versions["tiger"].number


def test_a_model_that_says_nothing_sensible_does_not_come_into_service(
    task, versions, caplog, monkeypatch
):
    answer = Popularity.recommend

    def broken(self, state, k):
        top = answer(self, state, k)
        top.scores_Bk[:] = float("nan")
        return top

    monkeypatch.setattr(Popularity, "recommend", broken)
    promote(task, versions["popularity"])
    follower = follower_of(task)
    with caplog.at_level(logging.ERROR):
        follower.look()
    assert follower.served is None
    assert "is refused (useless), nothing serves" in caplog.text


def test_a_registry_that_cannot_be_read_stops_nothing(task, versions, caplog, monkeypatch):
    promote(task, versions["item_knn"])
    follower = follower_of(task)
    follower.look()

    def down():
        raise ConnectionError("no route to the registry")

    monkeypatch.setattr(follower._view, "versions", down)
    with caplog.at_level(logging.ERROR):
        follower.look()
        follower.look()
    assert errors(caplog) == [
        "registry: ConnectionError: no route to the registry; what was read before goes on"
    ]
    assert counted(follower, 'sidereal_watch_failures_total{what="registry"} 2.0')
    assert follower.served.version.number == versions["item_knn"].number


def test_the_histories_of_a_new_day_are_read(task, versions):
    promote(task, versions["item_knn"])
    follower = follower_of(task)
    follower.look()
    assert follower.served.stored.day == NEXT_DAY
    third = NEXT_DAY + timedelta(days=1)
    publish(tables_of(task), "user_sequences", histories(third, seed=1, num_users=7), third)
    follower.look()
    assert follower.served.stored.day == third
    assert follower.served.stored.histories.num_users == 7


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".parquet"])
def test_withheld_items_are_in_no_list_and_k_items_still_come(task, versions, tmp_path, suffix):
    promote(task, versions["tiger"])
    path = tmp_path / f"withheld{suffix}"
    withhold(path, [])
    follower = follower_of(task, withheld=path)
    follower.look()
    with asking(follower) as client:
        first = client.post("/v1/recommend", json=BODY).json()["item_ids"]
        withhold(path, [*first[:3], "nobody's"])
        follower.look()
        rest = client.post("/v1/recommend", json=BODY).json()["item_ids"]
        assert len(rest) == 5 and not set(first[:3]) & set(rest)
        assert rest[:2] == first[3:]
        assert counted(follower, "sidereal_withheld_items 3.0")
        assert counted(follower, "sidereal_withheld_unknown_items 1.0")
        withhold(path, [])
        follower.look()
        assert client.post("/v1/recommend", json=BODY).json()["item_ids"] == first


def withhold(path, items):
    rows = pa.table({"item_id": pa.array(items, pa.string())})
    beside = path.with_name(f"new{path.suffix}")
    if path.suffix == ".parquet":
        pq.write_table(rows, beside)
    elif path.suffix == ".csv":
        beside.write_text("\n".join(["item_id,why", *(f"{item},sold" for item in items)]) + "\n")
    else:
        beside.write_text("".join(f"{item}\n" for item in items))
    beside.replace(path)


def test_a_file_of_withheld_items_that_breaks_leaves_what_it_said(task, versions, tmp_path, caplog):
    promote(task, versions["item_knn"])
    path = tmp_path / "withheld.csv"
    withhold(path, ["item-3"])
    follower = follower_of(task, withheld=path)
    follower.look()
    path.write_text("sku\nitem-4\n")
    with caplog.at_level(logging.ERROR):
        follower.look()
    assert "expected one item id a line, or a .csv or .parquet file with a column item_id" in (
        caplog.text
    )
    path.unlink()
    follower.look()
    assert [ITEM_IDS[index] for index in follower.served.predictor.unlisted] == ["item-3"]
    assert counted(follower, 'sidereal_watch_failures_total{what="withheld"} 2.0')


def test_nothing_serves_before_what_is_withheld_is_known(task, versions, tmp_path):
    promote(task, versions["item_knn"])
    path = tmp_path / "withheld.csv"
    path.write_text("sku\nitem-4\n")
    follower = follower_of(task, withheld=path)
    follower.look()
    assert follower.served is None
    assert follower.trouble == "withheld could not be read; the log says why"
    withhold(path, ["item-3"])
    follower.look()
    assert [ITEM_IDS[index] for index in follower.served.predictor.unlisted] == ["item-3"]


def test_items_that_the_catalogue_no_longer_lists_are_in_no_list(task, versions):
    promote(task, versions["item_knn"])
    follower = follower_of(task)
    follower.look()
    with asking(follower) as client:
        first = client.post("/v1/recommend", json=BODY).json()["item_ids"]
        store = tables_of(task)
        rows = store.read("items")
        last = [DAY if item == first[0] else None for item in rows["item_id"].to_pylist()]
        place = rows.column_names.index("last_listed_day")
        publish(
            store,
            "items",
            rows.set_column(place, "last_listed_day", pa.array(last, pa.date32())),
            NEXT_DAY,
        )
        follower.look()
        rest = client.post("/v1/recommend", json=BODY).json()["item_ids"]
    assert len(rest) == 5 and rest[:4] == first[1:]


def test_a_candidate_that_is_withheld_has_no_probability(task, tmp_path):
    promote(task, register(task, bundle_of("unigrf", tmp_path / "unigrf")))
    path = tmp_path / "withheld.txt"
    path.write_text("item-5\n")
    follower = follower_of(task, withheld=path)
    follower.look()
    with asking(follower) as client:
        body = {"item_ids": [], "candidates": ["item-4", "item-5"]}
        answer = client.post("/v1/rank", json=body).json()
    assert answer["withheld_items"] == ["item-5"]
    assert answer["probabilities"][1] is None and 0 < answer["probabilities"][0] < 1


def test_an_answer_is_kept_until_anything_changes(task, versions, tmp_path, monkeypatch):
    promote(task, versions["item_knn"])
    path = tmp_path / "withheld.txt"
    path.write_text("")
    follower = follower_of(task, withheld=path)
    follower.look()
    asked = []
    served = type(follower.served)
    answer = served.recommend

    def watched(self, requests, *rest):
        asked.extend(requests)
        return answer(self, requests, *rest)

    monkeypatch.setattr(served, "recommend", watched)
    with asking(follower, kept=1 << 20) as client:

        def ask():
            return client.post("/v1/recommend", json=BODY).json()

        first = ask()
        assert ask() == first and len(asked) == 1
        path.write_text(f"{first['item_ids'][0]}\n")
        follower.look()
        assert ask()["item_ids"][:4] == first["item_ids"][1:] and len(asked) == 2
        promote(task, versions["popularity"])
        follower.look()
        # A version that comes into service is tried with two histories of its own.
        assert ask()["model_version"] != first["model_version"] and len(asked) == 5
