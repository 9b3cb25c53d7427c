"""The same rows in both engines of a check, as they would come from files that keep no contract."""

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from feature_store.arrow import arrow_type
from feature_store.stage import Stage
from feature_store.storage import Folder
from feature_store.tables import CATALOG
from pipelines.schema import spark_schema
from tests.suites.validation_rows import DAY, NUM_ITEMS
from training.checks.duckdb_engine import DuckDbEngine


def spark_frame(spark, table, rows):
    """Rows as a frame in which any column and any element may be null."""
    from pyspark.sql.types import StructField, StructType

    fields = spark_schema(CATALOG[table]).fields
    loose = StructType([StructField(f.name, _loose(f.dataType), nullable=True) for f in fields])
    return spark.createDataFrame([tuple(row[f.name] for f in fields) for row in rows], loose)


def _loose(kind):
    for name in ("containsNull", "valueContainsNull"):
        if hasattr(kind, name):
            return type(kind).fromJson({**kind.jsonValue(), name: True})
    return kind


def spark_catalogue(spark, num_items=NUM_ITEMS):
    """The catalogue i0, i1, …, or none."""
    if num_items is None:
        return None
    items = [(f"i{n}", n) for n in range(num_items)]
    return spark.createDataFrame(items, "item_id string, item_index int")


def duckdb_engine(folder, table, rows, *, num_items=NUM_ITEMS):
    """DuckDB on a Parquet file of the rows below `folder`, and the same catalogue."""
    folder.mkdir(parents=True, exist_ok=True)
    contract = CATALOG[table]
    columns = [
        pa.array([_entries(row[c.name]) for row in rows], _nullable(c)) for c in contract.columns
    ]
    staged = pa.table(columns, names=list(contract.column_names))
    pq.write_table(staged, folder / "part-0.parquet")
    known = pa.table(
        {
            "item_id": [f"i{n}" for n in range(num_items or 0)],
            "item_index": pa.array(range(num_items or 0), pa.int32()),
        }
    )
    place = Folder(str(folder), str(folder), fs.LocalFileSystem())
    stage = Stage(contract, DAY, "test", place, None)
    return DuckDbEngine(stage, known if num_items is not None else None)


def _nullable(column):
    kind = arrow_type(column)
    if column.is_list:
        return pa.list_(kind.value_type)
    return pa.map_(kind.key_type, kind.item_type) if column.is_map else kind


def _entries(value):
    return list(value.items()) if isinstance(value, dict) else value
