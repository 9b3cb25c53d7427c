"""What commands see of the registry without MLflow is what MLflow says."""

import subprocess
import sys

import pytest

from feature_store.settings import Settings
from tests.training.test_registry import versions  # noqa: F401
from training.registry.client import Registry
from training.registry.records import RegistryError
from training.registry.view import FileView, look


def test_versions_aliases_verdicts_and_moves_are_those_of_mlflow(
    registry,
    mlflow_settings,
    versions,  # noqa: F811
):
    first, second = versions
    registry.promote(first, day="2024-03-31", reason="by hand: first")
    registry.promote(second, day="2024-04-01", reason="it's better")
    registry.record_verdict(second, "2024-04-01", {"decision": "promote"})
    registry.rollback(reason="complaints")
    view = look(mlflow_settings, registry.name)
    assert isinstance(view, FileView)
    assert view.versions() == registry.versions()
    assert view.versions()[0].aliases and view.versions()[1].verdicts
    assert view.history() == registry.history()
    assert [move.kind for move in view.history()] == ["promote", "promote", "rollback"]
    for version in view.versions():
        assert view.fetch(version).digest == registry.fetch(version).digest
    assert view.version(second.number) == registry.version(second.number)


def test_another_preset_s_models_are_not_shown(registry, mlflow_settings, versions):  # noqa: F811
    registry.promote(versions[0], day="2024-03-31", reason="first")
    view = look(mlflow_settings, "nobody")
    assert (view.versions(), view.history()) == ([], [])


def test_a_look_at_nothing_creates_nothing(tmp_path):
    settings = Settings(home=tmp_path / "home")
    view = look(settings, "shop")
    assert (view.versions(), view.history()) == ([], [])
    with pytest.raises(RegistryError, match="'shop' has no version 3; it has none"):
        view.version(3)
    assert list(tmp_path.iterdir()) == []


def test_a_look_through_mlflow_makes_no_experiment(mlflow_settings):
    registry = Registry.open(mlflow_settings, "never-run", makes_experiment=False)
    assert (registry.versions(), registry.history()) == ([], [])
    assert registry._client.get_experiment_by_name("never-run") is None


def test_bundles_that_are_gone_and_files_that_are_no_registry_are_named(
    registry,
    mlflow_settings,
    tmp_path,
    versions,  # noqa: F811
):
    gone = versions[0].__class__(
        **{**{n: getattr(versions[0], n) for n in versions[0].__slots__}, "run_id": "gone"}
    )
    with pytest.raises(RegistryError, match="run gone holds no bundle any more"):
        look(mlflow_settings, registry.name).fetch(gone)
    odd = tmp_path / "odd.db"
    odd.write_text("this is no database, whatever its name says " * 50)
    settings = Settings(home=tmp_path, mlflow_tracking_uri=f"sqlite:///{odd}")
    with pytest.raises(RegistryError, match=r"odd.db can't be read as a registry of models"):
        look(settings, "shop").versions()


def test_a_look_imports_neither_mlflow_nor_torch():
    code = (
        "import sys, training.registry.view; "
        "print([name for name in ('mlflow', 'torch', 'pandas') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
