"""What Spark's driver JVM must be told before it starts, whoever starts it."""

import sys
from importlib.metadata import version
from pathlib import Path

from feature_store.settings import Settings

LOG4J = Path(__file__).parent / "log4j2.properties"

ARCHIVE = Path(sys.prefix) / "share" / "sidereal" / f"spark-{version('pyspark')}.jsa"
"""Spark's classes, read once per installation; `pipelines.class_archive` makes it."""


def driver_java_options(settings: Settings) -> str:
    """Java options of a driver, for `spark.driver.extraJavaOptions`.

    A session that Python starts passes them on by itself; under spark-submit the JVM is there
    before the session, so whoever submits has to say them.
    """
    # Java leaves methods of more than 8,000 bytes to its interpreter; Spark generates such methods
    # for wide rows.
    options = f"-Dlog4j2.configurationFile={LOG4J.as_uri()} -XX:-DontCompileHugeMethods"
    # With one compiler Java sets aside a fifth of what it does with two; five jobs fill that.
    options += " -XX:ReservedCodeCacheSize=240m"
    if ARCHIVE.is_file():
        # A JVM that finds it unfit (another Java, other jars) goes on without it, and would say so
        # in a dozen lines.
        options += f" -XX:SharedArchiveFile={ARCHIVE} -Xlog:cds=off -Xlog:cds+dynamic=off"
    return f"{options} {settings.spark_driver_java_options}".strip()
