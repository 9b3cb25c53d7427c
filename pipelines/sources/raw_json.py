"""JSON lines as rows."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.sources.parts import PROBLEM, TEXT, Parts, RawRows, together
from pipelines.sources.raw_columns import quoted, resolved
from pipelines.sources.raw_files import RawFiles
from pipelines.sources.raw_lines import BROKEN, is_given, lines_of, parsable, text_schema, unpacked
from pipelines.sources.text_heads import json_keys


def json_rows(spark: SparkSession, raw_files: RawFiles, parts: Parts) -> RawRows:
    """Objects as text columns, one for each key of the files' first lines and each needed one.

    Raises:
        DataRefused: a file is a JSON document, or has no key for what every row needs.
        DeliveryUnreadable: a file can't be opened.
    """
    heads = together(lambda file: json_keys(raw_files, file, parts.names[file]), parts.files)
    every = frozenset().union(*heads.values())
    needs = parts.needs.among(sorted(every))
    by_spelling: dict[frozenset[str], list[str]] = {}
    varied = _spelt_in_several_ways(every)
    for file, keys in heads.items():
        by_spelling.setdefault(keys & varied, []).append(file)
    frames = [
        _objects(spark, files, parts, sorted((every - varied) | spelt), needs)
        for spelt, files in by_spelling.items()
    ]
    return RawRows(
        frame=_with_scalars(
            reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames),
            sorted(parts.needs.rows),
        )
    )


def _spelt_in_several_ways(keys: Iterable[str]) -> frozenset[str]:
    """Those of the keys that differ from another in the case of their letters only."""
    alike: dict[str, set[str]] = {}
    for key in keys:
        alike.setdefault(key.lower(), set()).add(key)
    return frozenset().union(*(each for each in alike.values() if len(each) > 1))


def _objects(
    spark: SparkSession,
    files: Sequence[str],
    parts: Parts,
    keys: Sequence[str],
    needs: Mapping[str, str],
) -> DataFrame:
    """Objects of files whose keys are spelt alike."""
    folded = {key.lower() for key in keys}
    # A signal may be absent from many rows, an id or a time may not.
    expected = {
        name: by
        for name, by in needs.items()
        if name.lower() in folded or (keys and name in parts.needs.rows)
    }
    columns = resolved(parts.names[files[0]], keys, expected)
    names = {keys[place]: name for place, name in columns.items()}
    names |= {name: name for name in parts.needs.columns if name not in names.values()}
    options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": BROKEN}
    objects = F.from_json(parsable(parts.longest), text_schema(names), options)
    lines = lines_of(spark, files, parts.longest, objects, has_header=False)
    given = lines.where(is_given(F.col(TEXT)))
    return unpacked(given, names, "line is not a JSON object")


def _with_scalars(rows: DataFrame, names: Sequence[str]) -> DataFrame:
    """The same rows; ids and times are single values, and whole numbers among them integers.

    What was a number in JSON, `42.0`, came as text, which no catalogue has.
    """
    problem = F.col(PROBLEM)
    for name in names:
        value = F.col(quoted(name))
        is_nested = F.startswith(value, F.lit("{")) | F.startswith(value, F.lit("["))
        problem = F.coalesce(problem, F.when(is_nested, f"{name} is a list or an object"))
        integer = F.regexp_replace(value, r"^(-?[0-9]{1,15})\.0$", "$1")
        is_whole = F.endswith(value, F.lit(".0"))
        rows = rows.withColumn(name, F.when(is_whole, integer).otherwise(value))
    return rows.withColumn(PROBLEM, problem)
