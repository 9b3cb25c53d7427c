"""Spark's classes, parsed and verified once per installation instead of at every start of a JVM.

Half of a small day's job is Java reading its classes out of 277 archives. Java can map them from a
file instead (class-data sharing, JEP 350): `python -m pipelines.class_archive`, which
`infra/setup.sh` calls, runs what our jobs use of Spark and lets the JVM write that file on its way
out. A JVM that finds the file unfit (another Java, other jars) starts without it, slower and
otherwise the same.
"""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from feature_store.settings import Settings
from pipelines.java_options import ARCHIVE
from pipelines.session import build_session


def make() -> Path:
    """Write the archive of the Spark and the Java that are installed; takes half a minute.

    Raises:
        RuntimeError: the JVM ended without writing it.
    """
    ARCHIVE.parent.mkdir(parents=True, exist_ok=True)
    ARCHIVE.unlink(missing_ok=True)  # an archive isn't made by a JVM that uses one
    unfinished = ARCHIVE.with_suffix(f".{os.getpid()}")
    quiet = "-Xlog:cds=off -Xlog:cds+dynamic=off"
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            home=Path(folder),
            spark_master="local[2]",
            spark_driver_java_options=(
                f"-XX:TieredStopAtLevel=1 -XX:ArchiveClassesAtExit={unfinished} {quiet}"
            ),
        )
        _exercise(build_session(settings, name="class archive"), Path(folder))
    if not unfinished.is_file():
        raise RuntimeError(f"Java wrote no class archive to {unfinished}; its output is above")
    unfinished.replace(ARCHIVE)
    return ARCHIVE


def _exercise(spark: SparkSession, folder: Path) -> None:
    """Load the classes that our jobs load, then end the JVM in good order."""
    table, text, lines = (str(folder / name) for name in ("table", "text", "lines"))
    day = F.timestamp_seconds(F.col("id") * 3600).cast("date")
    rows = spark.range(200).select(
        "id", (F.col("id") % 7).cast("int").alias("item"), day.alias("day"), F.rand(1).alias("x")
    )
    rows.withColumn("folder", F.col("day")).write.partitionBy("folder").parquet(table)
    rows.write.option("header", True).csv(text)
    rows.write.json(lines)
    read = spark.read.schema(rows.schema)
    for each in (
        read.option("header", True).option("columnNameOfCorruptRecord", "bad").csv(text),
        read.json(lines),
        spark.read.text(text).select(F.split("value", ",").alias("parts")),
    ):
        each.count()
    stored = spark.read.parquet(table)
    names = stored.groupBy("item").agg(F.count("*").alias("n"), F.max("x").alias("top"))
    joined = stored.join(F.broadcast(names), "item").join(names.select("item"), "item", "left_semi")
    by_item = joined.repartition("item").sortWithinPartitions("item", "day")
    by_item.mapInArrow(lambda batches: batches, by_item.schema).toArrow()
    lists = joined.groupBy("item").agg(F.sort_array(F.collect_list(F.struct("day", "id"))))
    lists.persist().count()
    distinct = stored.agg(F.count_distinct("id"), F.min("day"), F.stddev("x"))
    distinct.union(distinct).orderBy("min(day)").collect()
    spark.createDataFrame([(1, "a")], "id int, name string").exceptAll(
        spark.createDataFrame([(1, "b")], "id int, name string")
    ).count()
    java = spark.sparkContext._gateway.proc
    spark.stop()
    with contextlib.suppress(BrokenPipeError):
        java.stdin.close()  # what Spark's gateway takes as the end of its Python
    java.wait(timeout=300)


if __name__ == "__main__":
    sys.stdout.write(f"{make()}\n")
