"""train_recommender over the small world, from published tables to bundles in the registry."""

import itertools
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from feature_store.arrow import arrow_schema
from feature_store.preset import PresetError
from feature_store.settings import Settings
from feature_store.store import FeatureStore
from feature_store.tables import CATALOG
from tests.recommender_world import (
    DAY,
    ITEM_IDS,
    NUM_ITEMS,
    NUM_KINDS,
    catalogue,
    histories,
    tables_of,
)
from training import inference
from training.config import TrainingConfig
from training.data.histories import Histories
from training.data.splits import fit_facts
from training.models.interface import queries_of
from training.programs import build_semantic_ids, train_recommender, train_tokenizer
from training.programs.day_inputs import split_histories
from training.programs.errors import ProgramError, TooLittleData
from training.programs.interface import Task
from training.registry.predictor import BundlePredictor

_NAMES = itertools.count()
SMALL = {
    "tiger": {"width": 16, "num_layers": 1, "num_heads": 1, "beam_width": 10},
    "sasrec": {"width": 16, "hidden_width": 16, "num_layers": 1, "num_heads": 1},
}


def config(name, **sections):
    return TrainingConfig.model_validate(
        {
            "name": name,
            "tokenizer": {
                "num_levels": 2,
                "codebook_size": 8,
                "iterations": 10,
                "collisions": "suffix",
            },
            "models": {"challenger": "tiger", "settings": SMALL},
            "training": {
                "max_epochs": 8,
                "tokens_per_batch": 512,
                "max_history": 20,
                "learning_rate": 0.01,
                "warmup_steps": 5,
                "overrides": {"sasrec": {"max_epochs": 25, "patience_epochs": 25}},
            },
            "evaluation": {"holdout_days": 7, "validation_days": 2},
            **sections,
        }
    )


def publish(store, table, rows):
    stage = store.stage(table, day=DAY, job="test")
    stage.write(pa.table(rows, schema=arrow_schema(CATALOG[table])))
    return store.publish(stage)


def publish_world(store, **world):
    """Histories, catalogue, and item vectors in which items of a kind are neighbours."""
    items = catalogue()
    publish(
        store,
        "items",
        {
            "item_id": items["item_id"],
            "item_index": items["item_index"],
            "first_day": pa.array([DAY] * NUM_ITEMS, pa.date32()),
            "first_listed_day": pa.nulls(NUM_ITEMS, pa.date32()),
            "last_listed_day": pa.nulls(NUM_ITEMS, pa.date32()),
            "title": [None] * NUM_ITEMS,
            "text": [None] * NUM_ITEMS,
            "attributes": [[]] * NUM_ITEMS,
        },
    )
    generator = np.random.default_rng(0)
    centres = np.eye(NUM_KINDS, 8) * 5
    vectors = centres[np.arange(NUM_ITEMS) % NUM_KINDS] + generator.normal(size=(NUM_ITEMS, 8))
    publish(
        store,
        "item_embeddings",
        {
            "encoder": ["text@1"] * NUM_ITEMS,
            "item_id": ITEM_IDS,
            "item_index": pa.array(range(NUM_ITEMS), pa.int32()),
            "content_digest": ["-"] * NUM_ITEMS,
            "embedding": vectors.astype(np.float32).tolist(),
        },
    )
    rows = histories(**world)
    schema = arrow_schema(CATALOG["user_sequences"])
    publish(store, "user_sequences", rows.select(schema.names).cast(schema).to_pydict())


@pytest.fixture(scope="module")
def settings(mlflow_settings, tmp_path_factory):
    """Addresses; tests have presets of their own, and so tables of their own."""
    place = tmp_path_factory.mktemp("tables")
    return Settings(
        home=mlflow_settings.home,
        warehouse=str(place / "warehouse"),
        catalog_uri=f"sqlite:///{place}/catalog.db",
        device="cpu",
    )


@pytest.fixture
def task(settings):
    """A task in a preset that no other test has, without a tokenizer."""
    made = config(f"fits-{next(_NAMES)}")
    task = Task(settings, made, DAY, step="train_recommender", families=("popularity",))
    publish_world(tables_of(task))
    return task


@pytest.fixture(scope="module")
def trained(settings):
    """A preset's tokenizer, and what fitting three families told."""
    made = config("trained")
    publish_world(FeatureStore.open(settings, made.name))
    for program in (train_tokenizer, build_semantic_ids):
        program.run(Task(settings, made, DAY, step=program.__name__.rsplit(".", 1)[-1]))
    families = ("tiger", "sasrec", "popularity")
    task = Task(settings, made, DAY, step="train_recommender", families=families)
    return task, train_recommender.run(task)


def bundle_of(task, family):
    return task.registry.fetch(task.registry.find_candidate(DAY.isoformat(), family))


def test_every_family_is_kept_as_a_bundle(trained):
    task, facts = trained
    assert facts["status"] == "done"
    for family in ("tiger", "sasrec", "popularity"):
        bundle = bundle_of(task, family)
        assert bundle.family == family
        assert bundle.digest == facts["families"][family]["digest"]
        assert bundle.document("split") == fit_facts(facts["split"])
        assert bundle.document("config")["training"]["max_history"] == 20
        assert bundle.document("training")["seconds"] >= 0
    assert bundle_of(task, "tiger").origin.generation == facts["families"]["tiger"]["generation"]
    assert bundle_of(task, "tiger").origin.inputs.keys() == {
        "user_sequences",
        "items",
        "semantic_ids",
    }
    assert bundle_of(task, "sasrec").semantic_ids() is None


