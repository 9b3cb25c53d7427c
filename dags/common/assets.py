"""One Airflow asset per table of the preset; the day is the partition key of its events.

An asset's name holds the preset's: what one preset has emitted never starts a DAG of another that
the same Airflow runs later.

The graph between DAGs is derived from the contracts: a task emits the tables whose contract names
it as their producer, and nothing in a DAG file repeats a table's name as a string of its own.
"""

from airflow.sdk import Asset

from dags.common.defaults import preset_name
from feature_store.tables import CATALOG

ASSETS: dict[str, Asset] = {
    table: Asset(name=f"{preset_name()}/{table}", uri=f"sidereal://{preset_name()}/{table}")
    for table in CATALOG
}
"""By the table's name."""


def produced_by(step: str) -> list[Asset]:
    """Assets of the tables that a step writes, in catalogue order; empty where it writes none."""
    return [ASSETS[name] for name, table in CATALOG.items() if table.producer == step]
