"""Rows that keep a contract, for any contract: what the storage tests write and read back."""

import datetime as dt

import numpy as np
import pyarrow as pa

from feature_store.arrow import arrow_schema
from feature_store.contract import Column, Contract

DAY = dt.date(1998, 4, 15)


def contract_rows(contract: Contract, count: int, *, seed: int = 0, partition=DAY) -> pa.Table:
    """`count` rows with nulls where they may be, empty lists, and one value of the partition.

    Args:
        contract: whose columns the rows have.
        count: number of rows.
        seed: the same seed gives the same rows.
        partition: value of the partition column; a column that isn't a date gets its text.
    """
    random = np.random.default_rng(seed)
    columns = {}
    for column in contract.columns:
        if column.name == contract.partition:
            value = partition if column.type == "date" else str(partition)
            columns[column.name] = [value] * count
        else:
            columns[column.name] = [_value(column, random) for _ in range(count)]
    return pa.Table.from_pydict(columns, schema=arrow_schema(contract))


def _value(column: Column, random: np.random.Generator):
    if column.nullable and random.random() < 0.3:
        return None
    if column.is_list:
        return [_scalar(column, random) for _ in range(random.integers(0, 4))]
    if column.is_map:
        return [(f"key{place}", _scalar(column, random)) for place in range(random.integers(0, 3))]
    return _scalar(column, random)


def _scalar(column: Column, random: np.random.Generator):
    number = int(random.integers(0, 1000))
    return {
        "string": f"välue {number}",
        "int": number,
        "long": number << 40,
        "float": number / 8,
        "double": number / 3,
        "boolean": number % 2 == 0,
        "date": DAY + dt.timedelta(days=number),
        "timestamp": dt.datetime(1998, 4, 15, tzinfo=dt.UTC) + dt.timedelta(microseconds=number),
    }[column.scalar]