@pytest.mark.parametrize("family", ["tiger", "sasrec"])
def test_a_bundle_has_found_what_the_world_is_made_of(trained, family):
    task, _ = trained
    predictor = BundlePredictor.of(bundle_of(task, family), device="cpu")
    split = split_histories(Histories.from_arrow(histories()), DAY, task.config.evaluation)
    (queries,) = queries_of(split.test, max_history=20, exclude_seen=True)
    answer = inference.recommend(predictor.model, queries, 3).items_Bk
    assert (answer % NUM_KINDS == split.test.items[:, None] % NUM_KINDS).mean() > 0.9


def test_curves_are_told_and_logged(trained):
    task, facts = trained
    for family in ("tiger", "sasrec"):
        told = facts["families"][family]
        assert told["stopped_because"]
        run = task.registry._client.get_run(told["run_id"])
        assert run.data.metrics["loss"] == pytest.approx(told["epochs"][-1]["loss"])
        assert run.data.metrics["padding_share"] >= 0
        assert run.data.metrics["tokens_per_second"] > 0
        assert run.data.params["width"] == "16"
        points = task.registry._client.get_metric_history(told["run_id"], "validation")
        assert [point.step for point in points] == [epoch["epoch"] for epoch in told["epochs"]]
    assert facts["families"]["popularity"]["epochs"] == []


def test_a_rerun_makes_nothing_new(trained):
    task, facts = trained
    before = [run.info.run_id for run in task.registry._search({})]
    again = train_recommender.run(task)
    assert again["status"] == "unchanged"
    for family in task.families:
        assert again["families"][family]["digest"] == facts["families"][family]["digest"]
        assert again["families"][family]["epochs"] == facts["families"][family]["epochs"]
    assert [run.info.run_id for run in task.registry._search({})] == before


def test_another_setting_makes_another_bundle_and_the_way_back_one_more(task):
    first = train_recommender.run(task)["families"]["popularity"]
    shapes = {"popularity": {"half_life_days": 2.0}}
    models = task.config.models.model_copy(update={"settings": shapes})
    changed = replace(task, config=task.config.model_copy(update={"models": models}))
    second = train_recommender.run(changed)["families"]["popularity"]
    assert second["status"] == "done"
    assert second["digest"] != first["digest"]
    # The latest candidate is what will be evaluated, so it has to be made again.
    third = train_recommender.run(task)["families"]["popularity"]
    assert third["status"] == "done"
    assert third["digest"] == first["digest"]


def test_the_same_fit_elsewhere_gives_the_same_bundle(trained, settings):
    task, _ = trained
    config = task.config.model_copy(update={"name": f"fits-{next(_NAMES)}"})
    other = Task(settings, config, DAY, step="train_recommender", families=("sasrec",))
    publish_world(tables_of(other))
    train_recommender.run(other)
    weights = [bundle_of(at, "sasrec").directory / "model" for at in (task, other)]
    for name in ("sasrec.safetensors", "sasrec.json"):
        assert (weights[0] / name).read_bytes() == (weights[1] / name).read_bytes()


def test_the_checkpoint_goes_when_the_bundle_is_kept(trained, settings):
    checkpoints = settings.home / "checkpoints" / "trained" / DAY.isoformat()
    assert not (checkpoints / "sasrec").exists()


def test_a_fit_that_was_stopped_goes_on_from_its_checkpoint(task, monkeypatch):
    task = replace(task, families=("sasrec",))
    write = train_recommender.keep
    monkeypatch.setattr(train_recommender, "keep", lambda *_: exit("power cut"))
    with pytest.raises(SystemExit, match="power cut"):
        train_recommender.run(task)
    assert task.registry.find_candidate(DAY.isoformat(), "sasrec") is None
    monkeypatch.setattr(train_recommender, "keep", write)
    facts = train_recommender.run(task)["families"]["sasrec"]
    assert facts["resumed_from"]["epoch"] == len(facts["epochs"])


def test_only_strong_enough_events_train(task):
    strict = task.config.training.model_copy(update={"minimum_strength": 3})
    facts = train_recommender.run(
        replace(task, config=task.config.model_copy(update={"training": strict}))
    )
    assert facts["families"]["popularity"]["items_with_events"] == 0


def test_a_process_that_is_not_the_first_fits_and_keeps_nothing(task, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    facts = train_recommender.run(task)
    assert facts["families"]["popularity"]["message"] == "is the first process's to keep"
    assert task.registry.find_candidate(DAY.isoformat(), "popularity") is None


def test_tiger_without_a_tokenizer_is_refused(task):
    with pytest.raises(ProgramError, match="no tokenizer for 2024-03-31; run train_tokenizer"):
        train_recommender.run(replace(task, families=("tiger",)))


def test_a_split_that_leaves_nothing_to_train_on_is_refused(task):
    evaluation = task.config.evaluation.model_copy(update={"holdout_days": 40})
    config = task.config.model_copy(update={"evaluation": evaluation})
    with pytest.raises(TooLittleData, match=r"the log holds 24 day\(s\), of which the last 40"):
        train_recommender.run(replace(task, config=config))


def test_a_day_without_histories_is_refused(task):
    with pytest.raises(ProgramError, match="'user_sequences' has no rows for 2024-04-01"):
        train_recommender.run(replace(task, day=DAY + timedelta(days=1)))


def test_an_unknown_family_is_refused(task):
    with pytest.raises(PresetError, match=r"no family sasrek; there are higr, flat_slate, tiger"):
        train_recommender.run(replace(task, families=("sasrek", "sasrec")))
