"""`sidereal export recommendations`: files and a real Redis, whole or as they were."""

import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import redis
from click.testing import CliRunner

from feature_store.arrow import arrow_schema
from feature_store.env_file import EnvironmentFileError
from feature_store.settings import REPOSITORY, Settings
from feature_store.store import FeatureStore
from feature_store.tables import CATALOG
from sidereal.cli import main
from training.export import to_file, to_redis

DAY, NEXT_DAY = date(2026, 3, 1), date(2026, 3, 2)
ODD = ['say "hi"', "back\\slash", "two\nlines\tand\x01more", "näme, Ω 🙂", "a,b;c"]
DOCS = REPOSITORY / "docs" / "export.md"
PLACE = "sidereal:shop:recommendations"


def rows(day, user_ids, *, shift=0):
    """Three items per user, the last user none."""
    count = len(user_ids)
    lengths = np.full(count, 3)
    lengths[-1] = 0
    total = int(lengths.sum())
    offsets = pa.array(np.concatenate([[0], lengths.cumsum()]), pa.int32())
    items = pa.array((np.arange(total) + shift) % 7, pa.int32())
    names = pa.array([f'item "{number}"' for number in range(7)])
    scores = np.tile(np.array([0.5, 0.25, -1.5], np.float32), count)[:total]
    columns = {
        "day": pa.array([day] * count, pa.date32()),
        "user_id": pa.array(user_ids, pa.string()),
        "item_ids": pa.ListArray.from_arrays(offsets, names.take(items)),
        "item_indices": pa.ListArray.from_arrays(offsets, items),
        "scores": pa.ListArray.from_arrays(offsets, pa.array(scores)),
        "model_family": ["tiger"] * count,
        "model_version": ["3"] * count,
        "bundle_digest": ["d" * 64] * count,
        "generation": pa.array([None] * count, pa.string()),
    }
    schema = arrow_schema(CATALOG["recommendations"])
    return pa.table(columns).select(schema.names).cast(schema)


