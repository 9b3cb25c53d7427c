"""Frames as Parquet files: those of a stage, and in folders, one for each value of a column."""

from collections.abc import Sequence

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from feature_store.contract import Contract
from pipelines.schema import conform

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


def write_staged(
    frame: DataFrame, contract: Contract, directory: str, *, num_partitions: int | None = None
) -> int:
    """Write a job's frame as Parquet below a stage, and count its rows on the way.

    Each file holds one value of the contract's partition column, which also stays in the file
    (Spark drops the column that it partitions by, so a copy is what names the folders), sorted
    by the contract's order.

    Args:
        frame: the rows.
        contract: the table's.
        directory: of the stage.
        num_partitions: the most values that the partition column has; None: nobody knows.

    Raises:
        ContractViolation: the frame's columns or types aren't the contract's.
    """
    counted = Observation()
    frame = conform(frame, contract).observe(counted, F.count(F.lit(1)).alias("rows"))
    if contract.partition is None:
        frame.sortWithinPartitions(*contract.order).write.mode("append").parquet(directory)
    else:
        folders = frame.withColumn("folder", F.col(contract.partition))
        write_folders(folders, "folder", contract.order, directory, num_folders=num_partitions)
    return int(counted.get["rows"])
