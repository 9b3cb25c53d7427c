"""A day's fit that begins with the weights of a day before."""

from dataclasses import replace
from datetime import timedelta

import pytest
import torch
from safetensors.torch import load_file, save_file

from feature_store.arrow import arrow_schema
from feature_store.settings import Settings
from feature_store.tables import CATALOG
from tests.recommender_world import DAY, histories
from tests.training.test_train_recommender import _NAMES, SMALL, config, publish_world
from training.fit.first_weights import begin_with
from training.models import MODELS
from training.models.sasrec.model import Sasrec
from training.models.weights import tensors_path
from training.programs import build_semantic_ids, train_recommender, train_tokenizer
from training.programs.interface import Task
from training.programs.warm_start import _unlike

NEXT_DAY = DAY + timedelta(days=1)
WARM = {"warm_start_epochs": 1, "warm_start_learning_rate_share": 0.5}


def made(**tiger):
    """The preset, with changes to how tiger is trained on both days."""
    plain = config("warm")
    training = plain.training.model_copy(update={"overrides": {"tiger": {**WARM, **tiger}}})
    return plain.model_copy(update={"training": training})


@pytest.fixture(scope="module")
def fit(mlflow_settings, tmp_path_factory):
    """Fits families on a day; the first day's tiger is there, fitted from its own weights.

    The preset's name is new: the process has one registry, and two modules use this fixture.
    """
    name = f"warm-{next(_NAMES)}"
    place = tmp_path_factory.mktemp("tables")
    settings = Settings(
        home=mlflow_settings.home,
        warehouse=str(place / "warehouse"),
        catalog_uri=f"sqlite:///{place}/catalog.db",
        device="cpu",
    )

    def task_of(day, step, preset=None, **families):
        named = (preset or made()).model_copy(update={"name": name})
        return Task(settings, named, day, step=step, **families)

    store = task_of(DAY, "").store
    publish_world(store)
    stage = store.stage("user_sequences", day=NEXT_DAY, job="test")
    schema = arrow_schema(CATALOG["user_sequences"])
    stage.write(histories(NEXT_DAY).select(schema.names).cast(schema))
    store.publish(stage)
    for program in (train_tokenizer, build_semantic_ids):
        program.run(task_of(DAY, program.__name__.rsplit(".", 1)[-1]))

    def fit(day, families=("tiger",), preset=None):
        task = task_of(day, "train_recommender", preset, families=families)
        return task, train_recommender.run(task)["families"]

    fit(DAY)
    return fit


def test_the_first_day_begins_anew_and_the_next_one_with_its_weights(fit):
    _, first = fit(DAY)
    assert first["tiger"]["status"] == "unchanged"
    assert first["tiger"]["warm_start"] == {
        "day": None, "digest": None, "reason": "no tiger was fitted in the 7 days before"
    }  # fmt: skip
    assert len(first["tiger"]["epochs"]) > 1
    task, second = fit(NEXT_DAY)
    facts = second["tiger"]
    assert facts["warm_start"] == {
        "day": DAY.isoformat(), "digest": first["tiger"]["digest"], "reason": None
    }  # fmt: skip
    assert len(facts["epochs"]) == 1
    assert facts["settings"]["learning_rate"] == 0.005
    assert facts["message"].endswith(f"from the weights of {DAY}")
    assert facts["epochs"][0]["loss"] < first["tiger"]["epochs"][0]["loss"] - 0.5
    assert fit(NEXT_DAY)[1]["tiger"]["status"] == "unchanged"
    bundle = task.registry.fetch(task.registry.find_candidate(NEXT_DAY.isoformat(), "tiger"))
    assert bundle.document("training")["warm_start"]["digest"] == first["tiger"]["digest"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"max_history": 19}, f"the model of {DAY} has another shape: max_history"),
        ({"warm_start_epochs": 0}, "warm_start_epochs is 0"),
    ],
)
def test_another_shape_or_none_wanted_begins_anew_and_says_so(fit, changes, reason):
    _, found = fit(NEXT_DAY, preset=made(**changes))
    assert found["tiger"]["warm_start"] == {"day": None, "digest": None, "reason": reason}
    assert found["tiger"]["settings"]["learning_rate"] == 0.01


