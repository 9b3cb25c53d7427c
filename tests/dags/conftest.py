"""The DAG files as Airflow would load them, without a database."""

import importlib
import os
import tempfile

import pytest

# Airflow writes its configuration file where it is first imported.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-home-"))

DAG_IDS = (
    "interactions_daily",
    "features_daily",
    "semantic_ids_weekly",
    "recommender_daily",
    "maintenance_weekly",
)


@pytest.fixture(scope="session")
def dags():
    """The five DAGs by id, as their files define them."""
    return {name: importlib.import_module(f"dags.{name}").dag for name in DAG_IDS}