def publish(settings, day, table):
    store = FeatureStore.open(settings, "shop")
    stage = store.stage("recommendations", day=day, job="test")
    stage.write(table)
    store.publish(stage, replace=[day])


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A home with a preset and two days of recommendations; runs the command there."""
    presets = tmp_path / "presets"
    presets.mkdir()
    (presets / "shop.yaml").write_text("description: a shop\n")
    monkeypatch.setenv("SIDEREAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SIDEREAL_PRESETS", str(presets))
    settings = Settings()
    publish(settings, DAY, rows(DAY, [f"user-{n}" for n in range(10)] + ODD))
    publish(settings, NEXT_DAY, rows(NEXT_DAY, [f"user-{n}" for n in range(9)], shift=2))
    return settings


def export(target, day=DAY, *more):
    arguments = ["--preset", "shop", "--day", day.isoformat(), "--to", str(target), *more]
    return CliRunner().invoke(main, ["export", "recommendations", *arguments])


def published(settings, day=DAY):
    found = FeatureStore.open(settings, "shop").read("recommendations", partition=day)
    return found.sort_by("user_id")


def test_parquet_holds_the_rows_of_the_table(shop, tmp_path):
    result = export(tmp_path / "out.parquet")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"15 users' lists are in {tmp_path}/out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").sort_by("user_id").equals(published(shop))


def test_json_lines_hold_an_object_per_user_whatever_their_ids(shop, tmp_path):
    assert export(tmp_path / "out.jsonl").exit_code == 0
    lines = (tmp_path / "out.jsonl").read_bytes().decode().removesuffix("\n").split("\n")
    found = sorted((json.loads(line) for line in lines), key=lambda row: row["user_id"])
    left_out = ("item_indices", "generation")
    expected = [
        {name: value for name, value in row.items() if name not in left_out}
        | {"day": row["day"].isoformat()}
        for row in published(shop).to_pylist()
    ]
    assert sorted(expected, key=lambda row: row["user_id"]) == found


def test_csv_holds_a_row_per_place(shop, tmp_path):
    assert export(tmp_path / "out.csv").exit_code == 0
    found = pyarrow.csv.read_csv(
        tmp_path / "out.csv",
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types={"score": pa.float32()}),
    ).to_pylist()
    expected = [
        {
            "day": DAY,
            "user_id": row["user_id"],
            "place": place,
            "item_id": item,
            "score": score,
            "model_family": "tiger",
            "model_version": 3,
        }
        for row in published(shop).to_pylist()
        for place, (item, score) in enumerate(
            zip(row["item_ids"], row["scores"], strict=True), start=1
        )
    ]
    assert len(expected) == 14 * 3
    assert sorted(found, key=lambda row: (row["user_id"], row["place"])) == expected


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_what_is_there_already_is_left_and_another_day_replaces_it(shop, tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    export(path)
    before = path.stat()
    again = export(path)
    assert again.exit_code == 0
    assert again.output == f"{path} holds these 15 users' lists already\n"
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert json.loads(export(path, NEXT_DAY, "--json").output)["status"] == "done"
    assert path.stat().st_ino != before.st_ino
    assert [each.name for each in tmp_path.iterdir() if "out" in each.name] == [path.name]


def test_facts_as_json(shop, tmp_path):
    facts = json.loads(export(tmp_path / "out.csv", DAY, "--json").output)
    assert facts.pop("seconds") > 0
    store = FeatureStore.open(shop, "shop")
    assert facts == {
        "status": "done",
        "target": str(tmp_path / "out.csv"),
        "users": 15,
        "written": 15,
        "preset": "shop",
        "day": "2026-03-01",
        "content_hash": store.content_hash("recommendations", partition=DAY),
        "snapshot_id": str(store.snapshot_id("recommendations")),
    }


def test_a_disk_that_is_full_leaves_the_file_that_was_there(shop, tmp_path, monkeypatch):
    path = tmp_path / "out.jsonl"
    export(path)
    before = path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(to_file.os, "fsync", full)
    result = export(path, NEXT_DAY)
    assert result.exit_code == 1
    assert result.stderr == "export: [Errno 28] No space left on device\n"
    assert path.read_bytes() == before
    assert not (tmp_path / ".out.jsonl.partial").exists()


def test_what_a_killed_export_left_is_written_over(shop, tmp_path):
    (tmp_path / ".out.csv.partial").write_text("half a row")
    export(tmp_path / "out.csv")
    assert "half a row" not in (tmp_path / "out.csv").read_text()
    assert not (tmp_path / ".out.csv.partial").exists()


def test_two_exports_to_one_file_are_not_mixed(shop, tmp_path):
    with to_file._beside(tmp_path / "out.csv"):
        result = export(tmp_path / "out.csv")
    assert result.exit_code == 1
    assert "another export writes" in result.stderr and "wait for it" in result.stderr
    assert export(tmp_path / "out.csv").exit_code == 0


def test_without_a_day_it_is_the_latest_with_recommendations(shop, tmp_path):
    target = tmp_path / "out.parquet"
    arguments = ["export", "recommendations", "--to", str(target)]
    result = CliRunner().invoke(main, arguments, env={"SIDEREAL_PRESET": "shop"})
    assert result.exit_code == 0, result.output
    assert pq.read_table(target).sort_by("user_id").equals(published(shop, NEXT_DAY))


def test_before_any_recommendations_it_says_how_they_are_made(shop, tmp_path):
    arguments = ["export", "recommendations", "--to", str(tmp_path / "out.csv")]
    (shop.presets / "films.yaml").write_text("description: none yet\n")
    result = CliRunner().invoke(main, [*arguments, "--preset", "films"])
    assert result.exit_code == 1
    assert result.stderr == (
        "export: preset 'films' has no recommendations yet. Run `sidereal run --preset films`\n"
    )


def test_a_day_without_recommendations_names_the_days_that_have_some(shop, tmp_path):
    result = export(tmp_path / "out.csv", date(2026, 3, 9))
    assert result.exit_code == 1
    assert result.stderr == (
        "export: preset 'shop' has no recommendations of 2026-03-09; there are those of 2026-03-01 "
        "to 2026-03-02. Run `sidereal run --preset shop --days 2026-03-09`\n"
    )
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("out.xlsx", "expected a file that ends in .parquet, .csv, .jsonl, or an address such as"),
        ("s3://bucket/out.csv", "expected a file that ends in"),
        ("no/such/out.csv", "is no folder"),
        ("taken.csv", "which is a folder; name a file in it"),
    ],
)
def test_a_target_that_is_none_is_refused_before_anything_is_read(
    shop, tmp_path, monkeypatch, target, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.csv").mkdir()
    result = export(target)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_unknown_preset_is_a_usage_error(shop, tmp_path):
    arguments = ["--preset", "shpo", "--day", "2026-03-01", "--to", str(tmp_path / "out.csv")]
    result = CliRunner().invoke(main, ["export", "recommendations", *arguments])
    assert result.exit_code == 2
    assert "export: no preset at" in result.stderr


def documented_python(folder, **variables):
    """The page's Python, run in a folder as a person would, nothing of ours in the environment."""
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    (block,) = [each for each in blocks if "FeatureStore" in each]
    environment = {n: v for n, v in os.environ.items() if not n.startswith("SIDEREAL_")}
    return subprocess.run(
        [sys.executable, "-c", block],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(REPOSITORY)} | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_documented_python_reads_every_user_of_the_folder_that_init_made(tmp_path):
    folder = tmp_path / "mine"
    CliRunner().invoke(main, ["init", str(folder)])
    publish(Settings(home=folder / "state"), DAY, rows(DAY, ["user-0", "user-1"]))
    done = documented_python(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "user-0 ['item \"0\"'" in done.stdout
    # A variable that is set wins, and what holds nothing is named.
    elsewhere = documented_python(folder, SIDEREAL_HOME=str(tmp_path / "other"))
    assert f"where this home is the wrong one: {tmp_path / 'other'}" in elsewhere.stderr


def test_a_folder_without_an_env_file_is_refused_not_taken_for_the_checkout(tmp_path):
    with pytest.raises(EnvironmentFileError, match=r"there is no .*/\.env; `sidereal init` makes"):
        Settings.of_folder(tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Redis on loopback that keeps nothing on disk; its address."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server on the PATH; on Debian: apt-get install redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(
        [binary, *options, "--requirepass", "geheim"],
        cwd=tmp_path_factory.mktemp("redis"),
        stdout=subprocess.DEVNULL,
    )
    address = f"redis://:geheim@127.0.0.1:{port}/0"
    client = redis.Redis.from_url(address)
    deadline = time.monotonic() + 30
    while True:
        try:
            client.ping()
            break
        except redis.ConnectionError:
            assert time.monotonic() < deadline, "redis-server did not come up"
            time.sleep(0.1)
    yield address
    process.terminate()
    process.wait(10)


@pytest.fixture
def client(server):
    client = redis.Redis.from_url(server, decode_responses=True)
    client.flushall()
    return client


def lists_of(client, user_id):
    """What a reader gets."""
    version = client.get(f"{PLACE}:current")
    found = client.get(f"{PLACE}:{version}:{user_id}")
    return None if found is None else json.loads(found)


def all_lists(settings, day):
    return {
        row["user_id"]: {"item_ids": row["item_ids"], "scores": row["scores"]}
        for row in published(settings, day).to_pylist()
    }


def test_redis_holds_every_users_lists_under_a_version(shop, server, client):
    result = export(server)
    assert result.exit_code == 0, result.output
    assert "15 users' lists are in redis://127.0.0.1:" in result.output
    assert "geheim" not in result.output
    expected = all_lists(shop, DAY)
    assert {user: lists_of(client, user) for user in expected} == expected
    content = FeatureStore.open(shop, "shop").content_hash("recommendations", partition=DAY)
    assert client.get(f"{PLACE}:current") == f"2026-03-01-{content[:12]}"


def test_redis_readers_get_the_next_day_at_once_and_old_versions_go(shop, server, client):
    export(server)
    first = client.get(f"{PLACE}:current")
    again = export(server)
    assert "holds these 15 users' lists already" in again.output
    export(server, NEXT_DAY)
    expected = all_lists(shop, NEXT_DAY)
    assert {user: lists_of(client, user) for user in expected} == expected
    assert lists_of(client, ODD[0]) is None  # was of the day before only
    assert client.get(f"{PLACE}:previous") == first
    assert len(client.keys(f"{PLACE}:{first}:*")) == 15
    client.set("somebody:else", "stays")
    publish(shop, DAY, rows(DAY, ["user-1", "user-2"]))
    facts = json.loads(export(server, DAY, "--json").output)
    assert (facts["status"], facts["users"], facts["written"]) == ("done", 2, 2)
    assert client.keys(f"{PLACE}:{first}:*") == []
    assert set(client.hkeys(f"{PLACE}:versions")) == set(
        client.mget(f"{PLACE}:current", f"{PLACE}:previous")
    )
    assert client.get("somebody:else") == "stays"


def test_redis_goes_back_to_a_version_that_is_still_there(shop, server, client):
    export(server)
    export(server, NEXT_DAY)
    facts = json.loads(export(server, DAY, "--json").output)
    assert (facts["status"], facts["written"]) == ("done", 0)
    assert lists_of(client, ODD[0]) == all_lists(shop, DAY)[ODD[0]]


def test_an_export_to_redis_that_was_killed_goes_on(shop, server, client):
    export(server, NEXT_DAY)
    serving = client.get(f"{PLACE}:current")
    publish(shop, DAY, rows(DAY, [f"user-{n}" for n in range(30_000)]))
    code = (
        "import training.export.to_redis as to; to.USERS_AT_ONCE = 10; "
        "from sidereal.cli import main; main()"
    )
    arguments = ["--preset", "shop", "--day", DAY.isoformat(), "--to", server]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "export", "recommendations", *arguments], env={**os.environ}
    )
    while len(client.hkeys(f"{PLACE}:versions")) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert client.get(f"{PLACE}:current") == serving
    expected = all_lists(shop, NEXT_DAY)
    assert {user: lists_of(client, user) for user in expected} == expected
    facts = json.loads(export(server, DAY, "--json").output)
    assert facts["status"] == "done"
    assert 0 < facts["written"] < facts["users"] == 30_000
    version = client.get(f"{PLACE}:current")
    keys = client.keys(f"{PLACE}:{version}:*")
    assert len(keys) == 30_000
    expected = all_lists(shop, DAY)
    assert all(lists_of(client, user) == expected[user] for user in ("user-0", "user-29998"))


def test_a_version_begun_from_another_snapshot_is_written_anew(shop, server, client):
    content = FeatureStore.open(shop, "shop").content_hash("recommendations", partition=DAY)
    state = json.dumps({"snapshot_id": "1", "written": 14, "complete": False})
    client.hset(f"{PLACE}:versions", f"{DAY}-{content[:12]}", state)
    assert json.loads(export(server, DAY, "--json").output)["written"] == 15


def test_more_users_than_a_transaction_takes(shop, server, client, monkeypatch):
    monkeypatch.setattr(to_redis, "USERS_AT_ONCE", 4)
    export(server)
    expected = all_lists(shop, DAY)
    assert {user: lists_of(client, user) for user in expected} == expected


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("redis://:geheim@127.0.0.1:1/0", r"export: Redis at redis://127.0.0.1:1/0: "),
        ("redis://127.0.0.1:port/0", r"is no address of a Redis"),
    ],
)
def test_a_redis_that_is_not_there_is_one_line_without_the_password(shop, address, message):
    result = export(address)
    assert result.exit_code == 1
    assert message in result.stderr and len(result.stderr.splitlines()) == 1
    assert "geheim" not in result.output
