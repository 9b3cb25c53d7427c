"""The list of steps: complete, sound, and what each step is held to."""

import pytest

from feature_store.errors import UndeclaredTable
from feature_store.step import HELD
from feature_store.steps import (
    consumers_of,
    dags,
    producer_of,
    run_first,
    steps,
    steps_before,
    steps_of,
    tables_that_start,
)
from feature_store.store import FeatureStore
from feature_store.tables import CATALOG
from tests.suites.contract_rows import DAY, contract_rows


@pytest.mark.parametrize("step", steps().values(), ids=lambda step: step.name)
def test_a_step_names_tables_and_what_is_held_and_says_what_it_is_for(step):
    known = {*CATALOG, *HELD}
    assert known.issuperset((*step.reads, *step.looks_back, *step.writes))
    assert set(step.reads).isdisjoint(step.writes), "what it wrote before is what it looks back at"
    assert step.writes and step.says.endswith(".") and "\n" not in step.says


@pytest.mark.parametrize("step", steps().values(), ids=lambda step: step.name)
def test_what_a_step_reads_of_the_day_is_written_before_it(step):
    order = list(steps())
    for read in step.reads:
        assert read == "raw_files" or order.index(producer_of(read)) < order.index(step.name)


def test_everything_has_one_writer_and_every_table_but_the_quarantine_a_reader():
    for name in {*CATALOG, *HELD} - {"raw_files"}:
        assert [s.name for s in steps().values() if name in s.writes] == [producer_of(name)]
    assert {table for table in CATALOG if not consumers_of(table)} == {"quarantine"}


def test_every_spark_step_is_a_job_of_its_name():
    from pipelines.jobs import JOBS

    assert {name: job.name for name, job in JOBS.items()} == {
        name: name for name, step in steps().items() if step.kind == "spark"
    }


def test_the_steps_of_a_dag_are_what_its_order_is_made_of():
    assert [step.name for dag in dags() for step in steps_of(dag)] == list(steps())
    assert steps_before("build_preference_pairs") == ("embed_items", "build_slates")
    assert steps_before("build_items") == ()
    assert tables_that_start("interactions_daily", CATALOG) == ()
    assert tables_that_start("features_daily", CATALOG) == ("users", "interactions")


def test_a_message_about_an_absent_input_names_the_step_that_writes_it():
    assert run_first("baselines") == "run train_baselines for that day first"


@pytest.fixture
def filled(settings):
    """A store with rows of `items` and `slates`, as an open one wrote them."""
    store = FeatureStore.open(settings, "world")
    for name in ("items", "slates"):
        stage = store.stage(name, day=DAY, job=producer_of(name))
        stage.write(contract_rows(CATALOG[name], 3, seed=1, partition=DAY))
        store.publish(stage)
    return settings


LOOKS = {
    "read": lambda store: store.read("slates"),
    "scan": lambda store: store.scan("slates"),
    "files": lambda store: store.files("slates"),
    "folder": lambda store: store.folder("slates"),
    "snapshot_id": lambda store: store.snapshot_id("slates"),
    "partitions": lambda store: store.partitions("slates"),
    "row_count": lambda store: store.row_count("slates"),
    "content_hash": lambda store: store.content_hash("slates"),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_step_is_refused_a_table_that_it_does_not_declare(filled, look):
    store = FeatureStore.open(filled, "world", step=steps()["recommend"])
    assert store.read("items").num_rows == 3
    with pytest.raises(
        UndeclaredTable,
        match=r"recommend reads table 'slates', and declares only champion, user_sequences, items, "
        r"recommendations; add 'slates' to what recommend reads in feature_store/steps\.py",
    ):
        LOOKS[look](store)
    LOOKS[look](FeatureStore.open(filled, "world", step=steps()["train_recommender"]))


def test_a_step_stages_only_what_it_declares_to_write(filled):
    store = FeatureStore.open(filled, "world", step=steps()["recommend"])
    store.discard(store.stage("recommendations", day=DAY, job="recommend"))
    with pytest.raises(UndeclaredTable, match="recommend writes table 'items', and declares only"):
        store.stage("items", day=DAY, job="recommend")


def test_the_facts_of_a_lineage_are_open_to_every_step(filled):
    store = FeatureStore.open(filled, "world", step=steps()["write_report"])
    assert store.lineage("slates")["job"] == "build_slates"
