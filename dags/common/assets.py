"""One Airflow asset per table of the preset; the day is the partition key of its events.

An asset's name holds the preset's: what one preset has emitted never starts a DAG of another that
the same Airflow runs later.

A task emits the tables that its steps write, and a DAG starts when the tables are there that its
steps read: `feature_store.steps` says which, and no DAG file repeats a table's name.
"""

from functools import reduce
from operator import and_

from airflow.sdk import Asset, PartitionedAssetTimetable

from dags.common.defaults import preset_name
from feature_store.step import Step
from feature_store.steps import tables_that_start
from feature_store.tables import CATALOG

ASSETS: dict[str, Asset] = {
    table: Asset(name=f"{preset_name()}/{table}", uri=f"sidereal://{preset_name()}/{table}")
    for table in CATALOG
}
"""By the table's name."""


def produced_by(step: Step) -> list[Asset]:
    """Assets of the tables that a step writes, in catalogue order; empty where it writes none."""
    return [asset for table, asset in ASSETS.items() if table in step.writes]


def once_published(dag_id: str) -> PartitionedAssetTimetable:
    """Starts a DAG for a day once all tables of the day are there that its steps read."""
    tables = tables_that_start(dag_id, ASSETS)
    return PartitionedAssetTimetable(assets=reduce(and_, (ASSETS[table] for table in tables)))
