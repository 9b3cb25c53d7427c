"""The runner: files as the store wants them, commits in order, a record whatever happens."""

from datetime import datetime, timedelta

import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from feature_store.errors import CommitConflict, ContractViolation, UndeclaredTable
from feature_store.run_record import read_steps
from feature_store.store import FeatureStore
from feature_store.tables.interactions import INTERACTIONS
from feature_store.tables.items import ITEMS
from pipelines import runner
from pipelines.errors import DataRefused
from pipelines.files import write_staged
from pipelines.jobs.interface import Job, JobOutput
from pipelines.runner import run_job
from pipelines.schema import spark_schema
from tests.pipelines.raw_worlds import DAY, table_config

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]


def items(spark, *ids, day=DAY):
    rows = [(item, index, day, None, None, None, None, {}) for index, item in enumerate(ids)]
    return spark.createDataFrame(rows, spark_schema(ITEMS))


@pytest.fixture
def job(spark, settings, monkeypatch):
    """Registers a job that makes `items` and runs it."""

    def run(build, day=DAY):
        made = Job(name="build_items", build=build)
        monkeypatch.setitem(runner.JOBS, "build_items", made)
        config = table_config()
        return run_job("build_items", preset_config=config, settings=settings, day=day)

    return run


def staged_leftovers(settings):
    """Folders of stages that no snapshot refers to."""
    store = FeatureStore.open(settings, "own")
    known = {file.split("/staged-")[1].split("/")[0] for file in store.files("items")}
    there = {path.name.removeprefix("staged-") for path in settings.home.rglob("staged-*")}
    return there - known


@pytest.mark.parametrize("num_days", [None, 2])
def test_a_file_holds_one_day_in_order_and_the_day_itself(spark, tmp_path, num_days):
    rows = [
        (
            day,
            user,
            "a",
            datetime(2024, 3, day.day, hour),
            None,
            None,
            {"x": "1"},
            1,
            None,
            "f",
            hour,
            day,
            {},
        )
        for day in (DAY, DAY - timedelta(days=1))
        for user in ("b", "a")
        for hour in (9, 8)
    ]
    frame = spark.createDataFrame(rows, spark_schema(INTERACTIONS)).repartition(1)
    stage = f"file:{tmp_path}/stage"
    assert write_staged(frame, INTERACTIONS, stage, num_partitions=num_days) == 8
    assert spark.conf.get("spark.sql.maxConcurrentOutputFileWriters") == "0"
    files = sorted((tmp_path / "stage").rglob("*.parquet"))
    assert len(files) == 2
    for file in files:
        table = pq.ParquetFile(file).read()
        assert table.column_names == list(INTERACTIONS.column_names)
        assert len(set(table["day"].to_pylist())) == 1
        assert table["user_id"].to_pylist() == ["a", "a", "b", "b"]
        assert [time.hour for time in table["event_time"].to_pylist()] == [8, 9, 8, 9]


def test_a_frame_of_another_shape_is_refused_before_it_is_written(spark, tmp_path):
    with pytest.raises(ContractViolation, match="column 'title' is missing"):
        write_staged(items(spark, "a").drop("title"), ITEMS, f"file:{tmp_path}/stage")
    assert not (tmp_path / "stage").exists()


def test_a_run_leaves_facts_and_a_second_one_changes_nothing(job, spark, settings):
    released = []

    def build(run):
        known = run.table("items")
        return JobOutput(
            frames={"items": items(run.spark, "a", "b")},
            known_items=known if run.snapshot("items") else None,
            facts={"more": 1},
            raw_files=["items.csv"],
            release=lambda: released.append(True),
        )

    first, second = job(build), job(build)
    assert (first["status"], second["status"]) == ("done", "unchanged")
    assert first["content_hash"] == second["content_hash"]
    assert (first["inputs"], second["inputs"]) == ({}, {"items": first["snapshot_id"]})
    assert (first["rows"], first["more"], first["table"]) == (2, 1, "items")
    assert first["validation"]["rules"]
    assert released == [True, True]
    assert read_steps(settings.runs_of("own"), DAY)["build_items"]["status"] == "unchanged"
    info = FeatureStore.open(settings, "own").history("items")[0]
    assert (info.day, info.job, info.inputs) == (DAY, "build_items", {"raw_files": ["items.csv"]})
    assert staged_leftovers(settings) == set()


def test_a_run_that_fails_leaves_its_record_and_no_files(job, spark, settings):
    released = []

    def build(run):
        frame = items(run.spark, "a").withColumn("title", F.raise_error(F.lit("no such luck")))
        frame = frame.withColumn("title", F.col("title").cast("string"))
        return JobOutput(frames={"items": frame}, release=lambda: released.append(True))

    with pytest.raises(Exception, match="no such luck"):
        job(build)
    record = read_steps(settings.runs_of("own"), DAY)["build_items"]
    assert record["status"] == "failed"
    assert "no such luck" in record["reason"]
    assert record["seconds"] > 0
    assert released == [True]
    assert not list(settings.home.rglob("staged-*"))


def test_what_a_job_has_against_its_staged_rows_refuses_them(job, spark, settings):
    seen = []

    def audit(staged):
        seen.append([row["item_id"] for row in staged.orderBy("item_id").collect()])
        return "the audit found too many" if len(seen[-1]) > 1 else None

    def build(*ids):
        return lambda run: JobOutput(frames={"items": items(run.spark, *ids)},
                                     audits={"items": audit})  # fmt: skip

    assert job(build("a"))["status"] == "done"
    with pytest.raises(DataRefused, match="too many"):
        job(build("a", "b"))
    assert seen == [["a"], ["a", "b"]]
    store = FeatureStore.open(settings, "own")
    assert store.read("items")["item_id"].to_pylist() == ["a"]
    assert read_steps(settings.runs_of("own"), DAY)["build_items"]["status"] == "refused"
    assert staged_leftovers(settings) == set()


def test_two_runs_at_once_do_not_overwrite_each_other(job, spark, settings):
    def other_run_commits_meanwhile(run):
        store = FeatureStore.open(settings, "own")
        stage = store.stage("items", day=DAY, job="build_items")
        write_staged(items(run.spark, "theirs"), ITEMS, stage.directory)
        store.publish(stage)
        return JobOutput(frames={"items": items(run.spark, "ours")})

    with pytest.raises(CommitConflict, match="another run changed"):
        job(other_run_commits_meanwhile)
    store = FeatureStore.open(settings, "own")
    assert store.read("items")["item_id"].to_pylist() == ["theirs"]
    assert staged_leftovers(settings) == set()


def test_a_job_that_reads_a_table_its_step_does_not_declare_is_refused(job, settings):
    with pytest.raises(UndeclaredTable, match="build_items reads table 'slates', and declares"):
        job(lambda run: JobOutput(frames={"items": run.table("slates")}))
    record = read_steps(settings.runs_of("own"), DAY)["build_items"]
    assert record["status"] == "failed" and "feature_store/steps.py" in record["reason"]