def test_other_semantic_ids_begin_anew(fit):
    task, _ = fit(DAY)
    bundle = task.registry.fetch(task.registry.find_candidate(DAY.isoformat(), "tiger"))
    training_data = train_recommender.training_data_for(
        task, train_recommender.MODELS["tiger"], train_recommender.day_training_data(task)
    )
    shape = bundle.document("training")["config"]
    assert shape["width"] == SMALL["tiger"]["width"]
    assert _unlike(bundle, shape, training_data) == ""
    known = training_data.vocabulary
    other = replace(known, generation="2024-04-07-abc")
    assert "not of 2024-04-07-abc" in _unlike(
        bundle, shape, replace(training_data, vocabulary=other)
    )
    more_VQ = known.codes_VQ.copy()
    more_VQ[0, 0] = known.level_sizes[0]
    more = replace(known, codes_VQ=more_VQ)
    said = _unlike(bundle, shape, replace(training_data, vocabulary=more))
    assert f"semantic IDs now of {list(more.level_sizes)}" in said


def test_weights_of_each_item_go_on_and_new_items_join_them(fit):
    plain = made()
    changed = plain.training.model_copy(update={"overrides": {"sasrec": {**WARM, "max_epochs": 4}}})
    preset = plain.model_copy(update={"training": changed})
    task, first = fit(DAY, ("sasrec",), preset)
    facts = fit(NEXT_DAY, ("sasrec",), preset)[1]["sasrec"]
    assert facts["warm_start"]["digest"] == first["sasrec"]["digest"]
    assert len(facts["epochs"]) == 1
    bundle = task.registry.fetch(task.registry.find_candidate(DAY.isoformat(), "sasrec"))
    path = tensors_path(bundle.directory / "model", "sasrec")
    config = MODELS["sasrec"].configure(bundle.document("training")["config"])
    grown = Sasrec(config, bundle.items().num_rows + 2)
    untouched = grown.items_VD[-2:].clone()
    begin_with(grown, path)
    assert torch.equal(grown.items_VD[:-2], load_file(path)["items_VD"])
    assert torch.equal(grown.items_VD[-2:], untouched)


def test_a_model_of_another_catalogue_is_not_gone_on_with(fit):
    task, _ = fit(DAY)
    bundle = task.registry.fetch(task.registry.find_candidate(DAY.isoformat(), "tiger"))
    training_data = train_recommender.training_data_for(
        task, train_recommender.MODELS["tiger"], train_recommender.day_training_data(task)
    )
    items = training_data.items
    swapped = items.set_column(1, "item_id", items["item_id"].take(list(range(len(items)))[::-1]))
    shape = bundle.document("training")["config"]
    said = _unlike(bundle, shape, replace(training_data, items=swapped))
    assert said == "numbers the items of another catalogue"
    fewer = replace(training_data, items=items.slice(0, len(items) - 1))
    assert _unlike(bundle, shape, fewer) == "numbers the items of another catalogue"


def test_parameters_are_taken_over_and_buffers_are_not(tmp_path):
    one, other = (torch.nn.BatchNorm1d(3) for _ in range(2))
    torch.nn.init.normal_(one.weight)
    one.running_mean.fill_(7)
    save_file(one.state_dict(), tmp_path / "one.safetensors")
    begin_with(other, tmp_path / "one.safetensors")
    assert torch.equal(one.weight, other.weight)
    assert other.running_mean.eq(0).all()
    wider = torch.nn.BatchNorm1d(4)
    with pytest.raises(ValueError, match=r"weight is \[4\] here and \[3\] there"):
        begin_with(wider, tmp_path / "one.safetensors")
    assert load_file(tmp_path / "one.safetensors")["weight"].shape == (3,)
