import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from feature_store.settings import Settings
from tests.recommender_world import DAY, ITEM_IDS, NUM_KINDS, trained_bundle
from training.registry.bundle import BundleCorruptError
from training.registry.client import Registry, RegistryError

ISO = DAY.isoformat()


def keep(registry, directory, family="item_knn", *, day=ISO, inputs_digest="i", **training):
    bundle = trained_bundle(directory, family, preset="world", **training)
    with registry.run(
        day=day, step="train_recommender", family=family, inputs_digest=inputs_digest
    ) as run:
        run.log_candidate(bundle)
    return registry.find_candidate(day, family)


@pytest.fixture
def versions(registry, tmp_path):
    """Two registered versions, none of them champion."""
    return [
        registry.register(keep(registry, tmp_path / family, family))
        for family in ("item_knn", "popularity")
    ]


def test_a_kept_bundle_is_found_and_fetched_without_a_copy(registry, tmp_path, mlflow_settings):
    candidate = keep(registry, tmp_path / "b")
    bundle = registry.fetch(candidate)
    assert bundle.digest == candidate.digest
    assert bundle.directory.is_relative_to(mlflow_settings.resolved_mlflow_artifacts)


def test_a_candidate_is_found_by_day_family_and_inputs(registry, tmp_path):
    candidate = keep(registry, tmp_path / "b", inputs_digest="these rows")
    assert registry.find_candidate(ISO, "item_knn", "these rows") == candidate
    assert registry.find_candidate(ISO, "item_knn", "other rows") is None
    assert registry.find_candidate(ISO, "sasrec") is None
    assert registry.find_candidate("2024-04-01", "item_knn") is None


def test_the_latest_candidate_is_the_one_that_counts(registry, tmp_path):
    first = keep(registry, tmp_path / "a")
    second = keep(registry, tmp_path / "b", seed=1)
    assert registry.find_candidate(ISO, "item_knn") == second
    assert first.digest != second.digest


def test_a_run_that_failed_offers_no_candidate(registry, tmp_path):
    bundle = trained_bundle(tmp_path / "b")
    with (
        pytest.raises(ValueError, match="out of memory"),
        registry.run(day=ISO, step="train_recommender", family="item_knn") as run,
    ):
        run.log_candidate(bundle)
        raise ValueError("out of memory")
    assert registry.find_candidate(ISO, "item_knn") is None


def test_a_bundle_is_registered_once_however_often_it_is_trained(registry, tmp_path):
    first = registry.register(keep(registry, tmp_path / "a"))
    again = registry.register(keep(registry, tmp_path / "b"))
    other = registry.register(keep(registry, tmp_path / "c", seed=1))
    assert (first.number, again.number, other.number) == (1, 1, 2)
    assert [version.number for version in registry.versions()] == [1, 2]


def test_a_registered_version_recommends_through_mlflow_alone(registry, tmp_path, mlflow_settings):
    version = registry.register(keep(registry, tmp_path / "b"))
    registry.promote(version, day=ISO, reason="first")
    mlflow.set_tracking_uri(mlflow_settings.resolved_mlflow_tracking_uri)
    model = mlflow.pyfunc.load_model(f"models:/{registry.name}@champion")
    asked = pd.DataFrame({"item_ids": [["item-3", "item-7"], ["item-20", "item-24"]]})
    found = model.predict(asked, {"k": 3})
    for kind, items, scores in zip((3, 0), found["item_ids"], found["scores"], strict=True):
        assert [ITEM_IDS.index(item) % NUM_KINDS for item in items] == [kind] * 3
        assert len(scores) == 3
    assert len(model.predict(asked)["item_ids"][0]) == 20


