from pyspark.sql import functions as F

from pipelines.jobs.interface import Job, JobOutput


def build(run):
    events = run.table("interactions", partitions=[run.day])
    counts = events.groupBy("day", "item_id").agg(F.count("*").alias("events"))
    return JobOutput(frames={"item_counts": counts.coalesce(1)}, replace={"item_counts": [run.day]})


JOB = Job(name="count_items", build=build)
