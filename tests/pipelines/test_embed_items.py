"""The job: who is encoded, who is carried over, what the record says."""

from datetime import date

import pyarrow as pa
import pytest

from feature_store.store import FeatureStore
from pipelines.config import PipelineConfig
from pipelines.errors import DataRefused
from pipelines.files import write_staged
from pipelines.jobs.embed_items import JOB
from pipelines.jobs.interface import JobRun
from tests.pipelines.sequence_world import catalogue_rows

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]

DAY = date(2024, 1, 1)
CONFIG = PipelineConfig.model_validate(
    {
        "name": "t",
        "source": {"layout": "movielens", "dataset": "100k", "strength": []},
        "embedding": {"encoder": "categorical", "dimensions": 16},
    }
)


def embed(spark, settings, store):
    """Facts of a run, and what it published, as the runner does it."""
    run = JobRun(spark=spark, store=store, config=CONFIG, settings=settings, day=DAY)
    stage = store.stage("item_embeddings", day=DAY, job=JOB.name)
    output = JOB.build(run)
    write_staged(output.frames["item_embeddings"], stage.contract, stage.directory)
    published = store.publish(stage, replace=output.replace[stage.table], inputs=run.inputs)
    output.release()
    return dict(output.facts), published


def test_some_items_without_content_are_no_alarm(spark, settings):
    store = FeatureStore.open(settings, "t")
    rows = catalogue_rows(DAY).slice(0, 10).to_pylist()
    for row in rows[1:]:
        row["attributes"] = [("kind", "toy")]
    publish_items(store, pa.Table.from_pylist(rows, schema=catalogue_rows(DAY).schema))
    facts, _ = embed(spark, settings, store)
    assert (facts["items_without_content"], facts["alarms"]) == (1, [])


def publish_items(store, rows):
    stage = store.stage("items", day=DAY, job="test")
    stage.write(rows)
    store.publish(stage)


def test_new_items_are_encoded_once_and_a_rerun_changes_nothing(spark, settings):
    store = FeatureStore.open(settings, "t")
    publish_items(store, catalogue_rows(DAY).slice(0, 30))
    assert embed(spark, settings, store)[0]["items_encoded"] == 30
    publish_items(store, catalogue_rows(DAY))
    facts, grown = embed(spark, settings, store)
    assert facts == {
        "encoder": "categorical-16@1",
        "items_encoded": 10,
        "items_carried_over": 30,
        "items_without_content": 40,
        "alarms": [
            "40 of 40 items have no attribute: their ids are embedded, which say nothing of what "
            "is alike (alarm above 10%); name columns in source.catalogue.attributes"
        ],
    }
    facts, again = embed(spark, settings, store)
    assert (grown.rows, facts["items_encoded"], again.changed) == (40, 0, False)


def test_without_a_catalogue_the_day_is_refused(spark, settings):
    run = JobRun(
        spark=spark,
        store=FeatureStore.open(settings, "t"),
        config=CONFIG,
        settings=settings,
        day=DAY,
    )
    with pytest.raises(DataRefused, match="no item to embed; run build_items"):
        JOB.build(run)
