"""Contracts as Arrow: schema, differences, and rows brought into the contract's form."""

from typing import TypeVar

import pyarrow as pa

from feature_store.contract import Column, Contract
from feature_store.errors import ContractViolation

_SCALARS: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
_Rows = TypeVar("_Rows", pa.Table, pa.RecordBatch)


def arrow_type(column: Column) -> pa.DataType:
    """Arrow type of a column; list elements and map values are never null."""
    scalar = _SCALARS[column.scalar]
    if column.is_list:
        return pa.list_(pa.field("element", scalar, nullable=False))
    if column.is_map:
        return pa.map_(pa.string(), pa.field("value", scalar, nullable=False))
    return scalar


def arrow_schema(contract: Contract) -> pa.Schema:
    """Arrow schema of a table, columns in storage order."""
    return pa.schema(
        [pa.field(c.name, arrow_type(c), nullable=c.nullable) for c in contract.columns]
    )


def contract_type(kind: pa.DataType) -> str:
    """How contracts spell an Arrow type; one that no contract has is in Arrow's own words.

    Example:
        >>> contract_type(pa.list_(pa.int32()))
        'list<int>'
    """
    if pa.types.is_map(kind):
        return f"map<{contract_type(kind.key_type)},{contract_type(kind.item_type)}>"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{contract_type(kind.value_type)}>"
    return next((name for name, scalar in _SCALARS.items() if same_type(kind, scalar)), str(kind))


def same_type(found: pa.DataType, expected: pa.DataType) -> bool:
    """Whether two types hold the same values.

    Names and nullability of list elements, the width of offsets and dictionary encoding are
    how a writer lays values out, and don't count. A timestamp must be in microseconds and mark
    an instant; which zone it is shown in doesn't count.
    """
    if pa.types.is_dictionary(found):
        return same_type(found.value_type, expected)
    if pa.types.is_map(expected):
        return pa.types.is_map(found) and all(
            same_type(getattr(found, part), getattr(expected, part))
            for part in ("key_type", "item_type")
        )
    if pa.types.is_list(expected):
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
        return is_list and same_type(found.value_type, expected.value_type)
    if pa.types.is_string(expected):
        return bool(pa.types.is_string(found) or pa.types.is_large_string(found))
    if pa.types.is_timestamp(expected):
        return bool(pa.types.is_timestamp(found) and found.unit == "us" and found.tz)
    return bool(found == expected)


def schema_differences(schema: pa.Schema, contract: Contract) -> list[str]:
    """Every way in which the names and types of a file differ from the contract's."""
    found = set(schema.names)
    problems = [
        f"column {n!r} is not in the contract"
        for n in schema.names
        if n not in contract.column_names
    ]
    for column in contract.columns:
        if column.name not in found:
            problems.append(f"column {column.name!r} is missing, expected {column.type}")
            continue
        if schema.names.count(column.name) > 1:
            problems.append(f"column {column.name!r} is there more than once")
            continue
        type_found = schema.field(column.name).type
        if not same_type(type_found, arrow_type(column)):
            problems.append(
                f"column {column.name!r} has type {type_found}, expected {column.type}"
                + _advice(type_found, column)
            )
    return problems


def _advice(found: pa.DataType, column: Column) -> str:
    inner = found.value_type if pa.types.is_list(found) else found
    if column.scalar != "timestamp" or not pa.types.is_timestamp(inner):
        return ""
    if inner.unit == "ns":
        return (
            " in microseconds (Spark writes INT96 unless "
            "spark.sql.parquet.outputTimestampType=TIMESTAMP_MICROS)"
        )
    return " in microseconds, marked as UTC"


def null_counts(batch: pa.RecordBatch, contract: Contract) -> dict[str, int]:
    """Forbidden nulls by column: of the column itself, of list elements, of map values."""
    counts: dict[str, int] = {}
    for column in contract.columns:
        values = batch.column(column.name)
        if not column.nullable and values.null_count:
            counts[column.name] = values.null_count
        inner = _inner(values)
        if inner is not None and inner.null_count:
            counts[f"{column.name} (inside)"] = inner.null_count
    return counts


def _inner(values: pa.Array) -> pa.Array | None:
    if pa.types.is_map(values.type):
        return values.items[values.offsets[0].as_py() : values.offsets[-1].as_py()]
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        return values.flatten()
    return None


def conform(rows: _Rows, schema: pa.Schema) -> _Rows:
    """The same rows with exactly this schema's columns, order, types and nullability.

    A nullable column that the rows lack is filled with nulls, so that a snapshot written before
    the column existed can be read.

    Raises:
        pyarrow.ArrowInvalid: a value doesn't fit the type, or a null stands where none may.
    """
    columns = [
        rows.column(field.name).cast(field.type)
        if field.name in rows.schema.names
        else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return type(rows).from_arrays(columns, schema=schema)


def to_contract(table: pa.Table, contract: Contract) -> pa.Table:
    """A writer's table in the contract's schema.

    Raises:
        ContractViolation: column names differ, or a value can't be held by the contract's type.
    """
    names = set(table.schema.names)
    problems = [
        f"column {n!r} is not in the contract"
        for n in table.schema.names
        if n not in contract.column_names
    ]
    problems += [
        f"column {c.name!r} is missing, expected {c.type}"
        for c in contract.columns
        if c.name not in names
    ]
    columns = []
    for column in contract.columns:
        if column.name not in names:
            continue
        try:
            columns.append(table.column(column.name).cast(arrow_type(column)))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            found = table.schema.field(column.name).type
            problems.append(
                f"column {column.name!r} has type {found}, expected {column.type}: {error}"
            )
    if problems:
        raise ContractViolation(contract.name, problems)
    return pa.Table.from_arrays(columns, schema=arrow_schema(contract))
