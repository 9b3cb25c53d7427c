"""kill -9 of a job between stage and commit: the retry ends in the same tables."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from feature_store.settings import Settings
from feature_store.store import FeatureStore
from pipelines.runner import run_job
from tests.pipelines.raw_worlds import DAY, good_rows, table_config, write_catalogue, write_csv

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark"), pytest.mark.exhaustive]
REPOSITORY = Path(__file__).resolve().parent.parent.parent
TABLES = ("items", "interactions", "quarantine", "deliveries")
JOBS = ("build_items", "ingest_interactions")
DIES_BEFORE_COMMITTING = """
import os, signal, sys
from feature_store.settings import Settings
from feature_store.store import FeatureStore
from pipelines.runner import run_job
from tests.pipelines.raw_worlds import DAY, table_config

publish = FeatureStore.publish

def die(store, stage, **options):
    if stage.table == sys.argv[1]:
        print(len(stage.files()), "files staged", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return publish(store, stage, **options)

FeatureStore.publish = die
for name in ("build_items", "ingest_interactions"):
    run_job(name, preset_config=table_config(), settings=Settings(), day=DAY)
"""


def deliver(settings):
    write_catalogue(settings.data_path)
    write_csv(settings.data_path / "log" / f"{DAY}.csv", [*good_rows(), ("u", "zzz", "x", 1, 1)])


def hashes(settings):
    store = FeatureStore.open(settings, "own")
    return {name: store.content_hash(name) for name in TABLES}


@pytest.mark.parametrize("table", ["interactions", "deliveries"])
def test_a_job_killed_before_a_commit_is_run_again_to_the_same_tables_and_counts(
    spark, settings, tmp_path, table
):
    deliver(settings)
    environment = {
        "SIDEREAL_HOME": str(settings.home),
        "SIDEREAL_SPARK_MASTER": "local[1]",
        "SIDEREAL_SPARK_DRIVER_MEMORY": "512m",
    }
    killed = subprocess.run(
        [sys.executable, "-c", DIES_BEFORE_COMMITTING, table],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout == "1 files staged\n"
    store = FeatureStore.open(settings, "own")
    assert store.exists("interactions") == (table == "deliveries")
    assert not store.exists("deliveries")

    undisturbed = Settings(home=tmp_path / "undisturbed")
    deliver(undisturbed)
    for each in (settings, undisturbed):
        for name in JOBS:
            facts = run_job(name, preset_config=table_config(), settings=each, day=DAY)
        account = {name: facts[name] for name in ("rows_in", "published", "duplicates")}
        assert account == {"rows_in": 41, "published": 40, "duplicates": 0}
        assert facts["quarantined"] == 1
    assert hashes(settings) == hashes(undisturbed)
