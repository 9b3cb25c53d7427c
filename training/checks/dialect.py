"""Spark's functions, as DuckDB needs them to mean the same.

Rules are written in SQL that both engines read. What DuckDB lacks, or has under the same name with
another meaning of NULL, is a macro here, under Spark's name. `tests/contracts/test_two_engines.py`
compares the engines function by function and rule by rule.
"""

import duckdb

MACROS = (
    # NULL where the value isn't in the list but a null is.
    "array_contains(l, v) AS CASE WHEN list_contains(l, v) THEN true"
    " WHEN len(l) > list_count(l) THEN NULL ELSE list_contains(l, v) END",
    # A null counts as one more value; the order of the values is not Spark's.
    "array_distinct(l) AS CASE WHEN len(l) > list_count(l)"
    " THEN list_append(list_distinct(l), NULL) ELSE list_distinct(l) END",
    "array_max(l) AS list_max(l)",
    "array_min(l) AS list_min(l)",
    "array_sort(l) AS list_sort(l, 'ASC', 'NULLS LAST')",
    "arrays_zip(a, b) AS CASE WHEN a IS NOT NULL AND b IS NOT NULL THEN list_zip(a, b) END",
    # 0 over no rows.
    "count_if(condition) AS count(CASE WHEN condition THEN 1 END)",
    "size(l) AS len(l)",
    "sort_array(l) AS list_sort(l, 'ASC', 'NULLS FIRST'),"
    " (l, ascending) AS CASE WHEN ascending THEN list_sort(l, 'ASC', 'NULLS FIRST')"
    " ELSE list_sort(l, 'DESC', 'NULLS LAST') END",
    "try_element_at(l, place) AS l[place]",
    "vector_norm(l) AS CASE WHEN len(l) = list_count(l)"
    " THEN sqrt(list_inner_product(l::DOUBLE[], l::DOUBLE[]))::FLOAT END",
)
"""Each the text after `CREATE MACRO`."""

_SETTINGS = {
    # Instants become dates and texts in UTC, whatever the machine's zone.
    "TimeZone": "UTC",
    # Rows come from Arrow, whose filters compare NaN otherwise.
    "disabled_optimizers": "filter_pushdown",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    # The training program's own memory is beside it; what is more goes to the temporary folder.
    "memory_limit": "2GB",
}
"""Of a connection."""


def connect() -> duckdb.DuckDBPyConnection:
    """A connection that reads rules, without tables."""
    connection = duckdb.connect(":memory:")
    for name, value in _SETTINGS.items():
        connection.execute(f"SET {name} = {value!r}")
    for macro in MACROS:
        connection.execute(f"CREATE MACRO {macro}")
    return connection
