"""The one place that builds a SparkSession.

Started by `spark-submit`, the session keeps the master, the deploy mode and the sizes it was
submitted with; started by Python, it takes them from the settings. The rest (time zone, timestamp
type, commit protocol) is the same everywhere, because the tables' contents depend on it.
"""

import logging
import os
import sys
import tempfile
from pathlib import Path

from pyspark import SparkConf
from pyspark.sql import SparkSession

from feature_store.settings import Settings
from pipelines.java_options import driver_java_options

# What a table's contents depend on: the same on a laptop and on a cluster.
_ALWAYS = {
    "spark.sql.session.timeZone": "UTC",
    # Spark's own default is INT96, which Iceberg refuses.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Spark has no nanoseconds; the raw files' reader cuts them to microseconds.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.adaptive.enabled": "true",
    # Few files: small shuffle partitions are merged up to the advisory size (64 MB), also where
    # that leaves a core idle for a second.
    "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
    # It leaves out what follows an empty shuffle, and with it what should have been counted there
    # (Observation): a day without rows would have no counts instead of zeros.
    "spark.sql.adaptive.optimizer.excludedRules": "org.apache.spark.sql.execution.adaptive."
    "AQEPropagateEmptyRelation",
    # A stage holds Parquet files and nothing else, and nobody reads it before the job is over,
    # so that tasks may move their files into place themselves.
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
    # A day's ingestion generates some 90 classes, each for two class loaders. Spark keeps 100, so
    # that steps which share a session compiled nearly all of them again.
    "spark.sql.codegen.cache.maxEntries": "4000",
}
_LOCAL = {
    "spark.ui.enabled": "false",
    # Spark collects what its UI would show, plans above all, whether or not there is a UI.
    "spark.sql.ui.retainedExecutions": "50",
    "spark.ui.retainedJobs": "100",
    "spark.ui.retainedStages": "100",
    "spark.ui.retainedTasks": "1000",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "16",
    # A year of days: the driver lists its own disk's files in milliseconds. As a job of one task a
    # folder, which Spark makes of more than 32, it took a second each time a table is read.
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "400",
    # Without Hadoop's native library, its checksummed local files cost two more processes (chmod)
    # and one more file for each file; a stage is read and hashed before its commit anyway.
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
}


def build_session(settings: Settings, *, name: str = "sidereal") -> SparkSession:
    """The process's SparkSession, built on the first call.

    Args:
        settings: master and driver memory for a session that Python starts.
        name: shown in the cluster's list of applications.
    """
    # Workers run the interpreter that has our packages, not whatever `python3` is on the PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    conf = SparkConf()
    for key, value in _ALWAYS.items():
        conf.set(key, value)
    for key, value in _defaults(settings, conf).items():
        # What spark-submit was told stays.
        conf.setIfMissing(key, value)
    if conf.get("spark.master").startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    # Both print what Spark refuses as JSON with a Java stack trace, caught or not.
    for logger in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        logging.getLogger(logger).disabled = True
    return SparkSession.builder.config(conf=conf).appName(name).getOrCreate()


def _defaults(settings: Settings, conf: SparkConf) -> dict[str, str]:
    """Options that a submitted application may have been given already."""
    scratch = Path(tempfile.gettempdir()) / "sidereal-spark"
    options = {
        "spark.master": settings.spark_master,
        "spark.driver.memory": settings.spark_driver_memory,
        "spark.driver.extraJavaOptions": driver_java_options(settings),
        "spark.ui.showConsoleProgress": str(sys.stderr.isatty()).lower(),
        # Nothing is ever written there, but Spark wants a place, and its default is the
        # working directory.
        "spark.sql.warehouse.dir": scratch.as_uri(),
    }
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        # spark-submit started the JVM, without our log4j2.properties.
        options["spark.log.level"] = "ERROR"
    local = conf.get("spark.master", settings.spark_master).startswith("local")
    return options | (_LOCAL if local else {})
