"""One Airflow asset per table of ours; the day is the partition key of its events.

The graph between DAGs is derived from the contracts: a task emits the tables whose contract names
it as their producer, and nothing in a DAG file repeats a table's name as a string of its own.
"""

from airflow.sdk import Asset

from feature_store.tables import CATALOG

ASSETS: dict[str, Asset] = {
    name: Asset(name=name, uri=f"sidereal://tables/{name}") for name in CATALOG
}


def produced_by(step: str) -> list[Asset]:
    """Assets of the tables that a step writes, in catalogue order; empty where it writes none."""
    return [ASSETS[name] for name, table in CATALOG.items() if table.producer == step]
