"""Contracts as Spark: the schema of a table, and rows brought into it."""

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from feature_store.contract import Column, Contract
from feature_store.errors import ContractViolation

_SCALARS: dict[str, DataType] = {
    "string": StringType(),
    "int": IntegerType(),
    "long": LongType(),
    "float": FloatType(),
    "double": DoubleType(),
    "boolean": BooleanType(),
    "date": DateType(),
    "timestamp": TimestampType(),
}


def spark_type(column: Column) -> DataType:
    """Spark type of a column; list elements and map values are never null."""
    scalar = _SCALARS[column.scalar]
    if column.is_list:
        return ArrayType(scalar, containsNull=False)
    if column.is_map:
        return MapType(StringType(), scalar, valueContainsNull=False)
    return scalar


def spark_schema(contract: Contract) -> StructType:
    """Spark schema of a table, columns in storage order."""
    return StructType(
        [StructField(c.name, spark_type(c), nullable=c.nullable) for c in contract.columns]
    )


def contract_types(schema: StructType) -> dict[str, str]:
    """Type by name of a frame's columns, as contracts spell types; nullability isn't said.

    Example:
        >>> contract_types(StructType([StructField("ids", ArrayType(LongType()))]))
        {'ids': 'list<long>'}
    """
    return {
        field.name: _plain(field.dataType).replace("array<", "list<").replace("bigint", "long")
        for field in schema.fields
    }


def conform(frame: DataFrame, contract: Contract) -> DataFrame:
    """The frame's columns in the contract's order.

    Types are compared, never cast: a job that makes a bigint where the table has an int has a
    mistake that a cast would hide. Nullability isn't compared (Spark calls everything nullable
    that comes from a file); the store counts nulls in what was written.

    Raises:
        ContractViolation: columns are missing, unknown or of another type; all at once.
    """
    found = {field.name: field.dataType for field in frame.schema.fields}
    problems = [f"column {n!r} is not in the contract" for n in found if n not in _names(contract)]
    for column in contract.columns:
        if column.name not in found:
            problems.append(f"column {column.name!r} is missing, expected {column.type}")
        elif _plain(found[column.name]) != _plain(spark_type(column)):
            problems.append(
                f"column {column.name!r} has type {_plain(found[column.name])}, "
                f"expected {_plain(spark_type(column))}"
            )
    if problems:
        raise ContractViolation(contract.name, problems)
    return frame.select(*contract.column_names)


def typed(value: SparkColumn, contract: Contract, name: str) -> SparkColumn:
    """A value cast to the type of the contract's column and named after it."""
    return value.cast(spark_type(contract.column(name))).alias(name)


def null(contract: Contract, name: str) -> SparkColumn:
    """A null of the type of the contract's column, named after it."""
    return typed(F.lit(None), contract, name)


def _names(contract: Contract) -> frozenset[str]:
    return frozenset(contract.column_names)


def _plain(kind: DataType) -> str:
    """Type without nullability: Spark's own short spelling leaves it out."""
    return str(kind.simpleString())
