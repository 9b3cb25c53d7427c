"""Every contract: one definition, the same rows after Arrow → store → Arrow, and for Iceberg."""

import datetime as dt

import pyarrow as pa
import pytest

from feature_store.arrow import arrow_schema
from feature_store.content_hash import digest
from feature_store.iceberg.catalog import Warehouse
from feature_store.iceberg.schema import iceberg_schema
from feature_store.settings import Settings
from feature_store.steps import producer_of
from feature_store.store import FeatureStore
from feature_store.tables import CATALOG
from tests.suites.contract_rows import DAY, contract_rows

CONTRACTS = pytest.mark.parametrize("contract", CATALOG.values(), ids=CATALOG)
BY_DAY = pytest.mark.parametrize(
    "contract", [c for c in CATALOG.values() if c.partition == "day"], ids=lambda c: c.name
)


@pytest.fixture
def store(tmp_path):
    return FeatureStore.open(Settings(home=tmp_path), "shop")


def publish(store, contract, rows: pa.Table):
    stage = store.stage(contract.name, day=DAY, job=producer_of(contract.name))
    stage.write(rows)
    return store.publish(stage)


def in_order(table: pa.Table) -> list[dict]:
    return sorted(table.to_pylist(), key=str)


@CONTRACTS
def test_rows_come_back_as_they_went_in(store, contract):
    rows = contract_rows(contract, 50)
    published = publish(store, contract, rows)
    back = store.read(contract.name)
    assert back.schema.equals(arrow_schema(contract))
    assert in_order(back) == in_order(rows)
    assert published.content_hash == str(digest(rows.to_batches()))
    back.validate(full=True)


@CONTRACTS
def test_rows_come_back_sorted_by_the_contracts_order(store, contract):
    publish(store, contract, contract_rows(contract, 50))
    back = store.read(contract.name)
    assert contract.order, "every table says how its files are sorted"
    keys = [(name, "ascending") for name in contract.order]
    assert back.sort_by(keys).select(contract.order).equals(back.select(contract.order))


@CONTRACTS
def test_the_same_rows_in_another_order_make_no_commit(store, contract):
    rows = contract_rows(contract, 50)
    publish(store, contract, rows)
    backwards = rows.take(list(range(rows.num_rows))[::-1])
    assert not publish(store, contract, backwards).changed


@CONTRACTS
def test_other_readers_of_iceberg_see_the_same_rows_and_nullability(tmp_path, contract):
    settings = Settings(home=tmp_path)
    rows = contract_rows(contract, 20)
    publish(FeatureStore.open(settings, "shop"), contract, rows)
    table = Warehouse.open(settings, "shop").load(contract.name)
    assert in_order(table.scan().to_arrow().select(rows.schema.names)) == in_order(rows)
    assert [(field.name, field.optional, field.doc) for field in table.schema().fields] == [
        (column.name, column.nullable, column.meaning) for column in contract.columns
    ]


@BY_DAY
def test_bounds_in_the_catalog_let_other_readers_skip_files(tmp_path, contract):
    store = FeatureStore.open(Settings(home=tmp_path), "shop")
    for day in (DAY, DAY + dt.timedelta(days=1)):
        publish(store, contract, contract_rows(contract, 5, partition=day))
    table = Warehouse.open(Settings(home=tmp_path), "shop").load(contract.name)
    scan = table.scan(row_filter=f"{contract.partition} = '{DAY}'")
    assert [task.file.file_path for task in scan.plan_files()] == store.files(
        contract.name, partitions=[DAY]
    )


def test_field_ids_are_unique_and_count_columns_first():
    for contract in CATALOG.values():
        schema = iceberg_schema(contract)
        assert [field.field_id for field in schema.fields] == list(
            range(1, len(contract.columns) + 1)
        )
        assert len(schema.field_ids) == len(set(schema.field_ids))
