"""build_users: what the source says of people → users.

A source that says nothing of people has an empty table: features of `user.NAME` are then unknown.
"""

from typing import Any

from pyspark import StorageLevel
from pyspark.sql import functions as F

from pipelines.errors import DataRefused
from pipelines.jobs.interface import Job, JobOutput, JobRun
from pipelines.sources import open_source
from pipelines.transforms.users import extend_users, one_per_user


def build(run: JobRun) -> JobOutput:
    """Add who is new, and take what is said anew of the others.

    Raises:
        DataRefused: the file on people names nobody, or its columns are others.
        DeliveryUnreadable: the file should be there and isn't.
    """
    people = open_source(run.spark, run.config, run.settings).users(run.day)
    users = run.table("users")
    if people is None:
        return JobOutput(frames={"users": users})
    kept = one_per_user(people.rows).persist(StorageLevel.MEMORY_AND_DISK)
    row = people.rows.agg(
        F.count(F.lit(1)).alias("rows"), F.count_if(F.col("user_id").isNull()).alias("nameless")
    ).collect()[0]
    named = kept.count()
    facts: dict[str, Any] = {
        "user_rows": int(row["rows"]),
        "users_described": named,
        "rows_without_id": int(row["nameless"]),
        "rows_of_a_user_again": int(row["rows"]) - int(row["nameless"]) - named,
        "left_out": [f"{left.file}: {left.why}" for left in people.left_out],
    }
    if not named:
        kept.unpersist()
        files = ", ".join(file.rpartition("/")[2] for file in people.files)
        raise DataRefused(
            f"{files} names nobody: {facts['user_rows']:,} rows, {facts['rows_without_id']:,} "
            "without an id. Deliver it again, or leave it out of the preset's source"
        )
    return JobOutput(
        frames={"users": extend_users(users, kept, day=run.day)},
        facts=facts,
        raw_files=tuple(file.rpartition("/")[2] for file in people.files),
        release=lambda: kept.unpersist(),
    )


JOB = Job(name="build_users", build=build)
