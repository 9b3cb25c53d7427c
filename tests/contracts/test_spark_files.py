"""Every contract: what Spark writes is what Arrow writes, to the last row, and Spark reads it."""

import pytest

from feature_store.arrow import arrow_schema
from feature_store.errors import ContractViolation
from feature_store.settings import Settings
from feature_store.steps import producer_of
from feature_store.store import FeatureStore
from feature_store.tables import CATALOG
from tests.suites.contract_rows import DAY, contract_rows

pytestmark = pytest.mark.spark
CONTRACTS = pytest.mark.parametrize("contract", CATALOG.values(), ids=CATALOG)


@pytest.fixture
def store(tmp_path):
    return FeatureStore.open(Settings(home=tmp_path), "shop")


@CONTRACTS
def test_rows_that_spark_writes_again_are_the_same_rows(spark, store, contract):
    rows = contract_rows(contract, 20)
    by_arrow = store.stage(contract.name, day=DAY, job=producer_of(contract.name))
    by_arrow.write(rows)
    published = store.publish(by_arrow)
    frame = spark.read.parquet(*store.files(contract.name))
    assert frame.columns == list(contract.column_names)

    by_spark = store.stage(contract.name, day=DAY, job=producer_of(contract.name))
    frame.repartition(2).write.parquet(by_spark.directory)
    again = store.publish(by_spark)
    assert (again.changed, again.content_hash) == (False, published.content_hash)

    fewer = store.stage(contract.name, day=DAY, job=producer_of(contract.name))
    frame.limit(10).write.parquet(fewer.directory)
    assert store.publish(fewer).rows == 10
    assert store.read(contract.name).schema.equals(arrow_schema(contract))


def test_a_timestamp_in_sparks_old_format_is_refused_with_the_setting_that_helps(spark, store):
    contract = CATALOG["interactions"]
    source = store.stage(contract.name, day=DAY, job=producer_of(contract.name))
    source.write(contract_rows(contract, 3))
    setting = "spark.sql.parquet.outputTimestampType"
    ours = spark.conf.get(setting)
    spark.conf.set(setting, "INT96")
    try:
        stage = store.stage(contract.name, day=DAY, job=producer_of(contract.name))
        spark.read.parquet(*source.files()).write.parquet(stage.directory)
    finally:
        spark.conf.set(setting, ours)
    with pytest.raises(ContractViolation, match=f"{setting}=TIMESTAMP_MICROS"):
        store.publish(stage)
