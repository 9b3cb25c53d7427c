"""One definition per table: Spark writes it, pyarrow reads it, Great Expectations checks it."""

import pyarrow.dataset as ds
import pytest

from feature_store.arrow import arrow_schema, contract_type
from feature_store.checks.check import check
from feature_store.rules import RuleInputs
from feature_store.tables import CATALOG
from feature_store.validation import Validation
from pipelines.files import write_staged
from pipelines.schema import contract_types, spark_schema
from pipelines.validation.spark_engine import SparkEngine
from tests.suites.engines import spark_catalogue
from tests.suites.validation_rows import DAY, GOOD, NUM_ITEMS

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]


@pytest.fixture(scope="module")
def written(spark, tmp_path_factory):
    """Good rows of every table, as the runner stages them: folder by table."""
    home = tmp_path_factory.mktemp("tables")
    for name, contract in CATALOG.items():
        rows = [tuple(row[column] for column in contract.column_names) for row in GOOD[name]]
        frame = spark.createDataFrame(rows, spark_schema(contract))
        assert write_staged(frame, contract, str(home / name)) == len(rows)
    return home


def files(folder):
    return sorted(str(path) for path in folder.rglob("*.parquet"))


@pytest.mark.parametrize("name", CATALOG)
def test_pyarrow_reads_the_contracts_schema_from_what_spark_wrote(written, name):
    contract = CATALOG[name]
    found = ds.dataset(files(written / name), format="parquet").schema
    expected = arrow_schema(contract)
    assert found.names == expected.names
    for column in expected:
        assert plain(found.field(column.name).type) == plain(column.type)


def plain(kind):
    """An Arrow type without the names and nullability of what lists and maps hold."""
    if hasattr(kind, "item_type"):
        return ("map", plain(kind.key_type), plain(kind.item_type))
    return ("list", plain(kind.value_type)) if hasattr(kind, "value_type") else kind


@pytest.mark.parametrize("name", CATALOG)
def test_pyarrow_reads_the_values_that_spark_wrote(written, name):
    table = ds.dataset(files(written / name), format="parquet").to_table()
    key = [column for column in CATALOG[name].key if column != "request_id"]
    found = {tuple(row[column] for column in key) for row in table.select(key).to_pylist()}
    assert found == {tuple(row[column] for column in key) for row in GOOD[name]}


@pytest.mark.parametrize("name", CATALOG)
def test_great_expectations_checks_every_column_of_what_spark_wrote(spark, written, tmp_path, name):
    contract = CATALOG[name]
    staged = spark.read.schema(spark_schema(contract)).parquet(*files(written / name))
    engine = SparkEngine(spark, staged, known_items=spark_catalogue(spark))
    inputs = RuleInputs(day=DAY, config=Validation(), num_items=NUM_ITEMS)
    result = check(engine, contract, inputs, preset="shop", data_docs=tmp_path)
    assert [rule.rule for rule in result.rules if not rule.success] == []
    assert result.rules[0].rule == "columns_match_the_contract"
    required = {column.name for column in contract.columns if not column.nullable}
    assert required <= {rule.column for rule in result.rules}


@pytest.mark.parametrize("name", CATALOG)
def test_sparks_schema_is_the_contracts(name):
    contract = CATALOG[name]
    expected = {column.name: column.type for column in contract.columns}
    assert contract_types(spark_schema(contract)) == expected
    assert {f.name: contract_type(f.type) for f in arrow_schema(contract)} == expected
