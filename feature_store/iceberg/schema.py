"""Contracts as Iceberg: schema, partitioning, and how a table follows a changed contract."""

import itertools
from typing import Any

from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import (
    BooleanType,
    DateType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    TimestamptzType,
)

from feature_store.contract import Contract
from feature_store.errors import ContractViolation

_SCALARS: dict[str, type[Any]] = {
    "string": StringType,
    "int": IntegerType,
    "long": LongType,
    "float": FloatType,
    "double": DoubleType,
    "boolean": BooleanType,
    "date": DateType,
    "timestamp": TimestamptzType,
}
_WIDENED = {(IntegerType(), LongType()), (FloatType(), DoubleType())}
"""Changes of type that leave every value as it was."""


def iceberg_schema(contract: Contract) -> Schema:
    """Iceberg schema of a table; field ids count columns first, then what is inside them."""
    inside = itertools.count(len(contract.columns) + 1)
    fields = []
    for number, column in enumerate(contract.columns, start=1):
        kind: IcebergType = _SCALARS[column.scalar]()
        if column.is_list:
            kind = ListType(element_id=next(inside), element=kind, element_required=True)
        elif column.is_map:
            kind = MapType(
                key_id=next(inside),
                key_type=StringType(),
                value_id=next(inside),
                value_type=kind,
                value_required=True,
            )
        fields.append(
            NestedField(number, column.name, kind, required=not column.nullable, doc=column.meaning)
        )
    return Schema(*fields)


def partition_spec(contract: Contract, schema: Schema) -> PartitionSpec:
    """Identity partitioning by the contract's partition column, or none."""
    if contract.partition is None:
        return UNPARTITIONED_PARTITION_SPEC
    source = schema.find_field(contract.partition).field_id
    return PartitionSpec(PartitionField(source, 1000, IdentityTransform(), contract.partition))


def refuse_break(table: Table, contract: Contract) -> None:
    """Make sure that the rows that are there can be read under the contract.

    New nullable columns, columns that became nullable, columns no longer there, int → long and
    float → double can be followed; snapshots keep the schema that they were written with.

    Raises:
        ContractViolation: the contract changed in a way that published rows can't follow.
    """
    problems = _obstacles(table, iceberg_schema(contract), contract)
    if problems:
        raise ContractViolation(contract.name, problems)


def follow_contract(transaction: Transaction, table: Table, contract: Contract) -> None:
    """Change the table's schema to the contract's, which `refuse_break` has let through."""
    schema, wanted = table.schema(), iceberg_schema(contract)
    if _signature(schema) == _signature(wanted):
        return
    with transaction.update_schema(allow_incompatible_changes=True) as update:
        for field in wanted.fields:
            if field.name not in schema.column_names:
                update.add_column(field.name, field.field_type, doc=field.doc)
                continue
            old = schema.find_field(field.name)
            if (old.field_type, field.field_type) in _WIDENED:
                update.update_column(field.name, field_type=field.field_type)
            if old.required and not field.required:
                update.make_column_optional(field.name)
        for field in schema.fields:
            if field.name not in wanted.column_names:
                update.delete_column(field.name)


def _obstacles(table: Table, wanted: Schema, contract: Contract) -> list[str]:
    advice = "publish it under a new table name, or start from an empty warehouse"
    problems = []
    found = [field.name for field in table.spec().fields]
    expected = [contract.partition] if contract.partition else []
    if found != expected:
        problems.append(
            f"the table is partitioned by {found}, the contract by {expected}; {advice}"
        )
    for field in wanted.fields:
        if field.name not in table.schema().column_names:
            if field.required:
                problems.append(
                    f"new column {field.name!r} may not be null, but published rows lack it; "
                    f"make it nullable or {advice}"
                )
            continue
        old = table.schema().find_field(field.name).field_type
        if not _holds(old, field.field_type):
            problems.append(
                f"column {field.name!r} was published as {old}, the contract says "
                f"{field.field_type}; {advice}"
            )
    return problems


def _signature(schema: Schema) -> dict[str, tuple[str, bool]]:
    """What matters of a schema's columns; ids and documentation don't."""
    return {field.name: (str(field.field_type), field.required) for field in schema.fields}


def _holds(old: IcebergType, new: IcebergType) -> bool:
    """Whether values of the old type can be read as the new one."""
    if isinstance(old, ListType) and isinstance(new, ListType):
        return old.element_type == new.element_type
    if isinstance(old, MapType) and isinstance(new, MapType):
        return old.value_type == new.value_type
    return old == new or (old, new) in _WIDENED
