"""The session's promises: what tables depend on, and nothing left lying about."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.java_options import LOG4J

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark")]


def test_timestamps_are_written_in_utc_microseconds_and_nothing_lies_beside_them(spark, tmp_path):
    moment = datetime(1998, 4, 15, 23, 30, tzinfo=UTC)
    frame = spark.createDataFrame([(moment,)], "at timestamp").coalesce(1)
    frame.write.parquet(f"file:{tmp_path}/out")
    assert spark.sql("SELECT date(TIMESTAMP '1998-04-15 23:30:00Z')").head()[0] == moment.date()
    (file,) = (tmp_path / "out").iterdir()
    field = pq.read_schema(file).field("at")
    assert (field.type.unit, field.type.tz) == ("us", "UTC")


def test_a_local_session_listens_on_loopback_alone_and_leaves_no_folders(spark):
    conf = spark.sparkContext.getConf()
    assert conf.get("spark.driver.bindAddress") == "127.0.0.1"
    assert conf.get("spark.ui.enabled") == "false"
    assert LOG4J.is_file()
    assert not Path("spark-warehouse").exists()
    assert not Path("metastore_db").exists()


def test_python_workers_are_this_interpreter(spark):
    import sys

    from pyspark.sql import functions as F

    running = F.udf(lambda _: sys.executable)
    assert spark.range(1).select(running("id")).head()[0] == sys.executable
