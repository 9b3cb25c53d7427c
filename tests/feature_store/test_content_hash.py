import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.content_hash import Digest, digest, row_hashes
from feature_store.tables import CATALOG
from tests.suites.contract_rows import contract_rows

SCHEMA = pa.schema(
    [
        ("user", pa.string()),
        ("count", pa.int32()),
        ("score", pa.float64()),
        ("codes", pa.list_(pa.int32())),
        ("tags", pa.map_(pa.string(), pa.float64())),
    ]
)
ROW = st.tuples(
    st.none() | st.text(max_size=20),
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.none() | st.floats(),
    st.none() | st.lists(st.none() | st.integers(0, 9), max_size=3),
    st.none() | st.dictionaries(st.text(max_size=3), st.floats(), max_size=3),
)


def as_table(rows) -> pa.Table:
    columns = [list(values) for values in zip(*rows, strict=True)] or [[] for _ in SCHEMA]
    columns[4] = [None if tags is None else list(tags.items()) for tags in columns[4]]
    arrays = [pa.array(c, field.type) for c, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def digest_of(table: pa.Table, batch_rows: int = 1000) -> Digest:
    return digest(table.to_batches(max_chunksize=batch_rows))


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=12), st.randoms(), st.integers(1, 5))
def test_any_order_and_batching_has_the_same_digest(rows, random, batch_rows):
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert digest_of(as_table(rows)) == digest_of(as_table(shuffled), batch_rows)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=2, max_size=12), st.data())
def test_digests_of_parts_add_up_and_subtract(rows, data):
    cut = data.draw(st.integers(0, len(rows)))
    whole, first, rest = (digest_of(as_table(part)) for part in (rows, rows[:cut], rows[cut:]))
    assert first + rest == whole
    assert whole - rest == first


@pytest.mark.parametrize("name", CATALOG)
def test_every_single_change_of_a_value_changes_the_digest(name):
    rows = contract_rows(CATALOG[name], 8)
    before = digest_of(rows)
    for place, column in enumerate(rows.schema.names):
        values = rows[column].to_pylist()
        other = next((value for value in values if value != values[0]), None)
        if other is None:
            continue
        changed = pa.array([other, *values[1:]], rows.schema.field(column).type)
        assert digest_of(rows.set_column(place, rows.schema.field(place), changed)) != before


def test_one_row_more_or_twice_changes_the_digest():
    rows = as_table([("a", 1, 0.5, [1], {})])
    assert digest_of(pa.concat_tables([rows, rows])) != digest_of(rows)
    assert digest_of(rows.slice(0, 0)) == Digest()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param([[1, 2], [3]], [[1], [2, 3]], id="list borders"),
        pytest.param([[1, 2]], [[2, 1]], id="list order"),
        pytest.param([[]], [None], id="empty list and null"),
        pytest.param([[None]], [[]], id="list of null and empty list"),
        pytest.param([[0]], [[None]], id="zero and null in a list"),
    ],
)
def test_lists_that_differ_have_different_digests(one, other):
    kind = pa.list_(pa.int32())
    first, second = (pa.table({"x": pa.array(v, kind)}) for v in (one, other))
    assert digest_of(first) != digest_of(second)


def test_swapped_values_of_two_columns_change_the_digest():
    assert digest_of(pa.table({"a": [1], "b": [2]})) != digest_of(pa.table({"a": [2], "b": [1]}))


def test_column_order_and_a_column_of_nulls_change_nothing():
    rows = pa.table({"a": [1, 2], "b": ["x", "y"]})
    wider = rows.append_column("c", pa.nulls(2, pa.int32()))
    assert digest_of(rows) == digest_of(rows.select(["b", "a"])) == digest_of(wider)


def test_equal_values_of_different_layout_have_the_same_digest():
    words = pa.array(["a", "b", None, "a" * 300, ""])
    layouts = [words, words.cast(pa.large_string()), words.dictionary_encode()]
    assert len({digest_of(pa.table({"x": layout})) for layout in layouts}) == 1
    sliced = pa.array(["z", "a", "b", None, "a" * 300, "", "q"]).slice(1, 5)
    assert digest_of(pa.table({"x": sliced})) == digest_of(pa.table({"x": words}))


def test_negative_zero_is_zero_and_nan_is_nan():
    strange_nan = np.frombuffer(np.uint64(0xFFF8000000000001).tobytes(), np.float64)
    one, other = np.array([0.0, np.nan]), np.array([-0.0, strange_nan[0]])
    assert digest_of(pa.table({"x": one})) == digest_of(pa.table({"x": other}))


def test_map_entries_may_come_in_any_order():
    kind = pa.map_(pa.string(), pa.float64())
    one = pa.array([[("a", 1.0), ("b", 2.0)]], kind)
    other = pa.array([[("b", 2.0), ("a", 1.0)]], kind)
    swapped = pa.array([[("a", 2.0), ("b", 1.0)]], kind)
    digests = [digest_of(pa.table({"x": values})) for values in (one, other, swapped)]
    assert digests[0] == digests[1] != digests[2]


def test_slices_of_nested_columns_are_hashed_as_what_they_show():
    codes = pa.array([[9, 9], [1], [], None, [2, 3], [7]])
    entries = [[("z", 9.0)], [("a", 1.0)], [], None, [("b", 2.0)], []]
    tags = pa.array(entries, pa.map_(pa.string(), pa.float64()))
    table = pa.table({"codes": codes, "tags": tags}).slice(1, 4)
    columns = [pa.array(column.to_pylist(), column.type) for column in table.columns]
    copied = pa.table(columns, names=table.column_names)
    assert digest_of(table) == digest_of(copied)


def test_a_dictionary_without_words_is_all_nulls():
    empty = pa.DictionaryArray.from_arrays(pa.array([None, None], pa.int8()), pa.array([], "str"))
    nulls = pa.nulls(2, pa.string())
    assert digest_of(pa.table({"x": empty})) == digest_of(pa.table({"x": nulls}))


def test_strings_that_differ_in_any_byte_hash_differently():
    words = ["a" * size + tail for size in range(0, 40) for tail in ("", "b", "c", "\0")]
    words += ["a" * 300, "a" * 299 + "b", "a" * 256, "a" * 257]
    unique = sorted(set(words))
    [batch] = pa.table({"x": unique}).to_batches()
    assert len(set(row_hashes(batch).tolist())) == len(unique)


def test_digest_survives_its_text():
    found = digest_of(pa.table({"d": [dt.date(1998, 4, 15)], "t": [True]}))
    assert Digest.parse(str(found), found.rows) == found
    assert len(str(found)) == 32
