"""What every DAG file must keep: it loads anywhere, explains itself, and starts real commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from feature_store.steps import producer_of
from feature_store.tables import CATALOG
from sidereal.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]
DAY = "1998-04-20"

LOADER = """
import importlib, json, sys

BLOCKED = ("torch", "pyspark", "pyarrow", "pyiceberg", "mlflow", "great_expectations",
           "pipelines", "training", "feature_store.store", "feature_store.settings")

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in BLOCKED or name.startswith(tuple(b + "." for b in BLOCKED)):
            raise ImportError(f"a DAG file imports {name}")

sys.meta_path.insert(0, Blocker())
loaded = {n: importlib.import_module(f"dags.{n}").dag.dag_id for n in sys.argv[1:]}
print(json.dumps(loaded))
"""


def test_every_dag_file_loads_without_any_engine(tmp_path):
    names = sorted(path.stem for path in (REPOSITORY / "dags").glob("*.py") if path.stem[0] != "_")
    loaded = subprocess.run(
        [sys.executable, "-c", LOADER, *names],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr[-2000:]
    # One DAG per file, named like its file.
    assert json.loads(loaded.stdout.splitlines()[-1]) == {name: name for name in names}


def test_dags_survive_the_trip_through_the_database(dags):
    from airflow.serialization.serialized_objects import DagSerialization

    for dag in dags.values():
        restored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        assert set(restored.task_dict) == set(dag.task_dict)
        assert type(restored.timetable).__name__ == type(dag.timetable).__name__


def test_tags_are_from_the_closed_list(dags):
    from dags.common.defaults import Tag

    for dag in dags.values():
        assert dag.tags
        assert set(dag.tags) <= {tag.value for tag in Tag}, dag.dag_id


def test_every_docstring_is_a_runbook_with_a_triage_section(dags):
    for dag in dags.values():
        assert dag.doc_md, dag.dag_id
        for part in ("**Makes**", "**Runs**", "## Triage"):
            assert part in dag.doc_md, f"{dag.dag_id} lacks {part}"


def test_runs_of_a_dag_follow_each_other_and_nothing_leans_on_a_start_date(dags):
    for dag in dags.values():
        assert dag.max_active_runs == 1
        assert dag.catchup is False
        assert dag.start_date is None
        for task in dag.tasks:
            assert task.retries == 2
            assert task.retry_exponential_backoff


def test_every_table_is_emitted_by_the_task_that_writes_it(dags):
    emitted = {
        asset.name: task.task_id
        for dag in dags.values()
        for task in dag.tasks
        for asset in task.outlets
    }
    assert emitted == {f"movielens-100k/{name}": producer_of(name) for name in CATALOG}


@pytest.mark.parametrize(
    ("dag_id", "waits_for"),
    [
        ("features_daily", {"interactions", "users"}),
        (
            "semantic_ids_weekly",
            {"item_embeddings", "collaborative_vectors", "item_cooccurrence"},
        ),
        (
            "recommender_daily",
            {
                *("preference_pairs", "preference_lists", "semantic_ids"),
                *("feature_vocabularies", "impressions"),
            },
        ),
    ],
)
def test_a_dag_is_started_by_the_tables_it_reads(dags, dag_id, waits_for):
    from airflow.sdk import PartitionedAssetTimetable

    timetable = dags[dag_id].timetable
    assert isinstance(timetable, PartitionedAssetTimetable)
    condition = timetable.asset_condition
    assert {asset.name for asset in getattr(condition, "objects", [condition])} == {
        f"movielens-100k/{table}" for table in waits_for
    }


def test_the_first_dag_runs_each_night_for_the_day_before(dags):
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import DagRunInfo, TimeRestriction
    from pendulum import datetime

    night = DagRunInfo(
        run_after=datetime(1998, 4, 20, 2),
        data_interval=None,
        partition_date=None,
        partition_key=None,
    )
    following = coerce_to_core_timetable(dags["interactions_daily"].timetable).next_dagrun_info_v2(
        last_dagrun_info=night, restriction=TimeRestriction(None, None, catchup=True)
    )
    assert following.run_after == datetime(1998, 4, 21, 2)
    assert following.partition_key == "1998-04-20"


def test_tasks_within_a_dag_keep_their_order(dags):
    downstream = {
        task.task_id: set(task.downstream_task_ids) for dag in dags.values() for task in dag.tasks
    }
    assert downstream == {
        "build_items": {"ingest_interactions"},
        "build_users": set(),
        "ingest_interactions": set(),
        "embed_items": {"build_preference_pairs"},
        "build_user_sequences": {
            *("build_impressions", "build_collaborative_vectors", "build_item_cooccurrence"),
        },
        "build_impressions": set(),
        "build_collaborative_vectors": set(),
        "build_slates": {
            *("build_preference_pairs", "build_preference_lists", "build_item_cooccurrence"),
        },
        "build_preference_pairs": set(),
        "build_preference_lists": set(),
        "build_item_cooccurrence": set(),
        "train_tokenizer": {"build_semantic_ids"},
        "build_semantic_ids": set(),
        "train_recommender": {"align_recommender"},
        "align_recommender": {"blend_recommenders"},
        "train_baselines": {"blend_recommenders"},
        "blend_recommenders": {"evaluate_recommender"},
        "evaluate_recommender": {"promote_recommender"},
        "promote_recommender": {"recommend", "sample_beams"},
        "recommend": {"compare_answers"},
        "compare_answers": {"write_report"},
        "sample_beams": set(),
        "write_report": set(),
        "maintain_tables": set(),
    }


def test_every_task_runs_a_command_that_the_real_command_line_accepts(dags):
    for dag in dags.values():
        for task in dag.tasks:
            task.render_template_fields({"partition_key": DAY})
            argv = _argv(task)
            context, rest = _parse(argv[1:])
            assert argv[0] == "sidereal"
            assert not rest, f"{task.task_id}: {rest} are left over of {argv}"
            if "day" in context.params:
                assert context.params["day"].isoformat() == DAY
                assert context.params["preset"] == "movielens-100k"


def _argv(task):
    """The command as typed; a Spark application takes the arguments of `sidereal step`."""
    if not hasattr(task, "application"):
        return task.argv
    assert Path(task.application).is_file()
    return ["sidereal", "step", *task.application_args]


def _parse(arguments):
    """The context of the innermost command, parsed and not run."""
    context = main.make_context("sidereal", list(arguments))
    while isinstance(context.command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    return context, context.args