def test_a_version_whose_code_file_has_the_earlier_address_still_loads(
    registry, tmp_path, mlflow_settings
):
    candidate = keep(registry, tmp_path / "b")
    version = registry.register(candidate)
    [code] = mlflow_settings.home.rglob(f"{candidate.run_id}/**/served_model.py")
    earlier = code.read_text().replace("training.registry.pyfunc", "training.serving")
    assert earlier != code.read_text()
    code.write_text(earlier)
    mlflow.set_tracking_uri(mlflow_settings.resolved_mlflow_tracking_uri)
    model = mlflow.pyfunc.load_model(f"models:/{registry.name}/{version.number}")
    assert (
        len(model.predict(pd.DataFrame({"item_ids": [["item-3"]]}), {"k": 3})["item_ids"][0]) == 3
    )


def test_a_version_with_corrupt_weights_is_not_served_by_mlflow_either(
    registry, tmp_path, mlflow_settings
):
    candidate = keep(registry, tmp_path / "b")
    version = registry.register(candidate)
    corrupt(registry, candidate)
    mlflow.set_tracking_uri(mlflow_settings.resolved_mlflow_tracking_uri)
    with pytest.raises(BundleCorruptError, match="was changed"):
        mlflow.pyfunc.load_model(f"models:/{registry.name}/{version.number}")


