"""Lines of text files in Spark: their number, what is wrong with them as text, and their fields."""

from collections.abc import Iterable, Mapping, Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.sources.parts import FILE, LINE, PROBLEM, TEXT
from pipelines.sources.raw_columns import quoted
from pipelines.sources.raw_files import literal

BROKEN = "_broken"
"""The column that Spark's parsers fill where a line can't be parsed."""
_INDEX_BITS = 33  # monotonically_increasing_id: the row within its Spark partition


def lines_of(
    spark: SparkSession,
    files: Sequence[str],
    longest: int | None,
    parsed: Column,
    *,
    has_header: bool,
) -> DataFrame:
    """Lines with file, number, problem (as text) and fields.

    The row counter makes this one select a barrier: Spark would otherwise push filters over the
    columns below the parser, and parse a line anew for each column that they name.
    """
    return spark.read.text([literal(file) for file in files]).select(
        F.col("value").alias(TEXT),
        F.col("_metadata.file_path").alias(FILE),
        line_number(has_header=has_header).alias(LINE),
        problem_of(F.col("value"), longest).alias(PROBLEM),
        parsed.alias("fields"),
    )


def line_number(*, has_header: bool) -> Column:
    """The line in its split, plus the split's first byte; a header is before line 0."""
    start = F.col("_metadata.file_block_start")
    index = F.monotonically_increasing_id().bitwiseAND(F.lit((1 << _INDEX_BITS) - 1))
    return start + index - (F.when(start == 0, 1).otherwise(0) if has_header else F.lit(0))


def problem_of(text: Column, longest: int | None) -> Column:
    """What is wrong with a line as text; nothing where `longest` is None."""
    if longest is None:
        return F.lit(None).cast("string")
    # Bytes are known, characters counted.
    is_long = (F.octet_length(text) > longest) & (F.length(text) > longest)
    return F.when(~F.is_valid_utf8(text), "line is not valid UTF-8").when(
        is_long, f"line is longer than {longest:,} characters"
    )


def is_given(text: Column) -> Column:
    """Whether a line isn't blank; most need no look at more than their first character."""
    return (F.ascii(text) > ord(" ")) | (F.trim(text) != "")


def parsable(longest: int | None) -> Column:
    """The line where nothing is wrong with it as text, else null."""
    if longest is None:
        return F.col("value")
    return F.when(problem_of(F.col("value"), longest).isNull(), F.col("value"))


def text_schema(names: Iterable[str]) -> str:
    """A schema of text columns and `BROKEN`."""
    return ", ".join(f"{quoted(name)} STRING" for name in [*names, BROKEN])


def unpacked(lines: DataFrame, names: Mapping[str, str], unparsable: str) -> DataFrame:
    """Lines with their fields as rows: the fields by name, and what says where they stood."""
    broken = F.when(F.col(f"fields.{BROKEN}").isNotNull(), unparsable)
    columns = [F.col(f"fields.{quoted(key)}").alias(name) for key, name in names.items()]
    return lines.select(*columns, FILE, LINE, TEXT, F.coalesce(PROBLEM, broken).alias(PROBLEM))
