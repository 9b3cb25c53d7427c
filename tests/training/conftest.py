"""Fixtures of training's tests: one MLflow database per test process."""

import itertools

import pytest

from feature_store.settings import Settings

_PRESETS = itertools.count()


@pytest.fixture(scope="session")
def mlflow_settings(tmp_path_factory):
    """Settings with an MLflow database of their own; making one takes seconds."""
    return Settings(home=tmp_path_factory.mktemp("mlflow-home"))


@pytest.fixture
def registry(mlflow_settings):
    """The registry of a preset that no other test has."""
    from training.registry.client import Registry

    return Registry.open(mlflow_settings, f"preset-{next(_PRESETS)}")
