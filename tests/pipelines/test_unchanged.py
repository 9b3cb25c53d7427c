"""A job that could change nothing: found out without Spark, and never taken for one that could."""

import os
import shutil
import subprocess
import sys
from datetime import timedelta

import pytest
import yaml

from feature_store.run_record import read_steps, write_step
from feature_store.settings import Settings
from feature_store.steps import steps
from feature_store.store import FeatureStore
from pipelines.jobs import JOBS
from pipelines.runner import run_job
from pipelines.unchanged import raw_files, unchanged
from tests.conftest import REPOSITORY
from tests.pipelines.raw_worlds import DAY, good_rows, table_config, write_catalogue, write_csv

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

STEPS = ("build_items", "ingest_interactions", "build_user_sequences")
AFTER = DAY + timedelta(days=1)

ASKS_AGAIN = """
import sys
from click.testing import CliRunner
from sidereal.cli import main
done = CliRunner().invoke(main, sys.argv[1:])
print(done.output, done.exit_code, [name for name in ("pyspark", "torch") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def world(spark, tmp_path_factory):
    """A home in which a day's first steps were run, and the config."""
    folder = tmp_path_factory.mktemp("unchanged")
    settings = Settings(home=folder / "home", spark_master="local[2]")
    write_catalogue(settings.data_path)
    write_csv(settings.data_path / "log" / f"{DAY}.csv", good_rows())
    config = table_config()
    for name in STEPS:
        run_job(name, preset_config=config, settings=settings, day=DAY)
    return settings, config


def asked(world, *, settings=None, config=None, day=DAY):
    """Of each step, whether nothing is to be done."""
    settings, config = settings or world[0], config or world[1]
    return [unchanged(name, config, settings, day) is not None for name in STEPS]


def test_a_rerun_keeps_what_the_first_run_recorded(world):
    settings, config = world
    before = read_steps(settings.runs_of("own"), DAY)["ingest_interactions"]
    again = unchanged("ingest_interactions", config, settings, DAY)
    assert (before["rows_in"], before["published"], before["duplicates"]) == (40, 40, 0)
    assert again == {**before, "status": "unchanged", "seconds": again["seconds"]}
    assert again == read_steps(settings.runs_of("own"), DAY)["ingest_interactions"]
    assert asked(world) == [True, True, True]


def test_the_command_finds_out_without_spark(world, tmp_path):
    settings, config = world
    preset = tmp_path / "own.yaml"
    preset.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = ["step", *STEPS, "--preset", str(preset), "--day", str(DAY)]
    told = subprocess.run(
        [sys.executable, "-c", ASKS_AGAIN, *command],
        env={**os.environ, "SIDEREAL_HOME": str(settings.home)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.strip().endswith("0 []"), told
    assert told.count("unchanged in") == 3
    assert "40 rows in = 40 published + 0 duplicates + 0 quarantined" in told


def test_a_later_day_s_delivery_is_none_of_this_day_s_files(world):
    path = write_csv(world[0].data_path / "log" / f"{AFTER}.csv", good_rows(day=AFTER))
    assert asked(world) == [True, True, True]
    assert asked(world, day=AFTER) == [False, False, False]
    path.unlink()


@pytest.mark.parametrize("what", ["longer", "touched", "beside it", "catalogue"])
def test_other_raw_files_are_read_again(world, what):
    folder = world[0].data_path / "log"
    path = folder / f"{DAY}.csv"
    if what == "catalogue":
        path = world[0].data_path / "items.csv"
    content, before = path.read_bytes(), path.stat()
    if what == "longer":
        path.write_bytes(content + b"u1,a,2024-03-10 23:00:00,1,1\n")
    elif what == "beside it":
        (folder / "2024-03-09.csv").write_bytes(content)
    else:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert asked(world) == [False, False, True]
    path.write_bytes(content)
    (folder / "2024-03-09.csv").unlink(missing_ok=True)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert asked(world) == [True, True, True]


def test_another_preset_does_the_work(world):
    _, config = world
    assert asked(world, config=table_config(sequences={"max_events": 7})) == [False] * 3
    elsewhere = config.model_copy(update={"name": "other"})
    assert asked(world, config=elsewhere) == [False] * 3


def test_other_code_does_the_work(world, tmp_path):
    settings, config = world
    for package in ("pipelines", "feature_store", "sidereal"):
        shutil.copytree(REPOSITORY / package, tmp_path / package)
    preset = tmp_path / "own.yaml"
    preset.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    ask = """
import sys
from datetime import date
from pathlib import Path
from feature_store.settings import Settings
from feature_store.preset import load
from pipelines.config import PART
from pipelines.unchanged import unchanged
config = load(PART, sys.argv[1], folder=Path())
print(unchanged("build_items", config, Settings(), date.fromisoformat(sys.argv[2])) is not None)
"""
    told = []
    for more in ("", "\nANYTHING = 1\n"):
        with (tmp_path / "pipelines" / "errors.py").open("a") as file:
            file.write(more)
        done = subprocess.run(
            [sys.executable, "-c", ask, str(preset), str(DAY)],
            env={**os.environ, "SIDEREAL_HOME": str(settings.home), "PYTHONPATH": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        told.append(done.stdout.strip())
    assert told == ["True", "False"]


@pytest.mark.parametrize("status", ["failed", "refused"])
def test_a_step_that_did_not_end_well_is_run_again(world, status):
    settings, _ = world
    runs = settings.runs_of("own")
    before = read_steps(runs, DAY)["build_items"]
    write_step(runs, DAY, "build_items", {**before, "status": status})
    assert asked(world) == [False, True, True]
    write_step(runs, DAY, "build_items", before)


def test_tables_that_hold_something_else_now_are_written_again(world):
    settings, _ = world
    store = FeatureStore.open(settings, "own")
    head = store.snapshot_id("items")
    stage = store.stage("items", day=DAY, job="somebody")
    stage.write(store.read("items").slice(0, 3))
    store.publish(stage)
    assert asked(world) == [False, False, False]
    store.rollback("items", head, reason="a test's")
    assert asked(world)[1:] == [True, True]


def test_files_that_only_spark_can_list_are_read(world):
    settings, config = world
    remote = table_config(path="s3://bucket/log")
    assert raw_files("ingest_interactions", remote, settings, DAY) is None
    nothing = table_config(path="nowhere", catalogue="")
    assert raw_files("ingest_interactions", nothing, settings, DAY) is None
    as_uri = table_config(path=f"file://{settings.data_path}/log/{{day}}.csv")
    assert raw_files("ingest_interactions", as_uri, settings, DAY) == raw_files(
        "ingest_interactions", config, settings, DAY
    )


def test_a_link_to_nothing_is_no_obstacle(world):
    settings, config = world
    link = settings.data_path / "log" / "broken.csv"
    link.symlink_to("nowhere")
    found = raw_files("ingest_interactions", config, settings, DAY)
    link.unlink()
    assert (str(link), -1, -1) in found


def test_every_job_that_opens_the_source_is_said_to_read_raw_files():
    import inspect

    opens = {
        name
        for name, job in JOBS.items()
        if "open_source" in inspect.getsource(inspect.getmodule(job.build))
    }
    assert opens == {name for name, step in steps().items() if "raw_files" in step.reads}
