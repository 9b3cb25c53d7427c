"""What the line of a job at work says of Spark's tasks."""

import threading
import time

import pytest

from pipelines.cli import _spark_tasks


@pytest.mark.spark
def test_tasks_of_a_running_stage_are_counted(spark):
    def slow(batches):
        time.sleep(3)
        yield from batches

    job = threading.Thread(
        target=lambda: spark.range(0, 4, 1, 4).mapInArrow(slow, "id long").count()
    )
    job.start()
    told = set()
    while job.is_alive():
        told.add(_spark_tasks())
        time.sleep(0.1)
    job.join()
    assert any(each.endswith(" of 4 Spark tasks done") for each in told)
    assert _spark_tasks() == ""
