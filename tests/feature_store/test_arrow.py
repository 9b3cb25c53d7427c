import pyarrow as pa
import pytest

from feature_store.arrow import arrow_schema, conform, null_counts, schema_differences, to_contract
from feature_store.contract import Column, Contract
from feature_store.errors import ContractViolation
from feature_store.tables import CATALOG
from tests.suites.contract_rows import contract_rows

EVENTS = Contract(
    name="events",
    grain="one event",
    key=("user",),
    columns=(
        Column(name="user", type="string", meaning="who"),
        Column(name="count", type="int", meaning="how many", nullable=True),
        Column(name="time", type="timestamp", meaning="when"),
        Column(name="codes", type="list<int>", meaning="which"),
        Column(name="tags", type="map<string,double>", meaning="what"),
    ),
)


@pytest.mark.parametrize("name", CATALOG)
def test_a_contracts_own_schema_has_no_differences(name):
    assert schema_differences(arrow_schema(CATALOG[name]), CATALOG[name]) == []


def test_all_differences_of_a_schema_are_told_at_once():
    found = pa.schema(
        [
            ("count", pa.int64()),
            ("time", pa.timestamp("ns")),
            ("codes", pa.list_(pa.string())),
            ("tags", pa.map_(pa.string(), pa.float32())),
            ("extra", pa.int32()),
        ]
    )
    assert schema_differences(found, EVENTS) == [
        "column 'extra' is not in the contract",
        "column 'user' is missing, expected string",
        "column 'count' has type int64, expected int",
        "column 'time' has type timestamp[ns], expected timestamp in microseconds (Spark writes "
        "INT96 unless spark.sql.parquet.outputTimestampType=TIMESTAMP_MICROS)",
        "column 'codes' has type list<item: string>, expected list<int>",
        "column 'tags' has type map<string, float>, expected map<string,double>",
    ]


def test_a_timestamp_without_zone_and_a_repeated_column_are_differences():
    schema = arrow_schema(EVENTS).set(2, pa.field("time", pa.timestamp("us")))
    schema = schema.append(pa.field("user", pa.string()))
    assert schema_differences(schema, EVENTS) == [
        "column 'user' is there more than once",
        "column 'time' has type timestamp[us], expected timestamp in microseconds, marked as UTC",
    ]


def test_layouts_of_other_writers_are_no_difference():
    found = pa.schema(
        [
            ("user", pa.dictionary(pa.int32(), pa.large_string())),
            ("count", pa.int32()),
            ("time", pa.timestamp("us", tz="+00:00")),
            ("codes", pa.large_list(pa.field("item", pa.int32(), nullable=True))),
            ("tags", pa.map_(pa.large_string(), pa.float64())),
        ]
    )
    assert schema_differences(found, EVENTS) == []


def test_nulls_are_counted_in_columns_elements_and_values():
    rows = pa.table(
        {
            "user": pa.array(["a", None, "c"]),
            "count": pa.array([None, 1, 2], pa.int32()),
            "time": pa.array([1, 2, 3], pa.timestamp("us", tz="UTC")),
            "codes": pa.array([[1, None], [None], []], pa.list_(pa.int32())),
            "tags": pa.array([[("a", None)], [], [("b", 1.0)]], pa.map_(pa.string(), pa.float64())),
        }
    )
    [batch] = rows.to_batches()
    assert null_counts(batch, EVENTS) == {"user": 1, "codes (inside)": 2, "tags (inside)": 1}
    assert null_counts(batch.slice(2), EVENTS) == {}


def test_rows_of_an_older_schema_get_nulls_for_the_new_column():
    rows = contract_rows(EVENTS, 3).drop_columns(["count"])
    conformed = conform(rows, arrow_schema(EVENTS))
    assert conformed.schema.equals(arrow_schema(EVENTS))
    assert conformed["count"].to_pylist() == [None] * 3


def test_a_writers_values_are_cast_where_they_fit():
    rows = contract_rows(EVENTS, 3)
    wide = rows.set_column(1, "count", rows["count"].cast(pa.int64()))
    assert to_contract(wide, EVENTS).equals(rows)


def test_values_that_do_not_fit_are_refused_all_at_once():
    rows = contract_rows(EVENTS, 2).drop_columns(["codes"])
    rows = rows.set_column(1, "count", pa.array([1, 2**40]))
    rows = rows.append_column("extra", pa.array([1, 2]))
    with pytest.raises(ContractViolation) as refusal:
        to_contract(rows, EVENTS)
    assert [problem.partition(":")[0] for problem in refusal.value.problems] == [
        "column 'extra' is not in the contract",
        "column 'codes' is missing, expected list<int>",
        "column 'count' has type int64, expected int",
    ]
    assert "1099511627776 not in range" in refusal.value.problems[2]
