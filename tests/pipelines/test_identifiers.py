"""Raw ids as text: the one rule for events and the catalogue."""

from decimal import Decimal

import pytest
from pyspark.sql import functions as F

from pipelines.errors import DataRefused
from pipelines.transforms.identifiers import (
    floats_refused,
    holds_floats,
    identifier,
    refuse_id_column,
    refused_columns,
)

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]


def read(spark, values, kind):
    """(id, whether it speaks against the column) of each raw value."""
    rows = spark.createDataFrame([(n, value) for n, value in enumerate(values)], f"n int, c {kind}")
    floats = holds_floats(F.col("c"), rows.schema["c"].dataType)
    refused = F.lit(False) if floats is None else F.coalesce(floats, F.lit(False))
    ids = rows.select("n", identifier(F.col("c"), rows.schema["c"].dataType), refused)
    return [tuple(row)[1:] for row in ids.orderBy("n").collect()]


TEXTS = {
    "a": "a",
    " a\t": "a",
    "\r\na\n": "a",
    "\u00a0a\u200b": "a",
    "\ufeffa": "a",
    "\u2003a b\u3000": "a b",
    "a\u200bb": "a\u200bb",
    "cafe\u0301": "caf\u00e9",
    "caf\u00e9": "caf\u00e9",
    "42.0": "42.0",
    "0042": "0042",
    "nano": "nano",
    "日本": "日本",
    "": None,
    "\u00a0\ufeff": None,
    "NaN": None,
    " null ": None,
    "None": None,
    "\\N": None,
    "<NA>": None,
    None: None,
}


def test_text_is_trimmed_composed_and_may_say_that_nothing_is_there(spark):
    found = read(spark, list(TEXTS), "string")
    assert dict(zip(TEXTS, found, strict=True)) == {
        raw: (expected, False) for raw, expected in TEXTS.items()
    }
    assert read(spark, [b"a ", None], "binary") == [("a", False), (None, False)]


def test_whole_numbers_are_integers_whatever_their_column_holds(spark):
    assert read(spark, [42, -1, None], "bigint") == [("42", False), ("-1", False), (None, False)]
    doubles = [42.0, 123456789.0, -1.0, -0.0, 2.0**53 - 1, float("nan"), None]
    assert read(spark, doubles, "double") == [
        *((text, False) for text in ("42", "123456789", "-1", "0", "9007199254740991")),
        (None, False),
        (None, False),
    ]
    assert read(spark, [16_777_215.0], "float") == [("16777215", False)]
    big = Decimal("12345678901234567890123456789012345678")
    assert read(spark, [big, None], "decimal(38,0)") == [(str(big), False), (None, False)]
    assert read(spark, [Decimal("42.00"), None], "decimal(9,2)") == [("42", False), (None, False)]


def test_numbers_that_are_no_exact_integers_speak_against_their_column(spark):
    refused = [42.5, float("inf"), 2.0**53, -1e300]
    assert read(spark, refused, "double") == [(None, True)] * 4
    assert read(spark, [0.5, 16_777_216.0], "float") == [(None, True)] * 2
    assert read(spark, [Decimal("42.50")], "decimal(9,2)") == [(None, True)]
    reasons = ["user_id is missing", floats_refused("item_id", "item")]
    assert refused_columns(reasons[:1]) is None
    assert refused_columns(reasons).startswith("item_id: column 'item' holds floats; ids are text")


COLUMNS = {
    "boolean": "booleans",
    "date": "dates",
    "timestamp": "timestamps",
    "timestamp_ntz": "timestamps",
    "array<string>": "lists",
    "map<string,string>": "maps",
    "struct<a: string>": "structs",
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_that_can_hold_no_ids_is_refused_by_its_type(spark, kind):
    column = spark.createDataFrame([], f"who {kind}").schema["who"].dataType
    expected = rf"user_id: column 'who' holds {COLUMNS[kind]}; ids are text or whole numbers"
    with pytest.raises(DataRefused, match=expected):
        refuse_id_column("user_id", "who", column)