def corrupt(registry, candidate):
    weights = next(registry.fetch(candidate).directory.glob("model/*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))


def test_promotion_moves_both_aliases_and_is_remembered_with_its_reason(registry, versions):
    first, second = versions
    registry.promote(first, day=ISO, reason="above the floor")
    registry.promote(second, day="2024-04-01", reason="better")
    assert registry.champion().number == 2 and registry.previous().number == 1
    assert [
        (m.kind, m.day, m.from_version, m.to_version, m.reason) for m in registry.history()
    ] == [
        ("promote", ISO, None, 1, "above the floor"),
        ("promote", "2024-04-01", 1, 2, "better"),
    ]
    assert all(move.finished for move in registry.history())


def test_the_champion_is_not_promoted_again(registry, versions):
    registry.promote(versions[0], day=ISO, reason="first")
    assert registry.promote(versions[0], day=ISO, reason="again") is None
    assert len(registry.history()) == 1 and registry.previous() is None


def test_rollback_swaps_champion_and_previous(registry, versions):
    for version in versions:
        registry.promote(version, day=ISO, reason="next")
    move = registry.rollback(reason="complaints")
    assert (move.kind, move.from_version, move.to_version) == ("rollback", 2, 1)
    assert registry.champion().number == 1 and registry.previous().number == 2
    assert registry.history()[-1].reason == "complaints"


def test_there_is_nothing_to_roll_back_to_before_a_second_champion(registry, versions):
    with pytest.raises(RegistryError, match="has no previous champion to return to"):
        registry.rollback(reason="try")
    registry.promote(versions[0], day=ISO, reason="first")
    with pytest.raises(RegistryError, match="has no previous champion to return to"):
        registry.rollback(reason="try")


def test_a_corrupt_bundle_moves_no_alias(registry, tmp_path, versions):
    registry.promote(versions[1], day=ISO, reason="first")
    corrupt(registry, versions[0])
    with pytest.raises(BundleCorruptError, match="was changed"):
        registry.promote(versions[0], day=ISO, reason="next")
    assert registry.champion().number == 2
    assert len(registry.history()) == 1


def test_a_corrupt_candidate_is_not_registered(registry, tmp_path):
    candidate = keep(registry, tmp_path / "b")
    corrupt(registry, candidate)
    with pytest.raises(BundleCorruptError, match="was changed"):
        registry.register(candidate)
    assert registry.versions() == []


def test_a_whole_bundle_in_the_place_of_another_is_refused(registry, tmp_path):
    candidate = keep(registry, tmp_path / "b")
    place = registry.fetch(candidate).directory
    for path in sorted(place.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    trained_bundle(place, seed=1)
    with pytest.raises(BundleCorruptError, match=r"has digest .* the registry recorded"):
        registry.fetch(candidate)


def test_a_bundle_whose_files_are_gone_is_named(registry, tmp_path):
    candidate = keep(registry, tmp_path / "b")
    place = registry.fetch(candidate).directory
    place.rename(tmp_path / "gone")
    with pytest.raises(RegistryError, match=f"run {candidate.run_id} holds no bundle any more"):
        registry.fetch(candidate)


def test_a_verdict_is_stored_beside_the_version_by_day(registry, versions):
    registry.record_verdict(versions[0], ISO, {"decision": "refuse"})
    registry.record_verdict(versions[0], "2024-04-01", {"decision": "promote"})
    registry.record_verdict(versions[0], ISO, {"decision": "promote"})
    assert registry.version(1).verdicts == {
        ISO: {"decision": "promote"},
        "2024-04-01": {"decision": "promote"},
    }


def test_a_version_that_does_not_exist_is_named_with_those_that_do(registry, versions):
    with pytest.raises(RegistryError, match="has no version 9; it has 1, 2"):
        registry.version(9)


def test_curves_and_files_are_kept_with_the_run(registry):
    with registry.run(day=ISO, step="train_recommender", family="tiger") as run:
        for step in range(1200):
            run.log({"loss": 1 / (step + 1), "ndcg@10": 0.1}, step=step)
        run.describe({"width": 64})
        run.log_json("facts.json", {"loss": 0.5})
    assert registry.find_run(day=ISO, step="train_recommender") == run.run_id
    assert registry.read_json(run.run_id, "facts.json") == {"loss": 0.5}
    curve = mlflow.MlflowClient(registry.tracking_uri).get_metric_history(run.run_id, "loss")
    assert [(point.step, point.value) for point in curve][-1] == (1199, 1 / 1200)
    assert len(curve) == 1200


def test_a_file_that_a_run_does_not_hold_is_named(registry):
    with registry.run(day=ISO, step="evaluate_recommender") as run:
        pass
    with pytest.raises(RegistryError, match=r"holds no facts\.json"):
        registry.read_json(run.run_id, "facts.json")


def test_the_tokenizer_of_a_day_is_the_latest_trained_until_then(registry, tmp_path):
    for day, generation in (("2024-03-01", "g1"), ("2024-03-15", "g2"), ("2024-03-08", "g3")):
        folder = tmp_path / generation
        folder.mkdir()
        (folder / "tokenizer.json").write_text(generation)
        with registry.run(day=day, step="train_tokenizer", inputs_digest=generation) as run:
            run.log_tokenizer(folder, generation)
    assert registry.find_tokenizer(until="2024-02-28") is None
    assert registry.find_tokenizer(until="2024-03-14").generation == "g3"
    assert registry.find_tokenizer(until="2024-03-31").generation == "g2"
    assert registry.find_tokenizer(until="2024-03-31", inputs_digest="g1").day == "2024-03-01"
    assert (registry.fetch_tokenizer("g1") / "tokenizer.json").read_text() == "g1"
    with pytest.raises(RegistryError, match="no tokenizer of generation 'g9'"):
        registry.fetch_tokenizer("g9")


def test_an_address_that_can_not_be_reached_is_an_error_of_the_registry(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    settings = Settings(home=tmp_path, mlflow_tracking_uri=f"sqlite:///{blocked}/mlflow.db")
    with pytest.raises(RegistryError, match="MLflow can't be opened at its address"):
        Registry.open(settings, "world")


def test_opening_the_registry_says_nothing_and_sends_nothing(mlflow_settings):
    """No banner, no migration log, no advice; and the switch against telemetry is set."""
    code = (
        "import os\n"
        "from feature_store.settings import Settings\n"
        "from training.registry.client import Registry\n"
        "Registry.open(Settings(), 'quiet')\n"
        "from mlflow.telemetry import get_telemetry_client\n"
        "assert get_telemetry_client() is None\n"
    )
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "MLFLOW"))},
        "SIDEREAL_HOME": str(mlflow_settings.home),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
