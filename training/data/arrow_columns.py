"""Columns of a table's rows, as arrays are made of them."""

from collections.abc import Iterable, Mapping

import pyarrow as pa


def columns_of(
    rows: pa.Table | Iterable[pa.RecordBatch], types: Mapping[str, pa.DataType], what: str
) -> pa.Table:
    """The named columns, in their types.

    Args:
        rows: a table, or batches, with at least these columns.
        types: by the column's name.
        what: the rows are, in the message.
    Raises:
        ValueError: a column is missing.
    """
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches(rows)
    missing = [name for name in types if name not in table.column_names]
    if missing:
        raise ValueError(f"{what} need the columns {list(types)}; missing: {missing}")
    return table.select(list(types)).cast(pa.schema(list(types.items())))
