"""Frames as Parquet files in folders, one for each value of a column."""

from collections.abc import Sequence

from pyspark.sql import DataFrame

OPEN_FILES = 8
"""Files that a task writes at once. Each holds a row group's columns in memory."""
_SETTING = "spark.sql.maxConcurrentOutputFileWriters"


def fit_open_files(num_folders: int | None) -> bool:
    """Whether a task can have a file of each folder open, so that folders need no sorting."""
    return num_folders is not None and num_folders <= OPEN_FILES


def write_folders(
    frame: DataFrame,
    folder: str,
    order: Sequence[str],
    directory: str,
    *,
    num_folders: int | None,
) -> None:
    """Write rows into the folders that a column names; every file is in order.

    Args:
        frame: the rows.
        folder: the column; no file holds it.
        order: columns by which a file's rows are sorted. A frame that is sorted so isn't sorted
            again.
        directory: of the folders.
        num_folders: the most there are; None: nobody knows.
    """
    spark = frame.sparkSession
    if not fit_open_files(num_folders):
        rows = frame.sortWithinPartitions(folder, *order)
        rows.write.partitionBy(folder).mode("append").parquet(directory)
        return
    before = spark.conf.get(_SETTING)
    spark.conf.set(_SETTING, str(OPEN_FILES))
    try:
        rows = frame.sortWithinPartitions(*order)
        rows.write.partitionBy(folder).mode("append").parquet(directory)
    finally:
        spark.conf.set(_SETTING, str(before))
